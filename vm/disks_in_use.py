"""Which images this process has plugged into a machine.

On POSIX hosts QEMU and qemu-img lock the images they open, against every other process. On
Windows they do not (block/file-win32.c), and qemu-img would change an image under a running
machine. All of a user's disks belong to one service, so what it remembers is enough there.
"""

from __future__ import annotations

import os
from pathlib import Path

from vm.errors import DiskInUse

_in_use: set[Path] = set()


def claim(operation: str, path: Path) -> None:
    """Remember `path` as plugged in. Raises DiskInUse if it is already."""
    refuse_if_in_use(operation, path)
    _in_use.add(_identity(path))


def release(path: Path) -> None:
    """Forget `path`; harmless if it is not plugged in."""
    _in_use.discard(_identity(path))


def refuse_if_in_use(operation: str, path: Path) -> None:
    """Raise DiskInUse if `path` is plugged in; `operation` is for the message."""
    if _identity(path) in _in_use:
        raise DiskInUse(operation, path, "it is plugged into a running machine")


def _identity(path: Path) -> Path:
    return Path(os.path.normcase(os.path.realpath(path)))
