"""How a Spawn request becomes a process: in a distribution, or in the utility VM itself."""

from __future__ import annotations

import errno
import os

from guest import initclient
from guest.agent import children
from guest.agent.distributions import Distribution
from guest.agent.environment import command_line, compose_environment, program_of
from guest.agent.errors import AgentError
from guest.agent.loop import Loop
from guest.agent.session import Channels, KillGroup, Session
from guest.agent.users import User
from wire import failures
from wire.agent import Spawn

UMASK = 0o022


_MAX_DIRECTORIES = 15
_MAX_STRINGS = 256 * 1024
"""docs/protocol-init.md §4.1: distro-init ends the connection of who sends more."""


def spawn_request(
    spawn: Spawn, user: User, name: str, language: str, umask: int = UMASK
) -> initclient.Spawn:
    """What distro-init is to do for `spawn`. Pure. Raises AgentError."""
    if (
        max(len(spawn.argv), len(spawn.environment)) > _MAX_STRINGS - 16
        or len(spawn.directories) > _MAX_DIRECTORIES
    ):
        raise AgentError(
            f"cannot start {program_of(user, spawn.argv)}: {os.strerror(errno.E2BIG)}",
            code=failures.EXEC_FAILED,
            hint="Pass long lists through standard input or a file.",
        )
    directories = [expand_home(path, user.home) for path in spawn.directories]
    environment = compose_environment(user, name, language, spawn.environment)
    return initclient.Spawn(
        terminal=spawn.terminal is not None,
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        umask=umask,
        directories=tuple(os.fsencode(path) for path in (*directories, "/")),
        argv=tuple(map(os.fsencode, command_line(user, spawn.line, spawn.argv, spawn.login))),
        environment=tuple(os.fsencode(f"{key}={value}") for key, value in environment.items()),
        file=os.fsencode(program_of(user, spawn.argv)),
    )


def expand_home(path: str, home: str) -> str:
    """`path` with a leading "~" or "~/" replaced, as a shell does it. Pure."""
    return home + path[1:] if path == "~" or path.startswith("~/") else path


def spawn_error(reply: initclient.SpawnReply, request: initclient.Spawn) -> AgentError:
    """Why a process could not be started, as the user should read it. Pure."""
    reason = os.strerror(reply.error)
    stage = reply.stage
    file = os.fsdecode(request.file)
    if stage != initclient.SpawnStage.EXEC:
        return AgentError(
            f"cannot start {file}: {reason} ({stage.name.lower()})",
            code=failures.EXEC_FAILED,
            hint="The distribution may be out of processes or memory."
            if reply.error in (errno.EAGAIN, errno.ENOMEM)
            else "",
        )
    if reply.error == errno.ENOENT:
        return AgentError(
            f"{file}: command not found",
            code=failures.EXEC_NOT_FOUND,
            hint="--exec takes a program of the Linux side; its own shell is not asked.",
        )
    return AgentError(f"{file}: {reason}", code=failures.EXEC_FAILED)


def group_killer(distribution: Distribution, pid: int) -> KillGroup:
    """Signals the process group of `pid`, which distro-init has started."""

    def kill(number: int) -> None:
        request = initclient.Kill(pid=pid, signal=number, target=initclient.KillTarget.GROUP)
        distribution.request(request, (), lambda reply: None)

    return kill


def spawn_in_system(loop: Loop, spawn: Spawn, channels: Channels, session: Session) -> int:
    """Start a process in the utility VM; returns its pid. Raises AgentError."""
    shell = User("root", 0, 0, "/root", "/bin/sh", (0,))
    argv = command_line(shell, spawn.line, spawn.argv, spawn.login)
    terminal = _terminal_name(channels) if spawn.terminal else ""
    environment = {**children.SYSTEM_ENVIRONMENT, **spawn.environment}
    program = program_of(shell, spawn.argv)
    try:
        pid = children.spawn(argv, channels.theirs, environment, terminal=terminal, program=program)
    except FileNotFoundError:
        raise AgentError(f"{program}: command not found", code=failures.EXEC_NOT_FOUND) from None
    except OSError as error:
        raise AgentError(f"{program}: {error.strerror}", code=failures.EXEC_FAILED) from None
    except ValueError as error:  # a NUL byte, or "=" in a variable's name
        raise AgentError(f"{program}: {error}", code=failures.EXEC_FAILED) from None
    adopt(loop, pid, session)
    return pid


def _terminal_name(channels: Channels) -> str:
    """The path of the terminal among a process's descriptors; "" if all are redirected."""
    for fd in channels.theirs:
        if os.isatty(fd):
            return os.ttyname(fd)
    return ""


def adopt(loop: Loop, pid: int, session: Session) -> None:
    """Tie a child of the agent to its session."""

    def kill(number: int) -> None:
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            pass

    children.watch_exit(loop, pid, session.exited)
    session.started(kill)
