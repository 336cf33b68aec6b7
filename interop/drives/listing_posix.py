"""The entries of a POSIX host's directory (`interop.drives.listing`)."""

from __future__ import annotations

import os
import sys

from interop.drives.listing import Entry, offset_of, ordered
from interop.drives.names import to_linux

assert sys.platform == "linux"

_DIRECTORY, _REGULAR, _LINK, _UNKNOWN = 4, 8, 10, 0
"""S_IFMT >> 12 of what there is (dirent.h)."""


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
    return ordered(found.values())
