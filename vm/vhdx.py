"""Which parts of a VHDX hold data, from its own tables. Pure but for reading the file.

QEMU's driver says of every byte of a VHDX that it may be data, so copying one of the usual size
of 1 TiB would read 1 TiB of zeros; its block allocation table knows better. It is only a hint of
where to look: the bytes themselves are read by QEMU. Source: [MS-VHDX] 2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO
from uuid import UUID

_REGION_TABLES = (192 << 10, 256 << 10)  # 2.2.3: two copies
_REGION_TABLE_BYTES = 64 << 10
_BAT = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
_METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_VIRTUAL_DISK_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_LOGICAL_SECTOR_SIZE = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_MAXIMUM_ENTRIES = 2047
_ENTRIES_AT_ONCE = 1 << 17
_HOLDS_NOTHING = frozenset({0, 1, 2, 3})
"""PAYLOAD_BLOCK_NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED (2.5.1.1); any other state may be data."""


class MalformedVhdx(Exception):
    """The file's tables are not those of a VHDX; the argument says what is wrong."""


@dataclass(frozen=True)
class Layout:
    """Where a VHDX has data."""

    virtual_size_bytes: int
    runs: tuple[tuple[int, int], ...]
    """Offset and length on the virtual disk, in bytes, of what may hold data; ascending."""


def read_layout(file: BinaryIO, gap_bytes: int) -> Layout:
    """The layout of the VHDX in `file`.

    gap_bytes: runs less than this apart are made one, for each costs a program's start.
    Raises MalformedVhdx, OSError.
    """
    bat_at, bat_length, metadata_at = _regions(file)
    items = _metadata(file, metadata_at)
    try:
        (block_bytes, _flags) = struct.unpack("<II", items[_FILE_PARAMETERS][:8])
        (size,) = struct.unpack("<Q", items[_VIRTUAL_DISK_SIZE][:8])
        (sector_bytes,) = struct.unpack("<I", items[_LOGICAL_SECTOR_SIZE][:4])
    except (KeyError, struct.error):
        raise MalformedVhdx("its metadata is incomplete") from None
    if not 1 << 20 <= block_bytes <= 256 << 20 or block_bytes & (block_bytes - 1):
        raise MalformedVhdx(f"blocks of {block_bytes} bytes")
    if sector_bytes not in (512, 4096):
        raise MalformedVhdx(f"sectors of {sector_bytes} bytes")
    # 2.5: after as many payload blocks as one sector bitmap block covers comes its own entry.
    ratio = (sector_bytes << 23) // block_bytes
    count = -(-size // block_bytes)
    entries = count + (count - 1) // ratio if count else 0
    if entries * 8 > bat_length:
        raise MalformedVhdx("its block allocation table is too short for its size")
    blocks = (
        index - index // (ratio + 1)
        for index, state in enumerate(_states(file, bat_at, entries))
        if state not in _HOLDS_NOTHING and (index + 1) % (ratio + 1)
    )
    return Layout(size, tuple(_join(blocks, block_bytes, size, gap_bytes)))


def _states(file: BinaryIO, at: int, entries: int) -> Iterator[int]:
    """The states of the table's entries, in order (2.5.1); in pieces, for it may be large."""
    for first in range(0, entries, _ENTRIES_AT_ONCE):
        count = min(_ENTRIES_AT_ONCE, entries - first)
        for low in _read(file, at + first * 8, count * 8)[::8]:
            yield low & 7


def _join(
    blocks: Iterable[int], block_bytes: int, size: int, gap_bytes: int
) -> Iterator[tuple[int, int]]:
    start = end = -1
    for block in blocks:
        at = block * block_bytes
        if start >= 0 and at - end >= max(1, gap_bytes):
            yield start, end - start
            start = -1
        if start < 0:
            start = at
        end = min(at + block_bytes, size)
    if start >= 0:
        yield start, end - start


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    try:
        file.seek(at)
    except OverflowError:
        raise MalformedVhdx(f"a place beyond any file: {at}") from None
    data = file.read(length)
    if len(data) != length:
        raise MalformedVhdx(f"it ends within {length} bytes at {at}")
    return data


def _regions(file: BinaryIO) -> tuple[int, int, int]:
    """Offset and length of the block allocation table, and the offset of the metadata."""
    for at in _REGION_TABLES:
        table = _read(file, at, _REGION_TABLE_BYTES)
        signature, _checksum, count = struct.unpack_from("<4sII", table)
        if signature != b"regi" or count > _MAXIMUM_ENTRIES:
            continue
        found = {}
        for number in range(count):
            name, where, length, _required = struct.unpack_from("<16sQII", table, 16 + 32 * number)
            found[UUID(bytes_le=name)] = (where, length)
        if _BAT in found and _METADATA in found:
            return *found[_BAT], found[_METADATA][0]
    raise MalformedVhdx("it has no region table")


def _metadata(file: BinaryIO, at: int) -> dict[UUID, bytes]:
    """The small items of the metadata region (2.6), by name."""
    table = _read(file, at, _REGION_TABLE_BYTES)
    signature, _reserved, count = struct.unpack_from("<8sHH", table)
    if signature != b"metadata" or count > _MAXIMUM_ENTRIES:
        raise MalformedVhdx("it has no metadata table")
    items = {}
    for number in range(count):
        name, where, _length = struct.unpack_from("<16sII", table, 32 + 32 * number)
        if UUID(bytes_le=name) in (_FILE_PARAMETERS, _VIRTUAL_DISK_SIZE, _LOGICAL_SECTOR_SIZE):
            items[UUID(bytes_le=name)] = _read(file, at + where, 8)
    return items
