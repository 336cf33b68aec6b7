"""The guest's memory as a file of ours, which QEMU maps: what makes snapshots quick.

QEMU's own migration stream holds each page of memory, empty ones too, and is read from end to
end before the guest runs. Memory that is shared with this process can be left out of it (QEMU's
capability x-ignore-shared): then it is copied here, as what it is, a sparse file.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from vm.errors import SnapshotUnusable
from vm.snapshot import EXTENTS, MEMORY, STATE, Extent, parse_extents, used_extents

assert sys.platform != "win32"

_COPY_BYTES = 1024 * 1024
_MAXIMUM_STATE_BYTES = 64 * 1024 * 1024
_MAXIMUM_EXTENTS_BYTES = 16 * 1024 * 1024


def host_memory_bytes() -> int:
    """What memory this computer has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class GuestMemory:
    """Zeroed memory of `size_bytes`, which lives until both we and QEMU have let go of it."""

    def __init__(self, size_bytes: int) -> None:
        """Raises OSError, on hosts without memfd_create(2) too."""
        self.size_bytes = size_bytes
        self.descriptor = -1
        if sys.platform != "linux":
            raise OSError("this host has no files in memory")
        self.descriptor = os.memfd_create("guest-memory", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.descriptor, size_bytes)
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> str:
        """Where QEMU, which inherits the descriptor under its number, finds it."""
        return f"/proc/self/fd/{self.descriptor}"

    @property
    def allocated_bytes(self) -> int:
        """What it takes of the host's memory."""
        return os.fstat(self.descriptor).st_blocks * 512

    def close(self) -> None:
        """Let go of it. May be repeated."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def write_snapshot(directory: Path, state: bytes, memory: GuestMemory) -> None:
    """Fill the empty `directory` with a snapshot of a machine that is paused.

    Blocks. Raises OSError.
    """
    (directory / STATE).write_bytes(state)
    extents = []
    with (
        open(directory / MEMORY, "wb", buffering=0) as file,
        mmap.mmap(memory.descriptor, memory.size_bytes, prot=mmap.PROT_READ) as view,
    ):
        for offset, length in used_extents(view, _touched(memory)):
            extents.append((offset, length))
            at = offset
            while at < offset + length:
                at += file.write(view[at : min(at + _COPY_BYTES, offset + length)])
    (directory / EXTENTS).write_text(json.dumps(extents))


def _touched(memory: GuestMemory) -> Iterator[Extent]:
    """What of the memory has ever been written to, or read (lseek(2), SEEK_DATA)."""
    end = 0
    while end < memory.size_bytes:
        try:
            start = os.lseek(memory.descriptor, end, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing follows
            return
        end = os.lseek(memory.descriptor, start, os.SEEK_HOLE)
        yield start, end - start


def read_state(directory: Path) -> bytes:
    """The state of the devices. Raises OSError, SnapshotUnusable."""
    with open(directory / STATE, "rb") as file:
        state = file.read(_MAXIMUM_STATE_BYTES + 1)
    if not 0 < len(state) <= _MAXIMUM_STATE_BYTES:
        raise SnapshotUnusable("its state is empty or too long")
    return state


def read_memory(directory: Path, memory: GuestMemory) -> None:
    """Fill `memory`, which is zeroed, from a snapshot. Blocks. Raises OSError, SnapshotUnusable."""
    with open(directory / EXTENTS, "rb") as file:
        extents = parse_extents(file.read(_MAXIMUM_EXTENTS_BYTES), memory.size_bytes)
    with open(directory / MEMORY, "rb", buffering=0) as file:
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
