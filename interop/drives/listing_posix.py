"""A directory's entries in an order that does not change when other entries come and go.

An entry's offset is a hash of its name (keyed, as Python's own of bytes is), and they are listed
in its order. So a listing that goes on at an offset misses nothing that was there all the time
and repeats nothing, with no state kept for it, and however many listings of one directory are
under way: with zero-message opens the server cannot tell them apart.
"""

from __future__ import annotations

import os
import sys
from bisect import bisect_right
from operator import itemgetter
from typing import NamedTuple

from interop.drives.names import to_linux

assert sys.platform == "linux"

_BITS = (1 << 62) - 1
_FIRST = 3
"""Offsets below it: 0 is the start, 1 and 2 are behind "." and "..". """

_DIRECTORY, _REGULAR, _LINK, _UNKNOWN = 4, 8, 10, 0
"""S_IFMT >> 12 of what there is (dirent.h)."""


class Entry(NamedTuple):
    """One name: where a listing goes on behind it, on the host, in Linux, what it is."""

    offset: int
    host: bytes
    name: bytes
    ino: int
    kind: int


def offset_of(name: bytes) -> int:
    """Where a listing goes on after `name`: from 3 up, and within a signed 64-bit integer."""
    return (hash(name) & _BITS) + _FIRST


def _kind(entry: os.DirEntry[str]) -> int:
    if entry.is_symlink():
        return _LINK
    if entry.is_dir(follow_symlinks=False):
        return _DIRECTORY
    return _REGULAR if entry.is_file(follow_symlinks=False) else _UNKNOWN


def read(directory: int) -> list[Entry]:
    """All entries of `directory` (which may be open as O_PATH), in the order of their offsets."""
    fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    found: dict[bytes, Entry] = {}
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                host = os.fsencode(entry.name)
                name = to_linux(host)
                if name in found and name == host:
                    continue  # its escaped twin is the one that lookups find
                found[name] = Entry(offset_of(name), host, name, entry.inode(), _kind(entry))
    finally:
        os.close(fd)
    return sorted(found.values(), key=itemgetter(0))


def after(entries: list[Entry], offset: int) -> int:
    """The index in `entries` of the first one behind `offset`."""
    return bisect_right(entries, offset, key=itemgetter(0))
