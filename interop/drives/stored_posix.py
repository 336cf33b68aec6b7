"""Linux metadata and attributes of a file in a POSIX host's extended attributes.

`path` is a path through /proc/self/fd: to a name in an open directory, whose last component is
not followed, or to a descriptor (`through` is then true). Symbolic links and special files have
no user.* attributes (xattr(7)), so they have no metadata either.
"""

from __future__ import annotations

import errno
import os
import sys

from interop.drives.metadata import (
    NOTHING_STORED,
    RESERVED_XATTRS,
    Stored,
    decode_stored,
    encode_stored,
)

assert sys.platform == "linux"

_USER = b"user."
_RESERVED = frozenset(name.encode() for name in RESERVED_XATTRS)
_NONE_THERE = frozenset({errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM})


def read(path: bytes, *, through: bool) -> Stored:
    """What is stored beside the file; nothing where the file system cannot."""
    try:
        present = RESERVED_XATTRS.intersection(os.listxattr(path, follow_symlinks=through))
        if not present:
            return NOTHING_STORED
        values = {name: os.getxattr(path, name, follow_symlinks=through) for name in present}
    except OSError as error:
        if error.errno in _NONE_THERE:
            return NOTHING_STORED
        raise
    return decode_stored(values)


def write(path: bytes, stored: Stored) -> None:
    """Store what `stored` has beside the file that `path`, through a descriptor, leads to."""
    for name, value in encode_stored(stored).items():
        os.setxattr(path, name, value)


def check(name: bytes) -> bytes:
    """`name`, if it is an attribute that Linux programs may have; EOPNOTSUPP if not."""
    if not name.startswith(_USER) or name in _RESERVED:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    return name


def listed(path: bytes) -> bytes:
    """The names of the attributes that Linux programs may have, each with a NUL after it."""
    names = (os.fsencode(name) for name in os.listxattr(path))
    return b"".join(n + b"\0" for n in names if n.startswith(_USER) and n not in _RESERVED)
