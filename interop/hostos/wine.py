"""Windows programs on a Linux host, by Wine (docs/paths.md §7)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping

from interop.dosdevices import DosDevices
from interop.hostos.contract import Program
from interop.hostos.errors import HostError, NoWindowsError, ProgramNotFoundError
from wire.errors import ArgumentError

assert sys.platform != "win32"


class WineHost:
    """Implements contract.Host with the program `wine` and the prefix directory `prefix`."""

    def __init__(self, wine: str, prefix: str) -> None:
        self._wine = wine
        self._prefix = prefix

    def drives(self) -> Mapping[str, str]:
        """As in contract.Host; reads the prefix's links, and does not start Wine."""
        return self._devices().drives

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
        file = devices.to_unix(program.path, find_name)
        # Given a directory or a document, Wine would open a window and wait for ever.
        if not os.path.isfile(file):
            raise ProgramNotFoundError(program.path, errno.EACCES if os.path.isdir(file) else 2)
        directory = devices.to_unix(program.directory or "C:\\", find_name)
        if not os.path.isdir(directory):
            raise ProgramNotFoundError(program.directory)
        for text in program.arguments:
            if "\0" in text:
                raise ArgumentError(text, "holds a NUL character")
        process = await asyncio.create_subprocess_exec(
            *(self._wine, program.path, *program.arguments),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=directory,
            env=self._environment(program.environment),
            start_new_session=True,
        )
        return WineProcess(process)

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


class WineProcess:
    """Implements contract.WindowsProcess. A Windows process is a Unix process in Wine."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self.stdin: StreamWriter = process.stdin
        self.stdout: StreamReader = process.stdout
        self.stderr: StreamReader = process.stderr

    async def wait(self) -> int:
        """The exit code's low 8 bits, which is what Wine passes on; 137 after kill()."""
        status = await self._process.wait()
        return status if status >= 0 else 128 - status

    def kill(self) -> None:
        """As in contract.WindowsProcess: programs with a console share the process group."""
        if self._process.returncode is None:
            # Where there is no such group it has ended, and its status is about to be read.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


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

    Raises NoWindowsError where there is no Wine.
    """
    wine = shutil.which("wine", path=environment.get("PATH"))
    if wine is None:
        raise NoWindowsError
    prefix = environment.get("WINEPREFIX") or os.path.expanduser("~/.wine")
    return WineHost(wine, prefix)
