"""Windows programs on a Linux host, by Wine (docs/paths.md §7)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping

from interop.commandline import check_length
from interop.dosdevices import DosDevices
from interop.drives.roots import wine_prefix
from interop.hostos.contract import INTERRUPTED_STATUS, ConsoleSize, Output, Program
from interop.hostos.errors import HostError, NoWindowsError, ProgramNotFoundError
from interop.hostos.wineregistry import read_search_path
from interop.pe import HEAD_BYTES, is_gui_program, is_windows_program
from wire.errors import ArgumentError
from wire.winargs import join_command_line

assert sys.platform != "win32"

from interop.hostos.pipes_posix import (  # noqa: E402 - Windows has none of it
    ReadEnd,
    WriteEnd,
    become_controlling,
    open_terminal,
    set_size,
)


class WineHost:
    """Implements contract.Host with the program `wine` and the prefix directory `prefix`."""

    def __init__(self, wine: str, prefix: str) -> None:
        self._wine = wine
        self._prefix = prefix

    def drives(self) -> Mapping[str, str]:
        """As in contract.Host; reads the prefix's links, and does not start Wine."""
        return self._devices().drives

    def windows_path(self, path: str) -> str:
        """As in contract.Host."""
        return self._devices().to_windows(os.path.realpath(path))

    def search_path(self) -> str:
        """As in contract.Host; reads the prefix's registry, and does not start Wine."""
        return read_search_path(self._prefix)

    def _devices(self) -> DosDevices:
        directory = os.path.join(self._prefix, "dosdevices")
        try:
            links = {
                entry.name: os.readlink(entry.path)
                for entry in os.scandir(directory)
                if entry.is_symlink()
            }
        except OSError as error:
            raise HostError(
                f"'{self._prefix}' is no Wine prefix: {error.strerror}",
                hint="`wineboot` makes one.",
                number=error.errno or errno.EIO,
            ) from error
        return DosDevices(links, directory, os.path.realpath)

    async def start(self, program: Program) -> WineProcess:
        """As in contract.Host. A change of PATH, TEMP or TMP is not passed on by Wine."""
        devices = self._devices()
        head = _read_head(program.path, devices.to_unix(program.path, find_name))
        directory = devices.to_unix(program.directory or "C:\\", find_name)
        if not os.path.isdir(directory):
            raise ProgramNotFoundError(program.directory)
        # Wine cuts off what a Windows program could not be given.
        check_length(join_command_line([program.path, *program.arguments]))
        argv = [self._wine, program.path, *program.arguments]
        environment = self._environment(program.environment)
        is_gui = is_gui_program(head)
        try:
            if program.console is None:
                return await _start_in_pipes(argv, directory, environment, is_gui)
            return await _start_in_console(argv, directory, environment, is_gui, program.console)
        except OSError as error:
            raise HostError(
                f"wine could not be started: {error.strerror}", number=error.errno or errno.EIO
            ) from error

    def _environment(self, changes: Mapping[str, str]) -> dict[str, str]:
        # Wine's own messages would stand among the program's.
        environment = {"WINEDEBUG": "-all", **os.environ}
        for name, value in changes.items():
            if not name or "=" in name or "\0" in name + value:
                raise ArgumentError(name, "is no variable that a program can be given")
            environment.pop(name, None)
            if value:
                environment[name] = value
        return {**environment, "WINEPREFIX": self._prefix}


def _read_head(path: str, file: str) -> bytes:
    """The headers of the program at `file`. Raises HostError where it is none."""
    try:
        # Given a directory or a document, Wine would open a window and wait for ever.
        if os.path.isdir(file):
            raise ProgramNotFoundError(path, errno.EACCES)
        with open(file, "rb") as program:
            head = program.read(HEAD_BYTES)
    except OSError as error:
        raise ProgramNotFoundError(path, error.errno or errno.ENOENT) from error
    if not is_windows_program(head):
        raise ProgramNotFoundError(path, errno.EINVAL)
    return head


async def _start_in_pipes(
    argv: list[str], directory: str, environment: dict[str, str], is_gui: bool
) -> WineProcess:
    pipes = [os.pipe() for _ in range(3)]
    (stdin, to_program), (from_program, stdout), (errors, stderr) = pipes
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
    except BaseException:
        for fd in (to_program, from_program, errors):
            os.close(fd)
        raise
    finally:
        for fd in (stdin, stdout, stderr):
            os.close(fd)
    writer = await WriteEnd.open(to_program)
    outputs = await ReadEnd.open(from_program), await ReadEnd.open(errors)
    return WineProcess(process, is_gui, writer, *outputs)


async def _start_in_console(
    argv: list[str],
    directory: str,
    environment: dict[str, str],
    is_gui: bool,
    size: ConsoleSize,
) -> WineProcess:
    master, slave = open_terminal(size)
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=directory,
            env={**environment, "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=become_controlling,
        )
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    writer = await WriteEnd.open(os.dup(master))
    return WineProcess(process, is_gui, writer, await ReadEnd.open(os.dup(master)), None, master)


class WineProcess:
    """Implements contract.WindowsProcess. A Windows process is a Unix process in Wine."""

    def __init__(
        self,
        process: Process,
        is_gui: bool,
        stdin: WriteEnd,
        stdout: ReadEnd,
        stderr: ReadEnd | None,
        terminal: int = -1,
    ) -> None:
        self._process = process
        self._terminal = terminal
        self._is_interrupted = False
        self.is_gui = is_gui
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr

    async def wait(self) -> int:
        """The exit code's low 8 bits, which is what Wine passes on; KILLED_STATUS after kill()."""
        status = await self._process.wait()
        if self._is_interrupted and status == 0:
            return INTERRUPTED_STATUS  # Wine 8.0 has a program that Ctrl-C ends exit with 0
        return status if status >= 0 else 128 - status

    def resize(self, size: ConsoleSize) -> None:
        """As in contract.WindowsProcess."""
        if self._terminal >= 0:
            set_size(self._terminal, size)

    def interrupt(self) -> None:
        """As in contract.WindowsProcess: Wine makes Ctrl-C of SIGINT."""
        self._is_interrupted = True
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """As in contract.WindowsProcess: programs with a console share the process group."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            # Where there is no such group it has ended, and its status is about to be read.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def close_output(self, output: Output) -> None:
        """As in contract.WindowsProcess."""
        if isinstance(output, ReadEnd):
            output.close()

    def close(self) -> None:
        """As in contract.WindowsProcess."""
        self.stdin.abort()
        self.stdout.close()
        if self.stderr is not None:
            self.stderr.close()
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1


def find_name(directory: str, name: str) -> str:
    """The entry of `directory` that Windows would find for `name`; `name` if there is none."""
    if os.path.lexists(os.path.join(directory, name)):
        return name
    try:
        entries = os.listdir(directory)
    except OSError:
        return name
    return next((entry for entry in entries if entry.casefold() == name.casefold()), name)


def find_wine(environment: Mapping[str, str]) -> WineHost:
    """Wine as the user has set it up: on PATH, with WINEPREFIX or ~/.wine.

    Raises NoWindowsError where there is no Wine, or one that has no prefix yet: no drive C.
    """
    wine = shutil.which("wine", path=environment.get("PATH"))
    prefix = wine_prefix(environment)
    if wine is None or not os.path.isdir(os.path.join(prefix, "dosdevices")):
        raise NoWindowsError
    return WineHost(wine, prefix)
