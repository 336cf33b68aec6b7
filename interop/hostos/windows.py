"""Windows programs on Windows itself: separate pipes, or a pseudo console (ConPTY).

Console programs are in a job object of their own, so that ending one ends what it has started.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import functools
import os
import subprocess
import sys
from asyncio import StreamReader, windows_utils
from asyncio.streams import FlowControlMixin, StreamWriter
from collections.abc import Mapping
from typing import Any

from interop.commandline import check_length
from interop.environment import merge_environment
from interop.hostos.contract import ConsoleSize, Output, Program, WindowsProcess
from interop.hostos.errors import HostError, ProgramNotFoundError
from interop.hostos.waiting_windows import exit_code_of
from interop.pe import HEAD_BYTES, is_gui_program, is_windows_program
from wire.winargs import join_command_line

assert sys.platform == "win32"

from interop.hostos.console_windows import ConsoleProcess  # noqa: E402 - only there on Windows
from interop.hostos.job_windows import Job  # noqa: E402

_CREATE_SUSPENDED = 0x00000004  # processthreadsapi.h, process creation flags
_CREATE_NO_WINDOW = 0x08000000

_ELEVATION_REQUIRED = 740
_BAD_EXE_FORMAT = 193
_ERRNOS = {
    2: errno.ENOENT,  # ERROR_FILE_NOT_FOUND
    3: errno.ENOENT,  # ERROR_PATH_NOT_FOUND
    5: errno.EACCES,  # ERROR_ACCESS_DENIED
    _ELEVATION_REQUIRED: errno.EACCES,
    267: errno.ENOENT,  # ERROR_DIRECTORY: the one to start in
}
"""winerror.h to errno(3), as WSL tells them; all others are EINVAL."""


class WindowsHost:
    """Implements contract.Host."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def start(self, program: Program) -> WindowsProcess:
        """As in contract.Host."""
        head = await asyncio.to_thread(_read_head, program.path)
        line = join_command_line([program.name or program.path, *program.arguments])
        check_length(line)
        environment = merge_environment(self._environment, program.environment)
        directory = program.directory or os.environ.get("SYSTEMDRIVE", "C:") + "\\"
        is_gui = is_gui_program(head)
        _let_ctrl_c_through()
        try:
            if program.console is not None and not is_gui:
                return await ConsoleProcess.start(program, directory, environment)
            return await _start_in_pipes(program.path, line, directory, environment, is_gui)
        except OSError as error:
            raise _start_error(program.path, error) from error

    def drives(self) -> Mapping[str, str]:
        """As in contract.Host."""
        from interop.drives.roots_windows import fixed_drives

        return {letter: f"{letter}:\\" for letter in fixed_drives()}

    def windows_path(self, path: str) -> str:
        """As in contract.Host."""
        return path

    def search_path(self) -> str:
        """As in contract.Host."""
        return next(
            (value for name, value in self._environment.items() if name.upper() == "PATH"), ""
        )


def _read_head(path: str) -> bytes:
    """The headers of a program. Raises HostError where it is none."""
    try:
        if os.path.isdir(path):
            raise ProgramNotFoundError(path, errno.EACCES)
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise ProgramNotFoundError(path, error.errno or errno.ENOENT) from error
    if not is_windows_program(head):
        raise ProgramNotFoundError(path, errno.EINVAL)
    return head


def _start_error(path: str, error: OSError) -> HostError:
    """Why CreateProcessW refused, for a Linux program. Pure."""
    if error.winerror == _ELEVATION_REQUIRED:
        return HostError(
            f"'{path}' asks for an administrator's rights",
            hint="Run the command from an elevated terminal.",
            number=errno.EACCES,
        )
    return ProgramNotFoundError(path, _ERRNOS.get(error.winerror or 0, errno.EINVAL))


@functools.cache
def _let_ctrl_c_through() -> None:
    """Have the programs that this process starts hear Ctrl-C.

    Whether a process ignores it is inherited, and the service was started so that it does: it
    leads a process group (consoleapi.h, SetConsoleCtrlHandler; processthreadsapi.h).
    """
    ctypes.WinDLL("kernel32").SetConsoleCtrlHandler(None, False)


async def _start_in_pipes(
    path: str, line: str, directory: str, environment: dict[str, str], is_gui: bool
) -> PipedProcess:
    # Not a process group of its own: such a one would ignore Ctrl-C (CREATE_NEW_PROCESS_GROUP).
    flags = 0 if is_gui else _CREATE_NO_WINDOW | _CREATE_SUSPENDED
    job = None if is_gui else Job()
    try:
        process = windows_utils.Popen(
            line,
            executable=path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env=environment,
            creationflags=flags,
        )
        if job is not None:
            try:
                job.adopt_suspended(int(process._handle))  # type: ignore[attr-defined]
            except OSError:
                process.kill()
                raise
    except OSError:
        if job is not None:
            job.close()
        raise
    loop = asyncio.get_running_loop()
    outputs = [await _Reading.open(process.stdout), await _Reading.open(process.stderr)]
    transport, protocol = await loop.connect_write_pipe(FlowControlMixin, process.stdin)
    stdin = StreamWriter(transport, protocol, None, loop)
    return PipedProcess(process, job, stdin, outputs[0], outputs[1])


class _Reading:
    """The reading end of a pipe; implements contract.Output."""

    def __init__(self, reader: StreamReader, transport: asyncio.ReadTransport) -> None:
        self._reader = reader
        self._transport = transport

    @classmethod
    async def open(cls, pipe: object) -> _Reading:
        reader = StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        return cls(reader, transport)

    async def read(self, n: int = -1, /) -> bytes:
        return await self._reader.read(n)

    def close(self) -> None:
        self._transport.close()


class PipedProcess:
    """Implements contract.WindowsProcess. `job` is None for a program with windows."""

    def __init__(
        self,
        process: subprocess.Popen[Any],
        job: Job | None,
        stdin: StreamWriter,
        stdout: _Reading,
        stderr: _Reading,
    ) -> None:
        self._process = process
        self._job = job
        self._code = exit_code_of(process)
        self.is_gui = job is None
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr

    async def wait(self) -> int:
        """As in contract.WindowsProcess."""
        return await asyncio.shield(self._code)

    def resize(self, size: ConsoleSize) -> None:
        """As in contract.WindowsProcess: there is no console to see."""

    def interrupt(self) -> None:
        """As in contract.WindowsProcess.

        Only a process that is attached to its console can send Ctrl-C to it, and gets it too: a
        process of its own does that.
        """
        if not self._code.done():
            argv = [sys.executable, "-I", "-m", "interop.hostos.interrupt_windows"]
            argv.append(str(self._process.pid))
            exit_code_of(subprocess.Popen(argv, creationflags=_CREATE_NO_WINDOW))

    def kill(self) -> None:
        """As in contract.WindowsProcess."""
        if self._job is not None:
            self._job.terminate()
        elif not self._code.done():
            self._process.kill()

    def close_output(self, output: Output) -> None:
        """As in contract.WindowsProcess."""
        if isinstance(output, _Reading):
            output.close()

    def close(self) -> None:
        """As in contract.WindowsProcess."""
        self.stdin.transport.abort()
        self.stdout.close()
        self.stderr.close()
        if self._job is not None:
            self._job.close()
            self._job = None
