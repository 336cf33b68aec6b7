"""A saved machine on disk: the state of its devices, and what its memory holds.

A snapshot is a directory of three files::

    state      QEMU's migration stream, without memory
    memory     the pages that are not empty, one after another
    extents    where they belong: JSON, pairs of offset and length in bytes

That they are whole is for `vm.image.cache` to see to; that they make sense is checked here. Pure,
but for a look at the files that a machine is made of. `vm.memory_posix` copies, `vm.migration`
talks to QEMU.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from vm.argv import QMP_CHANNEL, qemu_argv, spare_chardev
from vm.extents import PAGE_BYTES, Extent
from vm.spec import BootImage, MachineSpec

KIND = "snapshot"

_FORMAT = 1
_SCAN_BYTES = 256 * 1024


class MemoryFile(Protocol):
    """The memory of a guest as a file that QEMU inherits: `vm.memory_posix.GuestMemory`."""

    @property
    def descriptor(self) -> int:
        """Its number, the same in QEMU."""

    @property
    def path(self) -> str:
        """The file's path, as QEMU sees it."""


class View(Protocol):
    """Memory that can be sliced: bytes, a memory map."""

    def __getitem__(self, key: slice) -> bytes:
        """The bytes of a slice."""


def snapshot_key(spec: MachineSpec, processor: str) -> str:
    """A digest of everything that a snapshot's machine and the one it is loaded into must share.

    Of QEMU, the kernel and the system image the path, size and time of change stand for the
    content. `processor` describes the host's, which guests see under a hardware accelerator.
    Raises OSError if one of the files is missing.
    """
    boot = spec.boot
    files = [spec.qemu.system]
    if isinstance(boot, BootImage):
        files += [boot.kernel, boot.system, *([boot.initrd] if boot.initrd else [])]
    else:
        files.append(boot.path)
    channels = {name: "null" for name in (QMP_CHANNEL, *spec.ports)}
    channels |= {spare_chardev(number): "null" for number in range(spec.spare_ports)}
    # What is on the host only, and not part of the machine, is left out.
    machine = replace(spec, serial_log=Path("log"), console_copy=None)
    content = {
        "format": _FORMAT,
        "qemu": str(spec.qemu.version),
        "argv": qemu_argv(machine, channels, memory_path="memory"),
        "files": [_identity(path) for path in files],
        "processor": processor if spec.accelerator.is_hardware else "",
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _identity(path: Path) -> list[object]:
    """What changes when somebody replaces the file, or writes to it."""
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]


def used_extents(view: View, touched: Iterable[Extent]) -> Iterator[Extent]:
    """The runs of pages in `touched` that hold anything but zeroes."""
    start = end = 0
    for offset, length in touched:
        for at in _used_pages(view, offset, offset + length):
            if at != end:
                if end > start:
                    yield start, end - start
                start = at
            end = at + PAGE_BYTES
    if end > start:
        yield start, end - start


def _used_pages(view: View, start: int, end: int) -> Iterator[int]:
    zeroes, empty_page = bytes(_SCAN_BYTES), bytes(PAGE_BYTES)
    for at in range(start, end, _SCAN_BYTES):
        block = view[at : min(at + _SCAN_BYTES, end)]
        if block == zeroes[: len(block)]:
            continue
        for page in range(0, len(block), PAGE_BYTES):
            if block[page : page + PAGE_BYTES] != empty_page:
                yield at + page
