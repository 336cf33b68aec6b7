"""FUSE requests: each declared once, decoded with every bound checked. Pure.

Source: linux/fuse.h, protocol 7.38. All integers are little-endian: both ends of a drive are on
one machine, and every host and guest that Isthmus knows is.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple, TypeVar

from interop.drives.constants import (
    NAME_MAX,
    PATH_MAX,
    XATTR_NAME_MAX,
    XATTR_SIZE_MAX,
    Opcode,
)
from interop.drives.errors import ProtocolError

_T = TypeVar("_T")


class Header(NamedTuple):
    """struct fuse_in_header. `length` is the whole request's, in bytes."""

    length: int
    opcode: int
    unique: int
    nodeid: int
    uid: int
    gid: int
    pid: int
    extension_words: int


_HEADER = Struct("<IIQQIIIH2x")
HEADER_SIZE = _HEADER.size
"""Bytes before a request's body: 40."""


class InitIn(NamedTuple):
    """struct fuse_init_in, as far as every kernel since 7.6 sends it."""

    major: int
    minor: int
    max_readahead: int
    flags: int


class GetattrIn(NamedTuple):
    """struct fuse_getattr_in."""

    flags: int
    fh: int


class SetattrIn(NamedTuple):
    """struct fuse_setattr_in; times in seconds and nanoseconds, `valid` is of SetAttr."""

    valid: int
    fh: int
    size: int
    atime: int
    mtime: int
    atimensec: int
    mtimensec: int
    mode: int
    uid: int
    gid: int


class Name(NamedTuple):
    """LOOKUP, UNLINK, RMDIR: one name in the directory that the header names."""

    name: bytes


class SymlinkIn(NamedTuple):
    """SYMLINK: the new name and what it leads to."""

    name: bytes
    target: bytes


class MknodIn(NamedTuple):
    """struct fuse_mknod_in and the name; `rdev` as new_encode_dev() of linux/kdev_t.h."""

    mode: int
    rdev: int
    umask: int
    name: bytes


class MkdirIn(NamedTuple):
    """struct fuse_mkdir_in and the name."""

    mode: int
    umask: int
    name: bytes


class RenameIn(NamedTuple):
    """struct fuse_rename2_in and both names; RENAME has no flags and decodes to 0."""

    newdir: int
    flags: int
    name: bytes
    newname: bytes


class LinkIn(NamedTuple):
    """struct fuse_link_in and the new name."""

    oldnodeid: int
    name: bytes


class CreateIn(NamedTuple):
    """struct fuse_create_in and the name."""

    flags: int
    mode: int
    umask: int
    open_flags: int
    name: bytes


class ReadIn(NamedTuple):
    """struct fuse_read_in, of READ, READDIR and READDIRPLUS.

    `slot`: where the answer may be put (`interop.drives.bulk`), 0: nowhere.
    """

    fh: int
    offset: int
    size: int
    slot: int


class WriteIn(NamedTuple):
    """struct fuse_write_in and a view of the data: copy it before the next request is read.

    `slot`: where the data is instead, 0: nowhere.
    """

    fh: int
    offset: int
    size: int
    write_flags: int
    slot: int
    data: memoryview


class FsyncIn(NamedTuple):
    """struct fuse_fsync_in."""

    fh: int
    flags: int


class SetxattrIn(NamedTuple):
    """struct fuse_setxattr_in in its short form (FUSE_SETXATTR_EXT is not agreed on)."""

    size: int
    flags: int
    name: bytes
    value: bytes


class GetxattrIn(NamedTuple):
    """struct fuse_getxattr_in; LISTXATTR has no name and decodes to b""."""

    size: int
    name: bytes


class FallocateIn(NamedTuple):
    """struct fuse_fallocate_in; `mode` as fallocate(2)."""

    fh: int
    offset: int
    length: int
    mode: int


class LseekIn(NamedTuple):
    """struct fuse_lseek_in; only SEEK_DATA and SEEK_HOLE are ever sent."""

    fh: int
    offset: int
    whence: int


class CopyIn(NamedTuple):
    """struct fuse_copy_file_range_in."""

    fh_in: int
    off_in: int
    nodeid_out: int
    fh_out: int
    off_out: int
    length: int
    flags: int


class Forgets(NamedTuple):
    """FORGET and BATCH_FORGET: (node, how many lookups it loses), ...; node 0 is the header's."""

    pairs: tuple[tuple[int, int], ...]


class Nothing(NamedTuple):
    """A request with no body, or one whose body is of no use to the server."""


Decoder = Callable[[memoryview], Any]


def decode_header(request: memoryview) -> Header:
    """The header of `request`, which is exactly one request.

    Raises ProtocolError where it is shorter than a header or not as long as its header says.
    """
    if len(request) < HEADER_SIZE:
        raise ProtocolError(f"{len(request)} bytes are no header")
    header = Header._make(_HEADER.unpack_from(request))
    if header.length != len(request):
        raise ProtocolError(f"{len(request)} bytes, says {header.length}", opcode=header.opcode)
    return header


def decode(request: memoryview) -> tuple[Header, Any]:
    """The header and the decoded body of `request`; the body of an unknown opcode is None.

    Raises ProtocolError for anything that no kernel sends.
    """
    header = decode_header(request)
    decoder = DECODERS.get(header.opcode)
    if decoder is None:
        return header, None
    end = header.length - 8 * header.extension_words
    if end < HEADER_SIZE:
        raise ProtocolError("extensions overlap the header", opcode=header.opcode)
    try:
        return header, decoder(request[HEADER_SIZE:end])
    except ProtocolError as error:
        error.opcode = header.opcode
        raise


def _need(body: memoryview, size: int) -> None:
    if len(body) < size:
        raise ProtocolError(f"{len(body)} bytes of body, not {size}")


def _strings(tail: memoryview, count: int) -> list[bytes]:
    """`count` NUL-terminated strings that fill `tail` exactly."""
    parts = bytes(tail).split(b"\0")
    if len(parts) != count + 1 or parts[-1]:
        raise ProtocolError(f"not {count} terminated strings")
    return parts[:count]


def check_name(name: bytes) -> bytes:
    """`name`, if it can name something in a directory; ProtocolError if it leads elsewhere.

    One that is too long for a file system is let through: the kernel leaves it to us to say
    ENAMETOOLONG, and the host does. The kernel resolves "." and ".." itself (FUSE_EXPORT_SUPPORT
    is not agreed on).
    """
    if not 0 < len(name) < PATH_MAX or b"/" in name or b"\0" in name or name in (b".", b".."):
        raise ProtocolError(f"{name[:NAME_MAX]!r} names nothing in a directory")
    return name


def _fixed(kind: Callable[..., _T], layout: str) -> Callable[[memoryview], _T]:
    struct = Struct(layout)
    size, unpack = struct.size, struct.unpack_from

    def decode_fixed(body: memoryview) -> _T:
        _need(body, size)
        return kind(*unpack(body))

    return decode_fixed


def _named(kind: Callable[..., _T], layout: str, names: int = 1) -> Callable[[memoryview], _T]:
    struct = Struct(layout)

    def decode_named(body: memoryview) -> _T:
        _need(body, struct.size)
        strings = map(check_name, _strings(body[struct.size :], names))
        return kind(*struct.unpack_from(body), *strings)

    return decode_named


def _symlink(body: memoryview) -> SymlinkIn:
    name, target = _strings(body, 2)
    if not 0 < len(target) < PATH_MAX:
        raise ProtocolError(f"a link's target of {len(target)} bytes")
    return SymlinkIn(check_name(name), target)


_rename_plain = _named(lambda newdir, *names: RenameIn(newdir, 0, *names), "<Q", 2)

_WRITE = Struct("<QQII12xI")
WRITE_OVERHEAD = HEADER_SIZE + _WRITE.size
"""Bytes of a WRITE request that are not data: 80."""


def _write(body: memoryview) -> WriteIn:
    _need(body, _WRITE.size)
    fh, offset, size, flags, slot = _WRITE.unpack_from(body)
    data = body[_WRITE.size :]
    if len(data) != (0 if slot else size):
        raise ProtocolError(f"{len(data)} bytes of data, says {size}")
    return WriteIn(fh, offset, size, flags, slot, data)


def _xattr_name(name: bytes) -> bytes:
    if not 0 < len(name) <= XATTR_NAME_MAX:
        raise ProtocolError(f"an attribute's name of {len(name)} bytes")
    return name


_SETXATTR = Struct("<II")


def _setxattr(body: memoryview) -> SetxattrIn:
    _need(body, _SETXATTR.size)
    size, flags = _SETXATTR.unpack_from(body)
    name, terminator, value = bytes(body[_SETXATTR.size :]).partition(b"\0")
    if not terminator or len(value) != size or size > XATTR_SIZE_MAX:
        raise ProtocolError(f"an attribute's value of {len(value)} bytes, says {size}")
    return SetxattrIn(size, flags, _xattr_name(name), value)


_GETXATTR = Struct("<I4x")


def _getxattr(body: memoryview) -> GetxattrIn:
    _need(body, _GETXATTR.size)
    (name,) = _strings(body[_GETXATTR.size :], 1)
    return GetxattrIn(_GETXATTR.unpack_from(body)[0], _xattr_name(name))


_FORGET = Struct("<Q")
_FORGET_COUNT = Struct("<I4x")
_FORGET_ONE = Struct("<QQ")


def _forget(body: memoryview) -> Forgets:
    _need(body, _FORGET.size)
    return Forgets(((0, _FORGET.unpack_from(body)[0]),))


def _batch_forget(body: memoryview) -> Forgets:
    _need(body, _FORGET_COUNT.size)
    (count,) = _FORGET_COUNT.unpack_from(body)
    items = body[_FORGET_COUNT.size :]
    if len(items) != count * _FORGET_ONE.size:
        raise ProtocolError(f"{len(items)} bytes are not {count} nodes")
    return Forgets(tuple((node, lost) for node, lost in _FORGET_ONE.iter_unpack(items)))


def _nothing(_body: memoryview) -> Nothing:
    return Nothing()


_read = _fixed(ReadIn, "<QQI16xI")
_fsync = _fixed(FsyncIn, "<QI4x")
_name = _named(Name, "<")

DECODERS: dict[int, Decoder] = {
    Opcode.LOOKUP: _name,
    Opcode.FORGET: _forget,
    Opcode.GETATTR: _fixed(GetattrIn, "<I4xQ"),
    Opcode.SETATTR: _fixed(SetattrIn, "<I4xQQ8xQQ8xII4xI4xII4x"),
    Opcode.READLINK: _nothing,
    Opcode.SYMLINK: _symlink,
    Opcode.MKNOD: _named(MknodIn, "<III4x"),
    Opcode.MKDIR: _named(MkdirIn, "<II"),
    Opcode.UNLINK: _name,
    Opcode.RMDIR: _name,
    Opcode.RENAME: _rename_plain,
    Opcode.RENAME2: _named(RenameIn, "<QI4x", 2),
    Opcode.LINK: _named(LinkIn, "<Q"),
    Opcode.OPEN: _nothing,
    Opcode.OPENDIR: _nothing,
    Opcode.RELEASE: _nothing,
    Opcode.RELEASEDIR: _nothing,
    Opcode.FLUSH: _nothing,
    Opcode.READ: _read,
    Opcode.READDIR: _read,
    Opcode.READDIRPLUS: _read,
    Opcode.WRITE: _write,
    Opcode.STATFS: _nothing,
    Opcode.FSYNC: _fsync,
    Opcode.FSYNCDIR: _fsync,
    Opcode.SYNCFS: _nothing,
    Opcode.SETXATTR: _setxattr,
    Opcode.GETXATTR: _getxattr,
    Opcode.LISTXATTR: _fixed(lambda size: GetxattrIn(size, b""), "<I4x"),
    Opcode.REMOVEXATTR: lambda body: Name(_xattr_name(_strings(body, 1)[0])),
    Opcode.INIT: _fixed(InitIn, "<IIII"),
    Opcode.CREATE: _named(CreateIn, "<IIII"),
    Opcode.INTERRUPT: _nothing,
    Opcode.DESTROY: _nothing,
    Opcode.BATCH_FORGET: _batch_forget,
    Opcode.FALLOCATE: _fixed(FallocateIn, "<QQQI4x"),
    Opcode.LSEEK: _fixed(LseekIn, "<QQI4x"),
    Opcode.COPY_FILE_RANGE: _fixed(CopyIn, "<QQQQQQQ"),
}
"""How each request that the server knows is decoded."""
