"""The file by which large contents pass, beside the port: the guest has it as a disk.

A virtio-serial port carries 4 KiB at a time (QEMU's CHR_READ_BUF_LEN), a disk a megabyte. The file
consists of slots, which the pump gives out (guest/native/pump_bulk.h): a READ or WRITE that has one
says so in a field that the kernel leaves 0. What is in a slot is trusted no more than a request.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from struct import Struct

from interop.drives.errors import ProtocolError

SLOT_BYTES = 1 << 20
SLOTS = 8
"""The kernel has at most 12 requests of its own accord under way (FUSE_DEFAULT_MAX_BACKGROUND);
those that find no slot go by the port."""

LEAST_BYTES = 64 << 10
"""A request for less takes no longer by the port."""

WORTH_BYTES = 1 << 20
"""After so much by large requests a mount is taken to be worth a disk."""

IN_SLOT = 1
"""The error with which an answer says that the data is in the slot: the kernel's are negative."""

WANTS_BULK = "wants-bulk"
"""What a server says, once, when it would be faster with a disk."""

_LENGTH = Struct("<I")


class InSlot:
    """Stands for an answer of `length` bytes in the slot of its request."""

    __slots__ = ("payload",)

    def __init__(self, length: int) -> None:
        self.payload = _LENGTH.pack(length)


class Bulk:
    """The file at `path`, as the server has it. Raises OSError, ValueError if it is empty."""

    def __init__(self, path: str) -> None:
        with open(path, "rb+") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._view = memoryview(self._map)

    def slot(self, number: int, size: int) -> memoryview:
        """The first `size` bytes of a slot, counted from 1.

        Raises ProtocolError where there is no such slot, or no such room in it.
        """
        begin = (number - 1) * SLOT_BYTES
        if number < 1 or begin + SLOT_BYTES > len(self._view) or size > SLOT_BYTES:
            raise ProtocolError(f"slot {number} for {size} bytes")
        return self._view[begin : begin + size]

    def close(self) -> None:
        """Let go of the file; no slot may be in use."""
        self._view.release()
        self._map.close()


def make_file(path: Path) -> None:
    """Make the file, empty, and for this user alone, whatever was there. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.truncate(fd, SLOT_BYTES * SLOTS)
    finally:
        os.close(fd)
