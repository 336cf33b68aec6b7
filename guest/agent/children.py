"""Processes that the agent starts itself, in the utility VM: bsdtar, mkfs.ext4, `--system`."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from guest.agent.errors import AgentError
from guest.agent.loop import READABLE, Loop

SYSTEM_ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "LOGNAME": "root",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "SHELL": "/bin/sh",
    "TERM": "xterm-256color",
    "USER": "root",
}

_SPARE_FD = 3
"""A child's descriptor number that is free once its 0, 1 and 2 are in place."""
_DEFAULT_SIGNALS = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
)
"""Python ignores the first two, which programs inherit; so may whoever has started the agent."""


def spawn(
    argv: Sequence[str],
    fds: tuple[int, int, int],
    environment: Mapping[str, str] = SYSTEM_ENVIRONMENT,
    terminal: str = "",
    extra_fds: Mapping[int, int] = MappingProxyType({}),
    program: str = "",
) -> int:
    """Start `program` (else argv[0]) in a session of its own; returns its pid. Raises OSError.

    `terminal` is the path of the terminal that becomes its controlling one: a session leader
    gets it by opening it first (tty_ioctl(4)). `extra_fds` maps the program's descriptor
    numbers, from 3 on, to ours.
    """
    actions: list[tuple[object, ...]] = []
    actions += [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(fds)]
    if terminal:
        actions += [(os.POSIX_SPAWN_OPEN, _SPARE_FD, terminal, os.O_RDWR, 0)]
        actions += [(os.POSIX_SPAWN_CLOSE, _SPARE_FD)]
    # Ours are numbered higher than what a program is given, so no dup2 overwrites another's source.
    moved = {
        number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for number, fd in extra_fds.items()
    }
    actions += [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in moved.items()]
    try:
        return os.posix_spawnp(
            program or argv[0],
            list(argv),
            dict(environment),
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULT_SIGNALS,
        )
    finally:
        for fd in moved.values():
            os.close(fd)


def watch_exit(loop: Loop, pid: int, callback: Callable[[int], None]) -> None:
    """Call `callback(raw wait status)` when the child `pid` has ended, and reap it."""
    fd = os.pidfd_open(pid)

    def on_exit(_events: int) -> None:
        loop.forget(fd)
        os.close(fd)
        callback(os.waitpid(pid, 0)[1])

    loop.watch(fd, READABLE, on_exit)


def run(argv: Sequence[str], timeout_s: float = 120, allowed: tuple[int, ...] = (0,)) -> int:
    """Run a program to its end, for worker threads; returns its exit status.

    Raises AgentError with what it wrote when it fails, or is killed because it takes longer than
    `timeout_s`.
    """
    with open(os.memfd_create(argv[0]), "w+b") as output, open("/dev/null", "rb") as nothing:
        pid = spawn(argv, (nothing.fileno(), output.fileno(), output.fileno()))
        fd = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            in_time = bool(poll.poll(timeout_s * 1000))
            if not in_time:
                os.kill(pid, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        finally:
            os.close(fd)
        if in_time and status in allowed:
            return status
        output.seek(0)
        said = output.read(4096).decode("utf-8", "replace").strip()
    why = f"status {status}" if in_time else f"no end after {timeout_s:.0f} s"
    raise AgentError(f"{argv[0]} failed ({why}): {said or 'it said nothing'}")


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Poll a condition that the kernel gives no event for, for worker threads.

    Raises AgentError naming `what` at the deadline.
    """
    deadline = time.monotonic() + timeout_s
    delay_s = 0.001
    while not condition():
        if time.monotonic() > deadline:
            raise AgentError(f"{what}: still not so after {timeout_s:.0f} s")
        time.sleep(delay_s)
        delay_s = min(delay_s * 1.5, 0.05)
