"""The real command line on the real machine: an Isthmus of its own, and small distributions.

What a test proves here it proves about the installed program, `isthmus` beside the interpreter
that runs the tests, with a service, a QEMU and a state directory that nobody else uses.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

PROGRAM = Path(sys.executable).parent / "isthmus"
TIMEOUT_S = 180.0
BOOT_TIMEOUT_S = 300.0
"""For whatever may have to build the system image or to boot, on a busy machine."""
TINY = "tiny"

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
ada:x:1000:1000:Ada:/home/ada:/bin/sh
homeless:x:1001:1001::/home/nowhere:/bin/sh
"""
GROUP = "root:x:0:\nada:x:1000:\nhomeless:x:1001:\nlovelace:x:2000:ada\n"
OS_RELEASE = 'ID=tiny\nVERSION_ID="1.0"\nPRETTY_NAME="Tiny"\n'


def require(condition: bool, reason: str) -> None:
    """Fail for want of what this machine lacks; skip only where skips were asked for."""
    if condition:
        return
    if os.environ.get("ISTHMUS_ALLOW_SKIPS") == "1":
        pytest.skip(reason)
    pytest.fail(f"{reason} (ISTHMUS_ALLOW_SKIPS=1 skips instead)")


def wait_until(
    condition: Callable[[], object], what: str | Callable[[], str], timeout_s: float = TIMEOUT_S
) -> None:
    """Poll a condition that nothing announces; name `what` at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            named = what if isinstance(what, str) else what()
            pytest.fail(f"not so within {timeout_s:.0f} s: {named}")
        time.sleep(0.02)


# -- distributions -----------------------------------------------------------------------------


class RootTar:
    """A root file system's tar in the making: busybox, three users, and what a test adds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, name: str, data: bytes | None = None, **fields: object) -> None:
        """A regular file with `data`, or whatever `fields` (of tarfile.TarInfo) make of it."""
        info = tarfile.TarInfo(name)
        info.mode = 0o644
        for field, value in fields.items():
            setattr(info, field, value)
        if data is None:
            self._tar.addfile(info)
            return
        info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data))

    def directory(self, name: str, mode: int = 0o755, owner: int = 0) -> None:
        self.add(name, type=tarfile.DIRTYPE, mode=mode, uid=owner, gid=owner)

    def link(self, name: str, target: str, *, hard: bool = False) -> None:
        self.add(name, type=tarfile.LNKTYPE if hard else tarfile.SYMTYPE, linkname=target)

    def add_system(self) -> RootTar:
        """What makes a bootable root: busybox with all its applets, users, empty mount points."""
        busybox = shutil.which("busybox")
        require(busybox is not None, "the tests' distribution needs busybox-static")
        assert busybox is not None
        for name in ("bin", "etc", "dev", "proc", "sys", "run", "mnt", "home", "usr", "var"):
            self.directory(f"./{name}")
        self.directory("./root", 0o700)
        self.directory("./tmp", 0o1777)
        self.directory("./home/ada", 0o755, 1000)
        self.add("./bin/busybox", Path(busybox).read_bytes(), mode=0o755)
        applets = subprocess.run(
            [busybox, "--list"], capture_output=True, text=True, check=True, timeout=10
        )
        for applet in applets.stdout.split():
            if applet != "busybox":
                self.link(f"./bin/{applet}", "busybox")
        for name, text in (("passwd", PASSWD), ("group", GROUP), ("os-release", OS_RELEASE)):
            self.add(f"./etc/{name}", text.encode())
        self.add("./etc/profile", b"PS1='tiny# '\n")
        return self

    def close(self) -> Path:
        self._tar.close()
        return self.path


def make_tiny(path: Path, extra: Iterable[tuple[str, bytes]] = ()) -> Path:
    """The tar of a small, complete distribution, with `extra` files."""
    tar = RootTar(path).add_system()
    for name, data in extra:
        tar.add(name, data)
    return tar.close()


class Started:
    """A command that runs, with the ends of its pipes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def stderr(self) -> IO[bytes]:
        assert self.process.stderr is not None
        return self.process.stderr

    def status(self, timeout: float = 30.0) -> int:
        """Wait for the end; returns the exit status."""
        return self.process.wait(timeout)


# -- the program -------------------------------------------------------------------------------


PROGRESS = (b"Starting ", b"Exporting", b"Importing", b"Choosing ")


WAKEFUL = "[general]\ninstanceIdleTimeout=-1\n[wsl2]\nvmIdleTimeout=-1\n"
"""A .wslconfig for what is shared: it is not to end between two tests."""


class Isthmus:
    """One user's Isthmus in a directory of its own, which goes on when nobody uses it."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ISTHMUS_", "WSL")) or name == "ISTHMUS_CACHE"
        }
        self.drive_c, self.drive_d = home / "wine" / "drive_c", home / "wine" / "drive_d"
        self.environment |= {
            "ISTHMUS_HOME": str(home),
            "WINEPREFIX": str(home / "wine"),
            **environment,
        }
        self.prefix: tuple[str, ...] = ()
        """A program and its arguments that run commands somewhere else (namespace_harness)."""
        if "ISTHMUS_WSLCONFIG" not in environment:
            wslconfig = home.with_name(f"{home.name}.wslconfig")
            wslconfig.write_text(WAKEFUL)
            self.environment["ISTHMUS_WSLCONFIG"] = str(wslconfig)
        self._make_drives()

    def _make_drives(self) -> None:
        """Drives as a Wine prefix has them: the same on every machine that runs the tests."""
        links = self.home / "wine" / "dosdevices"
        links.mkdir(parents=True, exist_ok=True)
        for directory in (self.drive_c, self.drive_d):
            directory.mkdir(exist_ok=True)
            link = links / f"{directory.name[-1]}:"
            if not link.is_symlink():
                link.symlink_to(f"../{directory.name}")

    def run(
        self,
        *args: str | bytes,
        input: bytes = b"",
        timeout: float = TIMEOUT_S,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `isthmus args…` to its end."""
        return subprocess.run(
            [*self.prefix, PROGRAM, *args],
            input=input,
            capture_output=True,
            timeout=timeout,
            env=self.environment | (env or {}),
            cwd=cwd,
            check=False,
        )

    def ok(self, *args: str | bytes, input: bytes = b"", timeout: float = TIMEOUT_S) -> bytes:
        """Run a command that must succeed without complaint; returns its output.

        What takes over a second says on stderr what it does: that is no complaint.
        """
        done = self.run(*args, input=input, timeout=timeout)
        lines = done.stderr.splitlines()
        complaints = [line for line in lines if not line.startswith(PROGRESS)]
        assert (done.returncode, complaints) == (0, []), (args, done)
        return done.stdout

    def text(self, *args: str, timeout: float = TIMEOUT_S) -> str:
        """As `ok`, its output decoded and without the last line end."""
        return self.ok(*args, timeout=timeout).decode().removesuffix("\n")

    def json(self, *args: str) -> Any:
        """As `text`, its output read as JSON."""
        return json.loads(self.text(*args))

    @contextlib.contextmanager
    def started(self, *args: str | bytes, stdin: int = subprocess.DEVNULL) -> Iterator[Started]:
        """`isthmus args…` running; killed at the end if the test has not waited for its end."""
        process = subprocess.Popen(
            [*self.prefix, PROGRAM, *args],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )
        try:
            yield Started(process)
        finally:
            process.kill()
            process.wait(TIMEOUT_S)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()

    def configure(self, wslconfig: str) -> None:
        """Give it a .wslconfig of its own; it goes on when nobody uses it all the same."""
        file = self.home.parent / f"{self.home.name}.wslconfig"
        file.write_text(WAKEFUL + wslconfig)
        self.environment["ISTHMUS_WSLCONFIG"] = str(file)

    def make(self, name: str, tar: Path) -> Path:
        """Import a distribution; returns its directory on the host."""
        place = self.home / "places" / name
        done = self.run("--import", name, str(place), str(tar), timeout=BOOT_TIMEOUT_S)
        assert done.returncode == 0, done
        return place

    @contextlib.contextmanager
    def having(self, name: str, tar: Path) -> Iterator[Path]:
        """A distribution that is gone again afterwards."""
        place = self.make(name, tar)
        try:
            yield place
        finally:
            self.run("--unregister", name)

    # -- what runs -----------------------------------------------------------------------------

    def services(self) -> list[psutil.Process]:
        """The service's process; more than one would be a bug."""
        return _with_arguments("service", "--home", str(self.home))

    def service(self) -> psutil.Process:
        (process,) = self.services()
        return process

    def qemus(self) -> list[psutil.Process]:
        """QEMU processes of this home that run the user's machine; more than one is a bug."""
        return self._writers_of("serial.log")

    def seeds(self) -> list[psutil.Process]:
        """QEMU processes of this home that run a machine which is to be saved."""
        return self._writers_of("snapshot.log")

    def _writers_of(self, log: str) -> list[psutil.Process]:
        marker = f"path={self.home}/logs/{log},"
        return [
            process
            for process in psutil.process_iter()
            if (arguments := _arguments(process))
            and "qemu" in arguments[0]
            and any(marker in argument for argument in arguments)
        ]

    def qemu(self) -> psutil.Process:
        (process,) = self.qemus()
        return process

    def registered(self) -> list[str]:
        """Names in the registry's file."""
        with contextlib.suppress(FileNotFoundError):
            body = json.loads((self.home / "distributions.json").read_bytes())
            return [item["name"] for item in body["distributions"]]
        return []

    def disks(self) -> list[Path]:
        """Disk images below the home, registered or not."""
        return sorted(self.home.rglob("*.qcow2"))

    def logs(self) -> str:
        """The ends of the service's log and of the machine's console."""
        texts = []
        for name in ("service.log", "serial.log"):
            with contextlib.suppress(OSError):
                data = (self.home / "logs" / name).read_bytes()[-6000:]
                texts.append(f"-- {name} --\n" + data.decode("utf-8", "replace"))
        return "\n".join(texts)

    def end(self) -> None:
        """End the service and QEMU, by pid. Fails if a process would not go."""
        processes = self.services()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _gone, alive = psutil.wait_procs(processes, timeout=60)
        alive += self.qemus() + self.seeds()
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=20)
        assert not alive, f"{alive} had to be killed"


def kill_and_wait(process: psutil.Process) -> None:
    """SIGKILL, and wait until the kernel has closed what the process had open."""
    process.kill()
    wait_until(lambda: is_gone(process), f"the end of {process}")


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _with_arguments(*wanted: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter()
        if _arguments(process)[-len(wanted) :] == list(wanted)
    ]
