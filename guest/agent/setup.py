"""Commands that a distribution brings with it: at its start, and before its first shell.

Both run as root by `/bin/sh -c`, as WSL runs them (behaviour §2 boot.command, §9 OOBE).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from guest import initclient
from guest.agent.distributions import Distribution
from guest.agent.distroconf import Oobe
from guest.agent.errors import AgentError
from guest.agent.session import Channels, Session
from guest.agent.spawning import group_killer, spawn_error, spawn_request
from guest.agent.users import ROOT, User
from wire.agent import FirstRunDone, Log, Spawn
from wire.codec import Message
from wire.wslconf import printable

Send = Callable[[Message], None]
"""Sends an event to the service."""

_STATUS_1 = 1 << 8
"""exit(1), as wait(2) tells it."""


def run_boot_command(distribution: Distribution, send: Send) -> None:
    """Start the command that wsl.conf names, if any; that it fails is only logged.

    Its output goes nowhere: nobody waits for it, and what runs in a distribution gets none of
    our own descriptors.
    """
    command = distribution.files.conf.boot_command
    if not command:
        return

    def log(why: str) -> None:
        text = f"{distribution.name}: boot.command {printable(command)!r}: {why}"
        send(Log(level="warning", text=text))

    def on_exit(status: int) -> None:
        if status:
            log(f"wait status {status:#x}")

    def on_spawned(answer: initclient.SpawnReply) -> None:
        if answer.error:
            log(spawn_error(answer, spawn).message)
        else:
            distribution.expect_exit(answer.pid, on_exit)

    request = Spawn(session=0, distribution=distribution.identity, line=command)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        spawn = spawn_request(request, ROOT, distribution.name, distribution.files.language)
        distribution.request(spawn, (null, null, null), on_spawned)
    except (AgentError, OSError) as error:
        log(str(error))
    finally:
        os.close(null)


def first_run_done(distribution: Distribution, oobe: Oobe) -> FirstRunDone:
    """The event that tells the service who the distribution's user is. Pure."""
    return FirstRunDone(identity=distribution.identity, default_uid=oobe.default_uid)


class FirstRun:
    """A distribution's setup command, in the session of its first shell and before that shell.

    The service is told by `send` once it has succeeded. While it runs, and until the shell does,
    the process's ends of `channels` stay open: the terminal must not hang up in between.
    """

    def __init__(
        self,
        distribution: Distribution,
        oobe: Oobe,
        request: Spawn,
        session: Session,
        channels: Channels,
        send: Send,
    ) -> None:
        self._distribution = distribution
        self._oobe = oobe
        self._request = request
        self._session = session
        self._channels = channels
        self._send = send

    def start(self, on_spawned: Callable[[initclient.Spawn, initclient.SpawnReply], None]) -> None:
        """Run the command; `on_spawned` is told whether it runs. Raises AgentError, OSError."""
        request = self._request
        setup = Spawn(
            session=request.session,
            distribution=request.distribution,
            line=self._oobe.command,
            directories=request.directories,
            environment=request.environment,
            terminal=request.terminal,
        )
        spawn = self._spawn_request(setup, ROOT)

        def spawned(answer: initclient.SpawnReply) -> None:
            if answer.error:
                self._distribution.is_in_first_run = False
            else:
                self._follow(answer.pid, self._on_exit)
            on_spawned(spawn, answer)

        self._distribution.request(spawn, self._channels.theirs, spawned)
        self._distribution.is_in_first_run = True

    def _spawn_request(self, request: Spawn, user: User) -> initclient.Spawn:
        files = self._distribution.files
        umask = files.conf.umask
        return spawn_request(request, user, self._distribution.name, files.language, umask)

    def _follow(self, pid: int, on_exit: Callable[[int], None]) -> None:
        self._distribution.expect_exit(pid, on_exit)
        self._session.started(group_killer(self._distribution, pid))

    def _on_exit(self, status: int) -> None:
        self._distribution.is_in_first_run = False
        if status != 0:
            self._fail(f'OOBE command "{printable(self._oobe.command)}" failed, exiting')
            return
        self._send(first_run_done(self._distribution, self._oobe))
        try:
            self._start_shell()
        except (AgentError, OSError) as error:
            self._fail(str(error))

    def _start_shell(self) -> None:
        request, files = self._request, self._distribution.files
        user = files.find_user(request.user, self._oobe.default_uid)
        spawn = self._spawn_request(request, user)

        def spawned(answer: initclient.SpawnReply) -> None:
            if answer.error:
                self._fail(spawn_error(answer, spawn).message)
                return
            self._channels.close_theirs()
            self._follow(answer.pid, self._session.exited)

        self._distribution.request(spawn, self._channels.theirs, spawned)

    def _fail(self, message: str) -> None:
        """End the session with status 1, as if the command itself had said `message`."""
        stderr = self._channels.theirs[2]
        try:
            # Nothing that runs needs this descriptor to block, and the agent must not.
            os.set_blocking(stderr, False)
            os.write(stderr, f"{message}\n".encode("utf-8", "replace"))
        except OSError:
            pass  # the client is gone, or does not read
        self._channels.close_theirs()
        self._session.exited(_STATUS_1)
