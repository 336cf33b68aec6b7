"""Windows as Wine gives it: one prefix, and Windows programs run in it from a Linux test.

Three properties of Wine decide how a program is run here. Its standard handles must be pipes or a
terminal: with a plain file, or the null device, Windows's Python does not start. A program's
descendants keep its Unix pipes open, also where Windows would not have given them its handles, so
the end of a program is the end of its process, and not that of its output. And the first program
of a prefix starts Wine's own services, which keep whatever it was given.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TIMEOUT_S = 120.0
BOOT_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Completed:
    """A Windows program that has ended. `status`: the low 8 bits of its exit code."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Its standard output, decoded, with Unix line ends."""
        return self.stdout.decode().replace("\r\n", "\n")

    @property
    def complaint(self) -> str:
        """Its standard error, decoded, with Unix line ends."""
        return self.stderr.decode(errors="replace").replace("\r\n", "\n")


class Windows:
    """A Wine prefix in `directory`, with its wineserver, as the user `user`."""

    def __init__(self, directory: Path, user: str) -> None:
        self.prefix = directory
        self.user = user
        self.variables: dict[str, str] = {}
        """Added to the environment of every program."""
        self._server: subprocess.Popen[bytes] | None = None
        self._holder: subprocess.Popen[bytes] | None = None

    @property
    def drive_c(self) -> Path:
        """Drive C, from outside."""
        return self.prefix / "drive_c"

    @property
    def home(self) -> Path:
        """The user's profile directory, from outside."""
        return self.drive_c / "users" / self.user

    @staticmethod
    def path(path: Path) -> str:
        """How Windows names a path of this host: drive Z is its root."""
        return "Z:" + str(path.absolute()).replace("/", "\\")

    def unix_path(self, path: str) -> Path:
        """Where a path of drive C is on this host."""
        return self.drive_c.joinpath(*path.removeprefix("C:").strip("\\").split("\\"))

    def environment(self, changes: Mapping[str, str] | None = None) -> dict[str, str]:
        """The Unix environment of a Windows program; Wine passes all of it on but PATH."""
        inherited = {
            name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ
        }
        return {
            **inherited,
            "WINEPREFIX": str(self.prefix),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            # Neither .NET nor Internet Explorer, which wineboot would ask for in a window.
            "WINEDLLOVERRIDES": "mscoree=;mshtml=",
            "USER": self.user,
            "LOGNAME": self.user,
            "LANG": "C.UTF-8",
            **self.variables,
            **(changes or {}),
        }

    def start(self) -> None:
        """Make the prefix, as Windows 10, and start what runs in it all the time."""
        self.prefix.mkdir(parents=True)
        self._server = subprocess.Popen(
            ["wineserver", "--foreground", "--persistent"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment(),
        )
        self._prepare("wineboot", "--init")
        self._prepare(
            *("wine", "reg", "add", r"HKCU\Software\Wine", "/v", "Version", "/d", "win10", "/f")
        )

    def hold_desktop(self, python: str) -> None:
        """Keep Wine's desktop from being started by a program under test.

        Whichever program first asks for a window starts it (QEMU does), and it keeps that
        program's standard handles: a pipe to it would not end with the program. It goes when the
        last program with windows does, so one is needed that stays.
        """
        code = "import ctypes, sys; ctypes.windll.user32.GetDesktopWindow(); print(); "
        code += "sys.stdout.flush(); sys.stdin.read()"
        self._holder = self.popen([python, "-c", code])
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline().strip() == b""

    def _prepare(self, *argv: str) -> None:
        subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment(),
            check=True,
            timeout=BOOT_TIMEOUT_S,
        )

    def stop(self) -> None:
        """End every program of the prefix, and its server."""
        if self._server is None:
            return
        if self._holder is not None:
            _close_pipes(self._holder)
        subprocess.run(["wineserver", "--kill"], env=self.environment(), timeout=60, check=False)
        for process in (self._holder, self._server):
            if process is not None:
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def popen(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a Windows program with three pipes."""
        return subprocess.Popen(
            ["wine", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(environment),
            cwd=cwd or self.drive_c,
        )

    def run(
        self,
        *argv: str,
        input: bytes = b"",
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = TIMEOUT_S,
    ) -> Completed:
        """Run a Windows program to its end. Raises subprocess.TimeoutExpired, having ended it."""
        process = self.popen(argv, environment=environment, cwd=cwd)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        feeder = threading.Thread(target=_feed, args=(process.stdin, input), daemon=True)
        feeder.start()
        collectors = [_Collector(process.stdout), _Collector(process.stderr)]
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            error.output, error.stderr = (collector.finish() for collector in collectors)
            raise
        return Completed(process.returncode, *(collector.finish() for collector in collectors))


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(data)


class _Collector:
    """Reads a pipe whose writer's end is known from elsewhere."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._data = bytearray()
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._pipe.fileno(), self._wake_read], [], [])
            if self._pipe.fileno() in ready:
                chunk = os.read(self._pipe.fileno(), 65536)
                self._data += chunk
                if chunk:
                    continue
            return

    def finish(self) -> bytes:
        """All that the writer, which has ended, has left in the pipe; others may hold it still."""
        os.write(self._wake_write, b".")
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._pipe.close()
        return bytes(self._data)
