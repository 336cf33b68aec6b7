"""The structures that Windows' file system calls take and give. Pure.

Sources: ntifs.h and winnt.h; [MS-FSCC] has each of them with its offsets. All are those of 64-bit
Windows. Times are counts of 100 ns since 1601. Names are UTF-16 there and UTF-8 here, in which
half a surrogate pair, which NTFS takes for a character, stays what it is.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from struct import Struct
from struct import error as StructError
from typing import NamedTuple

from interop.drives import linuxerrno
from interop.drives.ntstatus import linux_error
from wire.windowspath import unescape

READ_ONLY = 0x1
DIRECTORY = 0x10
NORMAL = 0x80
REPARSE_POINT = 0x400
"""File attributes (winnt.h, FILE_ATTRIBUTE_*)."""

TAG_SYMLINK = 0xA000000C
TAG_MOUNT_POINT = 0xA0000003
TAG_LX_SYMLINK = 0xA000001D
LINK_TAGS = frozenset({TAG_SYMLINK, TAG_MOUNT_POINT, TAG_LX_SYMLINK})
"""Reparse points that Linux sees as symbolic links (winnt.h, IO_REPARSE_TAG_*). Others are files
whose content something else looks after (OneDrive, deduplication)."""

_EPOCH = 116_444_736_000_000_000  # 1970 in Windows' time
_TICK_NS = 100

_ALL = Struct("<qqqqI4xqqIBB2xqIIqIII")
ALL_SIZE = _ALL.size + 4
"""Bytes of room that FileAllInformation needs, with none for the name, which is cut."""

_BASIC = Struct("<qqqqI4x")
_ENTRY = Struct("<IIqqqqqqIIIBx24s2xq")
_RENAME = Struct("<I4xQI")
_RENAME_LEAST = 24
_REPARSE = Struct("<IHH")
_SYMLINK = Struct("<HHHHI")
_MOUNT_POINT = Struct("<HHHH")
_EA = Struct("<IBBH")
_EA_NAME = Struct("<IB")
_FULL_SIZE = Struct("<qqqII")
FULL_SIZE = _FULL_SIZE.size

SYMLINK_RELATIVE = 1
"""SYMLINK_FLAG_RELATIVE (ntifs.h)."""
_LX_SYMLINK_VERSION = 2


def to_text(name: bytes) -> str:
    """A host's name for Windows; EINVAL for what is no UTF-8 and so cannot be stored."""
    try:
        return name.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise linux_error(linuxerrno.EINVAL) from None


def to_wide(name: bytes) -> bytes:
    """A host's name in UTF-16; EINVAL for what is no UTF-8."""
    return to_text(name).encode("utf-16-le", "surrogatepass")


def from_wide(name: bytes) -> bytes:
    """A name that Windows gave, as the host's names are written here."""
    return name.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")


def to_ns(ticks: int) -> int:
    """Nanoseconds since 1970."""
    return (ticks - _EPOCH) * _TICK_NS


def to_ticks(seconds: int, nanoseconds: int) -> int:
    """Windows' time; its least, 1601, for what was before: 0 would mean "leave it"."""
    return max(1, seconds * 10_000_000 + nanoseconds // _TICK_NS + _EPOCH)


def _kind(attributes: int, tag: int) -> int:
    if tag in LINK_TAGS:
        return stat.S_IFLNK
    return stat.S_IFDIR if attributes & DIRECTORY else stat.S_IFREG


class Status(NamedTuple):
    """What there is to know of an open file; sizes in bytes, times in nanoseconds since 1970.

    `identity` is its number on the volume, 0 where the file system has none. `tag` is its reparse
    tag, 0 for none, and `ea_size` what its extended attributes take.
    """

    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    attributes: int
    allocated: int
    size: int
    links: int
    identity: int
    ea_size: int = 0
    tag: int = 0

    @property
    def kind(self) -> int:
        """S_IFMT of how Linux sees it."""
        return _kind(self.attributes, self.tag)

    @property
    def mode(self) -> int:
        """The mode of such a file on a POSIX host, for `interop.drives.metadata.show`.

        A directory's read-only bit says how Explorer shows it, and protects nothing.
        """
        kind = self.kind
        is_protected = kind == stat.S_IFREG and self.attributes & READ_ONLY
        return kind | (0o555 if is_protected else 0o777)


def parse_all(data: bytes | bytearray | memoryview) -> Status:
    """FILE_ALL_INFORMATION, up to its name."""
    (_, accessed, written, changed, attributes, allocated, size, links, _, _, number, eas, *_) = (
        _ALL.unpack_from(data)
    )
    return Status(
        to_ns(accessed),
        to_ns(written),
        to_ns(changed),
        attributes,
        allocated,
        size,
        links,
        number & 0xFFFF_FFFF_FFFF_FFFF,
        eas,
    )


def basic(accessed: int = 0, written: int = 0, attributes: int = 0) -> bytes:
    """FILE_BASIC_INFORMATION: what to set; 0 leaves as it is."""
    return _BASIC.pack(0, accessed, written, 0, attributes)


class DirectoryEntry(NamedTuple):
    """One name in a directory, as the directory has it; `tag` as in Status."""

    name: bytes
    attributes: int
    tag: int
    identity: int
    changed_ns: int

    @property
    def kind(self) -> int:
        """S_IFMT of how Linux sees it."""
        return _kind(self.attributes, self.tag)


def parse_entries(data: bytes | memoryview) -> Iterator[DirectoryEntry]:
    """A chain of FILE_ID_BOTH_DIR_INFORMATION, without "." and ".."."""
    at = 0
    while True:
        (following, _, _, _, _, changed, _, _, attributes, length, tag, _, _, number) = (
            _ENTRY.unpack_from(data, at)
        )
        name = from_wide(bytes(data[at + _ENTRY.size : at + _ENTRY.size + length]))
        if name not in (b".", b".."):
            # The size of extended attributes, but for reparse points: there the tag is.
            tag = tag if attributes & REPARSE_POINT else 0
            number &= 0xFFFF_FFFF_FFFF_FFFF
            yield DirectoryEntry(name, attributes, tag, number, to_ns(changed))
        if not following:
            return
        at += following


def rename(directory: int, name: bytes, flags: int) -> bytes:
    """FILE_RENAME_INFORMATION and FILE_LINK_INFORMATION: `directory` is an open one's handle."""
    wide = to_wide(name)
    # Never shorter than the structure with its padding: that is a mismatch of lengths.
    return (_RENAME.pack(flags, directory, len(wide)) + wide).ljust(_RENAME_LEAST, b"\0")


def _chain(parts: list[bytes]) -> bytes:
    """Structures that each begin with the distance to the next, on multiples of four bytes."""
    if not parts:
        return b""
    padded = [part + bytes(-len(part) % 4) for part in parts[:-1]]
    return b"".join(len(part).to_bytes(4, "little") + part[4:] for part in padded) + parts[-1]


def ea_names(names: list[bytes]) -> bytes:
    """FILE_GET_EA_INFORMATION: which extended attributes to ask for."""
    return _chain([_EA_NAME.pack(0, len(name)) + name + b"\0" for name in names])


def eas(values: dict[bytes, bytes]) -> bytes:
    """FILE_FULL_EA_INFORMATION: extended attributes to set; one without a value is removed."""
    return _chain(
        [
            _EA.pack(0, 0, len(name), len(value)) + name + b"\0" + value
            for name, value in values.items()
        ]
    )


def parse_eas(data: bytes | memoryview) -> dict[bytes, bytes]:
    """FILE_FULL_EA_INFORMATION: those that have a value."""
    values: dict[bytes, bytes] = {}
    at = 0
    while at + _EA.size <= len(data):
        following, _, name_length, length = _EA.unpack_from(data, at)
        start = at + _EA.size
        value = start + name_length + 1
        if length:
            values[bytes(data[start : start + name_length])] = bytes(data[value : value + length])
        if not following:
            break
        at += following
    return values


class Space(NamedTuple):
    """FILE_FS_FULL_SIZE_INFORMATION: units of `unit` bytes; `available` is the caller's share."""

    total: int
    available: int
    free: int
    unit: int


def parse_full_size(data: bytes | bytearray | memoryview) -> Space:
    """FILE_FS_FULL_SIZE_INFORMATION."""
    total, available, free, sectors, sector = _FULL_SIZE.unpack_from(data)
    return Space(total, available, free, sectors * sector)


def lx_symlink(target: bytes) -> bytes:
    """REPARSE_DATA_BUFFER of a symbolic link as WSL makes it: the target is Linux' text."""
    body = _LX_SYMLINK_VERSION.to_bytes(4, "little") + target
    return _REPARSE.pack(TAG_LX_SYMLINK, len(body), 0) + body


class Link(NamedTuple):
    """What a reparse point leads to: Linux' own text, or a Windows path."""

    linux: bytes | None
    windows: str
    is_relative: bool


def parse_link(data: bytes | memoryview) -> Link:
    """REPARSE_DATA_BUFFER of one of LINK_TAGS. EINVAL for what is none."""
    try:
        tag, length, _ = _REPARSE.unpack_from(data)
        body = bytes(data[_REPARSE.size : _REPARSE.size + length])
        if tag == TAG_LX_SYMLINK:
            return Link(body[4:], "", False)
        if tag == TAG_SYMLINK:
            at, size, _, _, flags = _SYMLINK.unpack_from(body)
            start = _SYMLINK.size + at
            is_relative = bool(flags & SYMLINK_RELATIVE)
        elif tag == TAG_MOUNT_POINT:
            at, size, _, _ = _MOUNT_POINT.unpack_from(body)
            start, is_relative = _MOUNT_POINT.size + at, False
        else:
            raise linux_error(linuxerrno.EINVAL)
        path = body[start : start + size].decode("utf-16-le", "surrogatepass")
    except (ValueError, StructError):  # cut short
        raise linux_error(linuxerrno.EINVAL) from None
    return Link(None, path, is_relative)


def linux_target(link: Link, symlinkroot: str) -> bytes:
    r"""What readlink(2) gives: `\??\C:\Users` is `/mnt/c/Users` where drives are in /mnt.

    A path that has no place in Linux (a volume without a letter, a server) stays as it is, with
    slashes: such a link leads nowhere.
    """
    if link.linux is not None:
        return link.linux
    path = link.windows
    if not link.is_relative:
        path = path.removeprefix("\\??\\")
        if len(path) >= 2 and path[1] == ":" and path[0].isalpha():
            path = symlinkroot.rstrip("/") + "/" + path[0].lower() + path[2:]
    linux = unescape(path.replace("\\", "/"))
    return linux.rstrip("/").encode("utf-8", "surrogatepass") or b"/"
