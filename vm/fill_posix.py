"""Filling a guest's memory from a snapshot."""

from __future__ import annotations

import os
import sys

from vm.errors import SnapshotUnusable
from vm.extents import EXTENTS, MEMORY, parse_extents

assert sys.platform != "win32"

from vm.guest_memory_posix import GuestMemory  # noqa: E402

_MAXIMUM_EXTENTS_BYTES = 16 * 1024 * 1024


def read_memory(directory: str | os.PathLike[str], memory: GuestMemory) -> None:
    """Fill `memory`, which is zeroed, from a snapshot. Blocks. Raises OSError, SnapshotUnusable."""
    with open(os.path.join(directory, EXTENTS), "rb") as file:
        extents = parse_extents(file.read(_MAXIMUM_EXTENTS_BYTES), memory.size_bytes)
    with open(os.path.join(directory, MEMORY), "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size != sum(length for _, length in extents):
            raise SnapshotUnusable("its memory has not the length that its extents say")
        at = 0
        for offset, length in extents:
            _copy(file.fileno(), at, memory.descriptor, offset, length)
            at += length


def _copy(source: int, at: int, target: int, offset: int, length: int) -> None:
    """Copy `length` bytes between files, without taking them through this process."""
    os.lseek(target, offset, os.SEEK_SET)
    end = at + length
    while at < end:
        count = os.sendfile(target, source, at, end - at)
        if count == 0:
            raise SnapshotUnusable("its memory ends too early")
        at += count
