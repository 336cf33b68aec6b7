"""What Windows says of a failed file operation, as Linux has it. Pure.

Sources: ntstatus.h; [MS-FSA] for which operation ends with which. Sharing violations are EBUSY,
locked ranges EACCES, a program that runs or is mapped ETXTBSY: nothing waits for who has the file.
"""

from __future__ import annotations

from interop.drives import linuxerrno as e

BUFFER_OVERFLOW = 0x80000005
NO_MORE_FILES = 0x80000006
NO_MORE_EAS = 0x80000012
INVALID_INFO_CLASS = 0xC0000003
INVALID_PARAMETER = 0xC000000D
INVALID_DEVICE_REQUEST = 0xC0000010
END_OF_FILE = 0xC0000011
NOT_IMPLEMENTED = 0xC0000002
NO_SUCH_FILE = 0xC000000F
NOT_SUPPORTED = 0xC00000BB
NOT_A_DIRECTORY = 0xC0000103

UNSUPPORTED = frozenset(
    {NOT_IMPLEMENTED, INVALID_INFO_CLASS, INVALID_PARAMETER, INVALID_DEVICE_REQUEST, NOT_SUPPORTED}
)
"""How file systems, and Wine, say that they do not know of a request."""

_ERRNO = {
    NOT_IMPLEMENTED: e.EOPNOTSUPP,
    INVALID_INFO_CLASS: e.EOPNOTSUPP,
    0xC0000008: e.EIO,  # INVALID_HANDLE
    INVALID_PARAMETER: e.EINVAL,
    0xC000000E: e.ENXIO,  # NO_SUCH_DEVICE
    NO_SUCH_FILE: e.ENOENT,
    INVALID_DEVICE_REQUEST: e.EOPNOTSUPP,
    0xC0000017: e.ENOMEM,  # NO_MEMORY
    0xC0000022: e.EACCES,  # ACCESS_DENIED
    0xC0000033: e.EINVAL,  # OBJECT_NAME_INVALID
    0xC0000034: e.ENOENT,  # OBJECT_NAME_NOT_FOUND
    0xC0000035: e.EEXIST,  # OBJECT_NAME_COLLISION
    0xC000003A: e.ENOENT,  # OBJECT_PATH_NOT_FOUND
    0xC000003B: e.ENOTDIR,  # OBJECT_PATH_SYNTAX_BAD
    0xC0000043: e.EBUSY,  # SHARING_VIOLATION
    0xC0000044: e.EDQUOT,  # QUOTA_EXCEEDED
    0xC000004F: e.EOPNOTSUPP,  # EAS_NOT_SUPPORTED
    0xC0000050: e.ENOSPC,  # EA_TOO_LARGE
    0xC0000051: e.ENODATA,  # NONEXISTENT_EA_ENTRY
    0xC0000052: e.ENODATA,  # NO_EAS_ON_FILE
    0xC0000054: e.EACCES,  # FILE_LOCK_CONFLICT
    0xC0000055: e.EACCES,  # LOCK_NOT_GRANTED
    0xC0000056: e.ENOENT,  # DELETE_PENDING: it is gone as soon as somebody lets go of it
    0xC0000061: e.EPERM,  # PRIVILEGE_NOT_HELD
    0xC000007F: e.ENOSPC,  # DISK_FULL
    0xC000009A: e.ENOMEM,  # INSUFFICIENT_RESOURCES
    0xC00000A2: e.EROFS,  # MEDIA_WRITE_PROTECTED
    0xC00000A3: e.ENXIO,  # DEVICE_NOT_READY
    0xC00000BA: e.EISDIR,  # FILE_IS_A_DIRECTORY
    NOT_SUPPORTED: e.EOPNOTSUPP,
    0xC00000BE: e.ENXIO,  # BAD_NETWORK_PATH
    0xC00000CC: e.ENXIO,  # BAD_NETWORK_NAME
    0xC00000D4: e.EXDEV,  # NOT_SAME_DEVICE
    0xC0000101: e.ENOTEMPTY,  # DIRECTORY_NOT_EMPTY
    NOT_A_DIRECTORY: e.ENOTDIR,
    0xC0000106: e.ENAMETOOLONG,  # NAME_TOO_LONG
    0xC000011F: e.EMFILE,  # TOO_MANY_OPENED_FILES
    0xC0000121: e.EACCES,  # CANNOT_DELETE: read-only, or a program that runs
    0xC0000123: e.ENOENT,  # FILE_DELETED
    0xC000012F: e.EACCES,  # FILE_RENAMED
    0xC0000181: e.EINVAL,  # IO_PRIVILEGE_FAILED
    0xC000026E: e.ENXIO,  # VOLUME_DISMOUNTED
    0xC0000243: e.ETXTBSY,  # USER_MAPPED_FILE
    0xC0000265: e.EMLINK,  # TOO_MANY_LINKS
    0xC0000275: e.EINVAL,  # NOT_A_REPARSE_POINT
    0xC0000276: e.EOPNOTSUPP,  # IO_REPARSE_TAG_INVALID
    0xC0000277: e.EOPNOTSUPP,  # IO_REPARSE_TAG_MISMATCH
    0xC0000280: e.ESTALE,  # REPARSE_POINT_NOT_RESOLVED
    0xC000046E: e.EXDEV,  # NOT_SAME_OBJECT
    0xC000050B: e.ESTALE,  # REPARSE_POINT_ENCOUNTERED: a link stands where a directory was
    0xC0000904: e.EFBIG,  # FILE_TOO_LARGE
}


def to_errno(status: int) -> int:
    """Linux' number for an NTSTATUS that is an error; EIO for what has none."""
    return _ERRNO.get(status & 0xFFFF_FFFF, e.EIO)


def failure(status: int) -> OSError:
    """What to raise for an NTSTATUS that is an error; its `errno` is Linux'."""
    return OSError(to_errno(status), f"NTSTATUS {status & 0xFFFF_FFFF:#010x}")


def linux_error(number: int) -> OSError:
    """What to raise for one of Linux' numbers: strerror() of this host does not know them."""
    return OSError(number, f"errno {number}")
