"""The one way in which this package starts programs.

Every child gets a clean environment, no standard input, none of our file descriptors but those it
is given, and does not outlive this process. Its command line is logged. What it writes to
standard error is kept, the last of it, for whoever has to explain its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import subprocess
import sys
import warnings
from abc import ABC, abstractmethod
from asyncio import SubprocessTransport
from asyncio.subprocess import Process, SubprocessStreamProtocol
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vm.environment import clean_environment
from vm.errors import ToolTimeout

if sys.platform == "win32":
    from vm.process_windows import CAN_ASK_TO_END, adopt, is_dying, spawn_options
else:
    from vm.process_posix import CAN_ASK_TO_END, adopt, is_dying, spawn_options

__all__ = [
    "CAN_ASK_TO_END",
    "Child",
    "ChildProcess",
    "Completed",
    "clean_environment",
    "is_dying",
    "run",
    "spawn",
]

_log = logging.getLogger(__name__)

STDERR_TAIL_BYTES = 16 * 1024
"""How much of a child's standard error is kept."""

READ_BYTES = 4096
"""How much of it is read at once."""
DRAIN_S = 2.0
"""How long what a child that has ended leaves in its pipes is waited for."""
_LONGEST_LINE_BYTES = 64 * 1024
_REAP_S = 10.0


@dataclass(frozen=True)
class Completed:
    """A program that ran to its end. Output is decoded as UTF-8, wrong bytes replaced."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


class Child(ABC):
    """A program that is ours and runs: `ChildProcess`, or one that was started in another way."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = tuple(argv)
        self._tail = bytearray()

    @property
    def argv(self) -> tuple[str, ...]:
        """What it was started with."""
        return self._argv

    @property
    @abstractmethod
    def pid(self) -> int:
        """Its process id."""

    @property
    @abstractmethod
    def exit_code(self) -> int | None:
        """As `subprocess` has it (negative: the signal that ended it); None while it runs."""

    @property
    def stderr_tail(self) -> str:
        """The last STDERR_TAIL_BYTES of what it wrote to standard error so far."""
        return self._tail.decode("utf-8", "replace")

    def _keep_tail(self, data: bytes) -> None:
        """It has written `data` to standard error."""
        self._tail += data
        del self._tail[:-STDERR_TAIL_BYTES]

    @abstractmethod
    async def wait(self) -> int:
        """Wait for the end, without a deadline; returns `exit_code`, standard error read."""

    @abstractmethod
    def terminate(self) -> None:
        """Ask it to end (SIGTERM; on Windows the same as `kill`). Harmless after the end."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once. Harmless after the end."""

    async def kill_and_reap(self) -> int:
        """`kill`, then wait for the end; returns `exit_code`.

        Raises TimeoutError in the one case in which a killed process does not end: it is stuck
        inside the kernel.
        """
        self.kill()
        async with asyncio.timeout(_REAP_S):
            return await self.wait()


class _Pipes(SubprocessStreamProtocol):
    """Tells of the process's end as soon as it has ended.

    asyncio's own `Process.wait` waits for the end of its pipes as well, before Python 3.12.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_LONGEST_LINE_BYTES, loop=loop)
        self._event_loop = loop
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        """asyncio: the exit code is known."""
        super().process_exited()
        self.exited.set()

    def process(self, transport: SubprocessTransport) -> Process:
        """The process with its pipes, as `asyncio.create_subprocess_exec` would return it."""
        return Process(transport, self, self._event_loop)


class ChildProcess(Child):
    """A running child: its pid, its end, its last words. Made by `spawn`."""

    def __init__(
        self,
        argv: Sequence[str],
        transport: SubprocessTransport,
        pipes: _Pipes,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(argv)
        self._process = pipes.process(transport)
        self._transport = transport
        self._exited = pipes.exited
        self._reader = asyncio.create_task(self._keep_stderr(), name=f"stderr of {self.pid}")
        self._lines: asyncio.Task[None] | None = None
        if on_line is not None:
            self._lines = asyncio.create_task(self._follow_stdout(on_line))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """As `subprocess` has it (negative: the signal that ended it); None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the end, without a deadline; returns `exit_code`, standard error read."""
        await self._exited.wait()
        # Another process may hold a pipe open (a grandchild; Wine's desktop, which whoever first
        # needs it starts with his own handles), so its end is waited for, but not for ever.
        readers = {self._reader} if self._lines is None else {self._reader, self._lines}
        await asyncio.wait(readers, timeout=DRAIN_S)
        for reader in readers:
            reader.cancel()
        self._transport.close()
        exit_code = self.exit_code
        assert exit_code is not None
        return exit_code

    def feed(self, data: bytes) -> None:
        """Write a little to its standard input, which `spawn` has to have opened (`is_fed`)."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    def terminate(self) -> None:
        """Ask it to end (SIGTERM; on Windows the same as `kill`). Harmless after the end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it at once. Harmless after the end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def _keep_stderr(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(READ_BYTES):
            self._keep_tail(data)

    async def _follow_stdout(self, on_line: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            on_line(line.decode("utf-8", "replace").rstrip("\r\n"))


async def spawn(
    argv: Sequence[str],
    *,
    pass_fds: Sequence[int] = (),
    on_line: Callable[[str], None] | None = None,
    is_background: bool = False,
    is_fed: bool = False,
) -> ChildProcess:
    """Start `argv` with standard error kept, and standard output discarded.

    pass_fds: descriptors it inherits under the same numbers (POSIX only). on_line: gets each
    line of standard output instead, from a program of ours, whose lines are short. is_background:
    it runs when nothing else wants the processors. is_fed: its standard input is ours to write
    (`ChildProcess.feed`) and ends with this process; else it has none. To be called on the main
    thread's event loop: see `vm.process_posix`. Raises OSError if it cannot be started.
    """
    stdout = subprocess.DEVNULL if on_line is None else subprocess.PIPE
    transport, pipes = await _start(
        argv, stdout=stdout, pass_fds=pass_fds, is_background=is_background, is_fed=is_fed
    )
    return ChildProcess(argv, transport, pipes, on_line)


async def run(argv: Sequence[str], *, deadline_s: float) -> Completed:
    """Run `argv` to its end and return what it printed by then, whatever its exit code.

    Raises ToolTimeout after `deadline_s` seconds, OSError if it cannot be started. When it
    raises, or is cancelled, the program has been ended.
    """
    transport, pipes = await _start(argv, stdout=subprocess.PIPE, pass_fds=())
    process = pipes.process(transport)
    assert process.stdout is not None
    assert process.stderr is not None
    stdout, stderr = bytearray(), bytearray()
    readers = {
        asyncio.create_task(_collect(process.stdout, stdout)),
        asyncio.create_task(_collect(process.stderr, stderr)),
    }
    try:
        async with asyncio.timeout(deadline_s):
            await pipes.exited.wait()
            await asyncio.wait(readers, timeout=DRAIN_S)  # as in ChildProcess.wait
    except TimeoutError:
        raise ToolTimeout(argv, deadline_s) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            async with asyncio.timeout(_REAP_S):
                await pipes.exited.wait()
        for reader in readers:
            reader.cancel()
        transport.close()
    assert process.returncode is not None
    return Completed(
        tuple(argv),
        process.returncode,
        stdout.decode("utf-8", "replace"),
        stderr.decode("utf-8", "replace"),
    )


async def _collect(stream: asyncio.StreamReader, into: bytearray) -> None:
    while data := await stream.read(READ_BYTES):
        into += data


async def _start(
    argv: Sequence[str],
    *,
    stdout: int,
    pass_fds: Sequence[int],
    is_background: bool = False,
    is_fed: bool = False,
) -> tuple[SubprocessTransport, _Pipes]:
    _log.info("starting: %s", shlex.join(argv))
    options = spawn_options(is_background=is_background)
    if pass_fds:
        options["pass_fds"] = tuple(pass_fds)
    loop = asyncio.get_running_loop()
    with _fork_warning_silenced():
        transport, pipes = await loop.subprocess_exec(
            lambda: _Pipes(loop),
            *argv,
            stdin=subprocess.PIPE if is_fed else subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=clean_environment(os.environ),
            **options,
        )
    pid = transport.get_pid()
    assert pid is not None
    try:
        adopt(pid)
    except OSError as error:
        # A program this short-lived is over already; any other is found through its pid file.
        _log.warning("process %d may outlive this one: %s", pid, error)
    return transport, pipes


@contextlib.contextmanager
def _fork_warning_silenced() -> Iterator[None]:
    """Python 3.12 warns of forking with threads about when code runs before exec.

    What runs there (`vm.process_posix`) is one system call through an already loaded function;
    it takes no lock that another thread could have held at the fork.
    """
    if sys.version_info < (3, 12) or sys.platform == "win32":
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        yield
