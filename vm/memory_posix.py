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
from vm.extents import EXTENTS, MEMORY, STATE, Extent
from vm.snapshot import used_extents

assert sys.platform != "win32"

from vm.fill_posix import read_memory as read_memory  # noqa: E402
from vm.guest_memory_posix import GuestMemory as GuestMemory  # noqa: E402

_COPY_BYTES = 1024 * 1024
_MAXIMUM_STATE_BYTES = 64 * 1024 * 1024


def host_memory_bytes() -> int:
    """What memory this computer has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


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
