"""Isthmus as it was installed on this Windows, with a small distribution made there."""

from __future__ import annotations

import io
import os
import subprocess
import sysconfig
import tarfile
from pathlib import Path

TIMEOUT_S = 600
TINY = "tiny"
APPLETS = ["cat", "chmod", "echo", "ln", "mv", "printf", "rm", "sh", "sha256sum", "stty", "sync"]


class Installed:
    """`isthmus` beside the interpreter that runs the tests, with a state directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.program = str(Path(sysconfig.get_path("scripts"), "isthmus.exe"))
        self.directory = directory
        self.environment = {**os.environ, "ISTHMUS_HOME": str(self.home)}
        # What was installed is what runs, also where the checkout is on the path of the tests.
        self.environment.pop("PYTHONPATH", None)

    @property
    def home(self) -> Path:
        """Isthmus's own directory."""
        return self.directory / "home"

    def run(self, *args: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run `isthmus args…` to its end."""
        return subprocess.run(
            [self.program, *args],
            input=input,
            capture_output=True,
            timeout=TIMEOUT_S,
            env=self.environment,
            check=False,
        )

    def ok(self, *args: str, input: bytes = b"") -> bytes:
        """The output of a command that must succeed."""
        done = self.run(*args, input=input)
        assert done.returncode == 0, (args, done, self.log())
        return done.stdout

    def service_pid(self) -> str:
        """The service's process, as `--status` tells it."""
        lines = self.ok("--status").decode().splitlines()
        (line,) = (line for line in lines if "Service process" in line)
        return line.rpartition(" ")[2]

    def log(self) -> str:
        """The end of the service's log."""
        path = self.home / "logs" / "service.log"
        return path.read_text(encoding="utf-8")[-6000:] if path.exists() else ""

    def install(self) -> None:
        """Register `tiny`, made of the machine's own busybox as `isthmus --system` hands it out."""
        tar = self.directory / "tiny.tar"
        write_tar(tar, self.ok("--system", "-e", "cat", "/usr/bin/busybox"))
        self.ok("--import", TINY, str(self.directory / TINY), str(tar))


def write_tar(path: Path, busybox: bytes) -> None:
    """A root file system of busybox alone."""
    with tarfile.open(path, "w") as tar:
        for name in ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp"):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for name, data in (
            ("bin/busybox", busybox),
            ("etc/passwd", b"root:x:0:0::/root:/bin/sh\n"),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
        for applet in APPLETS:
            member = tarfile.TarInfo(f"bin/{applet}")
            member.type, member.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(member)
