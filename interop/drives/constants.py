"""The numbers of the FUSE protocol that drives use. Source: linux/fuse.h, protocol 7.38."""

from __future__ import annotations

import enum

MAJOR = 7
"""FUSE_KERNEL_VERSION."""

MINOR = 38
"""The FUSE_KERNEL_MINOR_VERSION that these declarations were written from."""

OLDEST_MINOR = 31
"""Below it the lifetime of cached directories and FUSE_NO_OPENDIR_SUPPORT cannot be relied on."""

ROOT_ID = 1
"""FUSE_ROOT_ID: the node that exists from the start and is never forgotten."""


class Opcode(enum.IntEnum):
    """What a request asks (enum fuse_opcode)."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SYNCFS = 50


class Notify(enum.IntEnum):
    """What the server tells the kernel unasked (enum fuse_notify_code)."""

    INVAL_INODE = 2
    INVAL_ENTRY = 3
    DELETE = 6


class Init(enum.IntFlag):
    """What kernel and server agree on at INIT (FUSE_INIT flags); bits 32.. travel in flags2."""

    ASYNC_READ = 1 << 0
    BIG_WRITES = 1 << 5
    DONT_MASK = 1 << 6
    AUTO_INVAL_DATA = 1 << 12
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    NO_OPEN_SUPPORT = 1 << 17
    PARALLEL_DIROPS = 1 << 18
    ABORT_ERROR = 1 << 21
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    NO_OPENDIR_SUPPORT = 1 << 24
    HANDLE_KILLPRIV_V2 = 1 << 28
    INIT_EXT = 1 << 30


class SetAttr:
    """Which fields of a SETATTR count (FATTR_*). Plain integers, for speed."""

    MODE = 1 << 0
    UID = 1 << 1
    GID = 1 << 2
    SIZE = 1 << 3
    ATIME = 1 << 4
    MTIME = 1 << 5
    ATIME_NOW = 1 << 7
    MTIME_NOW = 1 << 8
    KILL_SUIDGID = 1 << 11


WRITE_CACHE = 1 << 0
"""FUSE_WRITE_CACHE in WriteIn.write_flags: a page that a mapping has changed, not a write(2)."""

WRITE_KILL_SUIDGID = 1 << 2
"""FUSE_WRITE_KILL_SUIDGID in WriteIn.write_flags: the writer may not keep set-id bits."""

FSYNC_DATA_ONLY = 1 << 0
"""FUSE_FSYNC_FDATASYNC in FsyncIn.flags."""

EXPIRE_ONLY = 1 << 0
"""FUSE_EXPIRE_ONLY of INVAL_ENTRY: look the name up again, but do not drop what uses it."""

NAME_MAX = 255
"""Bytes in one name (linux/limits.h)."""

PATH_MAX = 4096
"""Bytes in a symbolic link's target, with its NUL (linux/limits.h)."""

XATTR_NAME_MAX = 255
"""Bytes in an extended attribute's name (linux/limits.h)."""

XATTR_SIZE_MAX = 65536
"""Bytes in an extended attribute's value (linux/limits.h)."""

# Errors and flags cross the wire as Linux numbers them, whatever the host's own C library says.
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

O_EXCL = 0o200
O_TRUNC = 0o1000
"""Flags of open(2) in CreateIn.flags (asm-generic/fcntl.h)."""

SEEK_DATA, SEEK_HOLE = 3, 4
"""What LSEEK asks for (linux/fs.h)."""
