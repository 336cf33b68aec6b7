"""The main job on a real Windows: what tests/wine shows under Wine, and what Wine cannot show.

To be run by the Python into which `isthmus` is installed; needs nothing else. It fails by an
assertion, with the service's log.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ISTHMUS = shutil.which("isthmus") or str(Path(sys.executable).with_name("isthmus.exe"))
TIMEOUT_S = 600
PIPE_BYTES = 20_000_000


def isthmus(*args: str, input: bytes = b"", status: int = 0) -> bytes:
    """The output of a command that must end with `status`."""
    done = subprocess.run(
        [ISTHMUS, *args], input=input, capture_output=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == status, (args, done)
    return done.stdout


def make_tar(path: Path) -> None:
    """A root file system made of the machine's own busybox, as `isthmus --system` hands it out."""
    busybox = isthmus("--system", "-e", "cat", "/usr/bin/busybox")
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
        for applet in ("cat", "ln", "mv", "printf", "rm", "sh", "sha256sum", "sync"):
            member = tarfile.TarInfo(f"bin/{applet}")
            member.type, member.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(member)


def use_drive(directory: Path) -> None:
    """Have Linux read, write, rename and remove in a directory of a Windows drive."""

    def sh(line: str) -> bytes:
        return isthmus("--cd", str(directory), "-e", "sh", "-ec", line)

    (directory / "From Windows.txt").write_bytes(b"kept\n")
    assert sh("cat 'from windows.TXT'") == b"kept\n"
    sh("printf written > file; mv file 'a:b'; printf ' more' >> 'a:b'")
    assert (directory / "a\uf03ab").read_bytes() == b"written more"
    assert (
        sh("exec 5<'a:b'; rm 'a:b'; cat <&5; ln -s From* link; cat link") == b"written morekept\n"
    )
    assert not (directory / "a\uf03ab").exists()
    deadline = time.monotonic() + 10
    while directory.exists():  # nothing in it is kept open for long
        try:
            os.rename(directory, directory.with_name("renamed"))
        except PermissionError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def main() -> None:
    """Install a distribution, use it, end the service as Task Manager does, and shut down."""
    directory = Path(tempfile.mkdtemp(prefix="Žofia Ünal "))
    os.environ["ISTHMUS_HOME"] = str(directory / "home")
    try:
        make_tar(directory / "tiny.tar")
        isthmus("--import", "tiny", str(directory / "tiny"), str(directory / "tiny.tar"))
        print(isthmus("--status").decode())
        isthmus("-e", "sh", "-c", "exit 42", status=42)
        (directory / "drive").mkdir()
        use_drive(directory / "drive")
        data = random.Random(1).randbytes(PIPE_BYTES)
        assert isthmus("-e", "cat", input=data) == data
        digest = isthmus("-e", "sha256sum", input=data).split()[0].decode()
        assert digest == hashlib.sha256(data).hexdigest()
        isthmus("-e", "sh", "-c", "echo kept > /root/kept; sync")
        (line,) = (
            line for line in isthmus("--status").decode().splitlines() if "Service process" in line
        )
        subprocess.run(["taskkill", "/f", "/pid", line.rpartition(" ")[2]], check=True)
        assert isthmus("-e", "cat", "/root/kept") == b"kept\n"
        isthmus("--export", "tiny", str(directory / "out.tar"))
        isthmus("--shutdown")
    finally:
        log = directory / "home" / "logs" / "service.log"
        if log.exists():
            print(log.read_text(encoding="utf-8")[-6000:])


if __name__ == "__main__":
    main()
