"""Whether a distribution's disk that nobody uses is what it should be."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

_TIMEOUT_S = 300
_LEAKED = 3
"""qemu-img check: clusters are lost, which costs space and nothing else."""


def damage(disk: Path) -> str:
    """What is wrong with a qcow2 image, or with the ext4 file system in it; "" if nothing is.

    The file system is looked at as it is, without its journal being replayed: its machine must have
    been shut down. Raises FileNotFoundError where the host has no e2fsck.
    """
    image = _run(["qemu-img", "check", "-q", str(disk)])
    if image.returncode not in (0, _LEAKED):
        return f"qemu-img check: {image.returncode} {image.stdout!r} {image.stderr!r}"
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    e2fsck = shutil.which("e2fsck", path=search)
    if e2fsck is None:
        raise FileNotFoundError("e2fsck: install e2fsprogs")
    with tempfile.TemporaryDirectory(prefix="isthmus-fsck-") as directory:
        raw = Path(directory) / "disk.raw"  # with holes: it takes what the image takes
        converted = _run(["qemu-img", "convert", "-O", "raw", str(disk), str(raw)])
        if converted.returncode:
            return f"qemu-img convert: {converted.returncode} {converted.stderr!r}"
        checked = _run([e2fsck, "-f", "-n", str(raw)])
    if checked.returncode:
        return f"e2fsck: {checked.returncode} {checked.stdout!r} {checked.stderr!r}"
    return ""


def _run(argv: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, capture_output=True, timeout=_TIMEOUT_S, check=False)
