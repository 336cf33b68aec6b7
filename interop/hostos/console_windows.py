"""A program on a pseudo console, ConPTY, by pywinpty.

pywinpty's calls block, so a thread reads what is to be shown, and another waits for the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from interop.hostos.contract import ConsoleSize, Output, Program
from interop.hostos.errors import HostError
from wire.winargs import quote_argument, quote_program

assert sys.platform == "win32"

from interop.hostos.job_windows import Job  # noqa: E402 - only there on Windows

log = logging.getLogger(__name__)

_PIECES = 16
"""Reads that wait for who takes them, before the program is held up."""
_POLL_S = 0.05
_CTRL_C = "\x03"


class _Screen:
    """What is to be shown; implements contract.Output."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue(_PIECES)
        self._rest = b""
        self._has_ended = False

    async def put(self, piece: bytes) -> None:
        """b"" is the end."""
        await self._pieces.put(piece)

    async def read(self, n: int = -1, /) -> bytes:
        if not self._rest and not self._has_ended:
            self._rest = await self._pieces.get()
            self._has_ended = not self._rest
        most = len(self._rest) if n < 0 else n
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece


class _Keys:
    """Where to write what is typed; implements contract.Input."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._partial = b""

    def write(self, data: bytes) -> None:
        """pywinpty takes text: half of a character waits for its other half."""
        data = self._partial + data
        text = data.decode("utf-8", "ignore")
        self._partial = _partial_character(data)
        self._write(text)

    async def drain(self) -> None:
        return

    def close(self) -> None:
        """A console has no end of input but the keys that say so."""


def _partial_character(data: bytes) -> bytes:
    """The bytes at the end of `data` that begin a character of UTF-8 but do not end it. Pure."""
    for count in range(1, min(3, len(data)) + 1):
        first = data[-count]
        if first >= 0xC0:
            length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            return data[-count:] if count < length else b""
        if first < 0x80:
            return b""
    return b""


def _make_console(path: str, size: ConsoleSize) -> Any:
    """A console that nothing runs on yet. Raises HostError."""
    try:
        from winpty import PTY, Backend, WinptyError
    except ImportError as error:
        raise _no_console(path, str(error)) from error
    try:
        return PTY(size.columns, size.rows, backend=Backend.ConPTY)
    except WinptyError as error:
        raise _no_console(path, str(error)) from error


def _no_console(path: str, why: str) -> HostError:
    return HostError(
        f"there is no console for '{path}'" + (f": {why}" if why else ""),
        hint="Consoles take Windows 10 1809 or newer, and the package pywinpty. A program whose "
        "input comes from a pipe or a file, as in `echo | program.exe`, needs none.",
        number=errno.EIO,
    )


def _spawn(
    pty: Any, path: str, arguments: str, directory: str, environment: Mapping[str, str]
) -> None:
    """Start a program on the console `pty`. Raises HostError with the system's own words."""
    from winpty import WinptyError

    block = "".join(f"{name}={value}\0" for name, value in environment.items()) + "\0"
    try:
        # In quotes, else "C:\\Program Files\\x.exe" would be looked for at "C:\\Program.exe" first.
        pty.spawn(quote_program(path), cmdline=arguments, cwd=directory, env=block)
    except WinptyError as error:
        raise HostError(f"'{path}' cannot be started: {error}") from error


class ConsoleProcess:
    """Implements contract.WindowsProcess."""

    is_gui = False
    stderr = None

    def __init__(self, pty: Any, job: Job) -> None:
        self._pty = pty
        self._job = job
        self._loop = asyncio.get_running_loop()
        self._code: asyncio.Future[int] = self._loop.create_future()
        self._screen = _Screen()
        self.stdout: Output = self._screen
        self.stdin = _Keys(pty.write)
        for work in (self._read, self._wait):
            threading.Thread(target=work, daemon=True).start()

    @classmethod
    async def start(
        cls, program: Program, directory: str, environment: dict[str, str]
    ) -> ConsoleProcess:
        """Start a program on a console of its own. Raises HostError, OSError."""
        assert program.console is not None
        size = program.console
        job = Job()
        try:
            pty = _make_console(program.path, size)
            # pywinpty makes one command line of the two, with a blank between them.
            arguments = " ".join(map(quote_argument, program.arguments))
            _spawn(pty, program.path, arguments, directory, environment)
            if pty.pid:
                with contextlib.suppress(OSError):  # it has just ended
                    job.adopt(pty.pid)
        except BaseException:
            job.close()
            raise
        return cls(pty, job)

    def _read(self) -> None:
        """A thread: what is shown, until the console is closed."""
        try:
            while text := self._pty.read(blocking=True):
                self._put(text.encode("utf-8", "surrogatepass"))
        except Exception as error:  # pywinpty raises its own kind at the end
            log.debug("the console has ended: %s", error)
        self._put(b"")

    def _put(self, piece: bytes) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            asyncio.run_coroutine_threadsafe(self._screen.put(piece), self._loop).result()

    def _wait(self) -> None:
        """A thread: the program's end."""
        while self._pty.isalive():
            threading.Event().wait(_POLL_S)
        status = self._pty.get_exitstatus() or 0
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell, status)

    def _tell(self, status: int) -> None:
        if not self._code.done():
            self._code.set_result(status)

    async def wait(self) -> int:
        """As in contract.WindowsProcess."""
        return await asyncio.shield(self._code)

    def resize(self, size: ConsoleSize) -> None:
        """As in contract.WindowsProcess."""
        self._pty.set_size(size.columns, size.rows)

    def interrupt(self) -> None:
        """As in contract.WindowsProcess: the key itself."""
        self._pty.write(_CTRL_C)

    def kill(self) -> None:
        """As in contract.WindowsProcess."""
        self._job.terminate()

    def close_output(self, output: Output) -> None:
        """As in contract.WindowsProcess: a console goes on without anybody looking."""

    def close(self) -> None:
        """As in contract.WindowsProcess. The pseudo console closes with its last reference."""
        self._pty.cancel_io()
        self._job.close()
