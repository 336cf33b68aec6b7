"""FUSE replies and notifications, each declared once, and what INIT agrees on. Pure.

Source: linux/fuse.h, protocol 7.38. A lifetime is how long, in seconds, the kernel may go by what
it was told without asking again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from interop.drives.constants import MAJOR, MINOR, NAME_MAX, OLDEST_MINOR, Init, Notify
from interop.drives.errors import VersionError
from interop.drives.protocol import InitIn

_NS = 1_000_000_000
_PAGE = 4096

_HEADER = Struct("<IiQ")
_ATTR_FIELDS = "QQQQQQIIIIIIIIII"
_ATTR = Struct("<QII" + _ATTR_FIELDS)
_ENTRY = Struct("<QQQQII" + _ATTR_FIELDS)
_OPEN = Struct("<QI4x")
_WRITE = Struct("<I4x")
_STATFS = Struct("<QQQQQIII28x")
_XATTR_SIZE = Struct("<I4x")
_LSEEK = Struct("<Q")
_INIT = Struct("<IIIIHHIIHHI28x")
_DIRENT = Struct("<QQII")
_INVAL_INODE = Struct("<Qqq")
_INVAL_ENTRY = Struct("<QII")
_DELETE = Struct("<QQI4x")

NO_ENTRY = bytes(_ENTRY.size)
"""The entry of "." and ".." in READDIRPLUS: node 0, so nothing is looked up by it."""


class Attributes(NamedTuple):
    """What stat(2) shows of a file in the guest; times in nanoseconds, `size` in bytes."""

    ino: int
    size: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int


class FileSystem(NamedTuple):
    """statvfs(3) of a drive: `blocks`, `free` and `available` of `fragment` bytes."""

    blocks: int
    free: int
    available: int
    files: int
    free_files: int
    block: int
    name_max: int
    fragment: int


def _fields(a: Attributes) -> tuple[int, ...]:
    # Times before 1970 cross as two's complement, which is how the kernel takes them.
    mask = 0xFFFF_FFFF_FFFF_FFFF
    return (
        a.ino,
        a.size,
        a.blocks,
        a.atime_ns // _NS & mask,
        a.mtime_ns // _NS & mask,
        a.ctime_ns // _NS & mask,
        a.atime_ns % _NS,
        a.mtime_ns % _NS,
        a.ctime_ns % _NS,
        a.mode,
        a.nlink,
        a.uid,
        a.gid,
        a.rdev,
        _PAGE,
        0,
    )


def _split(lifetime_s: float) -> tuple[int, int]:
    fraction, whole = math.modf(lifetime_s)
    return int(whole), int(fraction * _NS)


def header(unique: int, payload_size: int, error: int = 0) -> bytes:
    """struct fuse_out_header; `error` is an errno value of Linux's, 0 for success."""
    return _HEADER.pack(_HEADER.size + payload_size, -error, unique)


def entry(
    node: int, attributes: Attributes, lifetime_s: float, attributes_lifetime_s: float
) -> bytes:
    """struct fuse_entry_out: `node` is the name's, for `lifetime_s`, and like this for its own."""
    whole, fraction = _split(lifetime_s)
    if attributes_lifetime_s == lifetime_s:
        return _ENTRY.pack(node, 0, whole, whole, fraction, fraction, *_fields(attributes))
    for_whole, for_fraction = _split(attributes_lifetime_s)
    return _ENTRY.pack(node, 0, whole, for_whole, fraction, for_fraction, *_fields(attributes))


def no_such_entry(lifetime_s: float) -> bytes:
    """The answer to LOOKUP that lets the kernel remember that there is nothing by the name."""
    whole, fraction = _split(lifetime_s)
    return _ENTRY.pack(0, 0, whole, 0, fraction, 0, *bytes(16))


def attributes_out(attributes: Attributes, lifetime_s: float) -> bytes:
    """struct fuse_attr_out."""
    whole, fraction = _split(lifetime_s)
    return _ATTR.pack(whole, fraction, 0, *_fields(attributes))


def open_out(fh: int, flags: int) -> bytes:
    """struct fuse_open_out."""
    return _OPEN.pack(fh, flags)


def write_out(size: int) -> bytes:
    """struct fuse_write_out: `size` bytes were written."""
    return _WRITE.pack(size)


def statfs_out(s: FileSystem) -> bytes:
    """struct fuse_statfs_out."""
    return _STATFS.pack(
        s.blocks,
        s.free,
        s.available,
        s.files,
        s.free_files,
        s.block,
        min(s.name_max, NAME_MAX),
        s.fragment,
    )


def xattr_size(size: int) -> bytes:
    """struct fuse_getxattr_out: what a caller that gave no room has to make room for."""
    return _XATTR_SIZE.pack(size)


def lseek_out(offset: int) -> bytes:
    """struct fuse_lseek_out."""
    return _LSEEK.pack(offset)


def dirent(ino: int, offset: int, kind: int, name: bytes) -> bytes:
    """struct fuse_dirent; `offset` is where the *next* one is asked for, `kind` is S_IFMT >> 12."""
    padding = -(_DIRENT.size + len(name)) % 8
    return _DIRENT.pack(ino, offset, len(name), kind) + name + bytes(padding)


def dirent_size(name: bytes, *, plus: bool) -> int:
    """Bytes that dirent() makes of `name`, after the entry that READDIRPLUS puts before it."""
    size = _DIRENT.size + len(name)
    return size + -size % 8 + (_ENTRY.size if plus else 0)


def invalidate_entry(parent: int, name: bytes, flags: int = 0) -> bytes:
    """FUSE_NOTIFY_INVAL_ENTRY: forget what `name` in the node `parent` was (EXPIRE_ONLY: ask)."""
    payload = _INVAL_ENTRY.pack(parent, len(name), flags) + name + b"\0"
    return _HEADER.pack(_HEADER.size + len(payload), Notify.INVAL_ENTRY, 0) + payload


def invalidate_inode(node: int, offset: int = 0, length: int = 0) -> bytes:
    """FUSE_NOTIFY_INVAL_INODE: forget attributes and pages; `offset` < 0 spares the pages.

    `offset` and `length` are in bytes, and a length of 0 reaches to the end.
    """
    payload = _INVAL_INODE.pack(node, offset, length)
    return _HEADER.pack(_HEADER.size + len(payload), Notify.INVAL_INODE, 0) + payload


def delete(parent: int, child: int, name: bytes) -> bytes:
    """FUSE_NOTIFY_DELETE: `name`, the node `child`, is gone; watchers in the guest hear of it."""
    payload = _DELETE.pack(parent, child, len(name)) + name + b"\0"
    return _HEADER.pack(_HEADER.size + len(payload), Notify.DELETE, 0) + payload


@dataclass(frozen=True)
class Agreement:
    """What INIT settled: the protocol's minor version and the features both sides have."""

    minor: int
    features: Init


WANTED = (
    Init.ASYNC_READ
    | Init.BIG_WRITES
    | Init.DONT_MASK
    | Init.AUTO_INVAL_DATA
    | Init.DO_READDIRPLUS
    | Init.READDIRPLUS_AUTO
    | Init.ASYNC_DIO
    | Init.NO_OPEN_SUPPORT
    | Init.PARALLEL_DIROPS
    | Init.ABORT_ERROR
    | Init.MAX_PAGES
    | Init.CACHE_SYMLINKS
    | Init.NO_OPENDIR_SUPPORT
    | Init.HANDLE_KILLPRIV_V2
)
"""Asked for where the kernel offers it. Locks are not: flock(2) and fcntl(2) stay in the guest."""


def negotiate(offer: InitIn, *, max_write: int) -> tuple[Agreement, bytes]:
    """What to use of `offer`, and the answer (struct fuse_init_out); `max_write` in bytes.

    FUSE_WRITEBACK_CACHE is not asked for: the kernel would keep its own idea of a file's size and
    modification time for as long as it knows the file, whatever the host says (docs/drives.md §3).

    Raises VersionError where the kernel is too old.
    """
    if offer.major != MAJOR or offer.minor < OLDEST_MINOR:
        raise VersionError(offer.major, offer.minor)
    features = WANTED & Init(offer.flags & 0xFFFF_FFFF)
    minor = min(offer.minor, MINOR)
    answer = _INIT.pack(
        MAJOR,
        minor,
        offer.max_readahead,
        int(features),
        64,  # requests in the background at once; readahead is what they are
        48,  # from where on the kernel calls the device congested
        max_write,
        1,  # nanoseconds that times are precise to
        max_write // _PAGE,
        0,
        0,
    )
    return Agreement(minor, features), answer
