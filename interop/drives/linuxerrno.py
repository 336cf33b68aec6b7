"""Linux' error numbers, which is what crosses the wire: a Windows C library has others.

Source: asm-generic/errno-base.h, asm-generic/errno.h.
"""

from __future__ import annotations

EPERM = 1
ENOENT = 2
EIO = 5
ENXIO = 6
ENOMEM = 12
EACCES = 13
EBUSY = 16
EEXIST = 17
EXDEV = 18
ENOTDIR = 20
EISDIR = 21
EINVAL = 22
ENFILE = 23
EMFILE = 24
ETXTBSY = 26
EFBIG = 27
ENOSPC = 28
EROFS = 30
EMLINK = 31
ERANGE = 34
ENAMETOOLONG = 36
ENOSYS = 38
ENOTEMPTY = 39
ENODATA = 61
EOPNOTSUPP = 95
ESTALE = 116
EDQUOT = 122
