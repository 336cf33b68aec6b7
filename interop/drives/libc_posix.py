"""System calls that Python has no function for. Each raises OSError. Linux hosts only."""

from __future__ import annotations

import ctypes
import os
import sys

assert sys.platform == "linux"

_libc = ctypes.CDLL(None, use_errno=True)

UTIME_NOW = (1 << 30) - 1
"""Nanoseconds that mean "now" (linux/stat.h)."""

UTIME_OMIT = (1 << 30) - 2
"""Nanoseconds that mean "leave it"."""

_AT_FDCWD = -100


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


_libc.renameat2.argtypes = (
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint,
)
# struct statfs begins with f_type, a long, and is 120 bytes long (asm-generic/statfs.h).
_libc.fstatfs.argtypes = (ctypes.c_int, ctypes.POINTER(ctypes.c_long * 32))
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_libc.utimensat.argtypes = (
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.POINTER(_Timespec),
    ctypes.c_int,
)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def rename(directory: int, name: bytes, newdirectory: int, newname: bytes, flags: int) -> None:
    """renameat2(2)."""
    _check(_libc.renameat2(directory, name, newdirectory, newname, flags))


def filesystem_type(fd: int) -> int:
    """What kind of file system `fd` is on: f_type of fstatfs(2), see linux/magic.h."""
    buffer = (ctypes.c_long * 32)()
    _check(_libc.fstatfs(fd, ctypes.byref(buffer)))
    return int(buffer[0]) & 0xFFFF_FFFF


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2); `offset` and `length` in bytes."""
    _check(_libc.fallocate(fd, mode, offset, length))


def set_times(path: bytes, atime: tuple[int, int], mtime: tuple[int, int]) -> None:
    """utimensat(2) of an absolute path; times in seconds and nanoseconds, or UTIME_*."""
    times = (_Timespec * 2)(_Timespec(*atime), _Timespec(*mtime))
    _check(_libc.utimensat(_AT_FDCWD, path, times, 0))
