"""Windows' own file system calls, as functions that take and give bytes.

The Win32 ones take paths, and so follow whatever stands in a path by then; these open a name in a
directory that is open already. Each raises OSError with Linux' errno, unless it says otherwise.

Source: winternl.h and ntifs.h of the Windows SDK and driver kit, where each is documented.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from typing import Any

from interop.drives import ntformats, ntstatus
from interop.drives.ntformats import Status

assert sys.platform == "win32"

DELETE = 0x0001_0000
LIST = READ_DATA = 0x0001
WRITE_DATA = 0x0002
READ_EA = 0x0008
WRITE_EA = 0x0010
READ_ATTRIBUTES = 0x0080
WRITE_ATTRIBUTES = 0x0100
_SYNCHRONIZE = 0x0010_0000
"""Access rights (winnt.h)."""

OPEN, CREATE = 1, 2
"""Dispositions (winternl.h, FILE_OPEN, FILE_CREATE)."""

DIRECTORY_FILE = 0x0000_0001
NON_DIRECTORY_FILE = 0x0000_0040
OPEN_REPARSE_POINT = 0x0020_0000
_BACKUP_INTENT = 0x0000_4000
_SYNCHRONOUS = 0x0000_0020
"""Options of an open (winternl.h; FILE_SYNCHRONOUS_IO_NONALERT)."""

SHARE_ALL = 7
SHARE_CONTENT = 3
"""Who else may have it open: anybody for anything, or for reading and writing but neither to rename
nor to remove it (winnt.h, FILE_SHARE_*)."""
_CASE_INSENSITIVE = 0x40
_DONT_REPARSE = 0x1000
"""OBJ_DONT_REPARSE: no link in the path is followed (ntdef.h; Windows 10 and later)."""

_BASIC, _RENAME, _LINK, _DISPOSITION, _ALL, _END_OF_FILE, _ALLOCATION = 4, 10, 11, 13, 18, 20, 19
_TAG, _ID_BOTH_DIRECTORY, _DISPOSITION_EX, _RENAME_EX = 35, 37, 64, 65
_CASE_SENSITIVE = 71
"""FILE_INFORMATION_CLASS (wdm.h)."""

_FS_FULL_SIZE = 7
_GET_REPARSE_POINT, _SET_REPARSE_POINT = 0x0009_00A8, 0x0009_00A4
_MOST_REPARSE = 16 << 10
_MOST_LISTED = 64 << 10
_MOST_EAS = 4096
_WITHOUT_EAS = ntstatus.UNSUPPORTED | {0xC000004F, 0xC0000052}  # EAS_NOT_SUPPORTED, NO_EAS_ON_FILE

_DELETE_POSIX = 0x1 | 0x2 | 0x10  # FILE_DISPOSITION_DELETE, _POSIX_SEMANTICS, _IGNORE_READONLY
_REPLACE, _RENAME_POSIX, _RENAME_READONLY = 0x1, 0x2, 0x40  # FILE_RENAME_*


class _UnicodeString(ctypes.Structure):
    _fields_ = (
        ("Length", wintypes.USHORT),
        ("MaximumLength", wintypes.USHORT),
        ("Buffer", ctypes.c_void_p),
    )


class _ObjectAttributes(ctypes.Structure):
    _fields_ = (
        ("Length", wintypes.ULONG),
        ("RootDirectory", wintypes.HANDLE),
        ("ObjectName", ctypes.POINTER(_UnicodeString)),
        ("Attributes", wintypes.ULONG),
        ("SecurityDescriptor", ctypes.c_void_p),
        ("SecurityQualityOfService", ctypes.c_void_p),
    )


class _IoStatus(ctypes.Structure):
    _fields_ = (("Status", ctypes.c_void_p), ("Information", ctypes.c_void_p))


_ntdll = ctypes.WinDLL("ntdll")
_pointer, _number, _handle = ctypes.c_void_p, wintypes.ULONG, wintypes.HANDLE
_wait = (_handle, _pointer, _pointer)  # an event, a routine and its argument: never used here


def _declare(name: str, *arguments: Any) -> Any:
    function = getattr(_ntdll, name)
    function.argtypes = arguments
    function.restype = ctypes.c_uint32
    return function


_create_file = _declare(
    "NtCreateFile",
    *(_pointer, _number, _pointer, _pointer, _pointer),
    *(_number, _number, _number, _number, _pointer, _number),
)
_close = _declare("NtClose", _handle)
_read_file = _declare(
    "NtReadFile", _handle, *_wait, _pointer, _pointer, _number, _pointer, _pointer
)
_write_file = _declare(
    "NtWriteFile", _handle, *_wait, _pointer, _pointer, _number, _pointer, _pointer
)
_query = _declare("NtQueryInformationFile", _handle, _pointer, _pointer, _number, ctypes.c_int)
_set = _declare("NtSetInformationFile", _handle, _pointer, _pointer, _number, ctypes.c_int)
_query_volume = _declare(
    "NtQueryVolumeInformationFile", _handle, _pointer, _pointer, _number, ctypes.c_int
)
_query_directory = _declare(
    "NtQueryDirectoryFile",
    *(_handle, *_wait, _pointer, _pointer, _number, ctypes.c_int),
    *(wintypes.BOOLEAN, _pointer, wintypes.BOOLEAN),
)
_query_eas = _declare(
    "NtQueryEaFile",
    *(_handle, _pointer, _pointer, _number, wintypes.BOOLEAN),
    *(_pointer, _number, _pointer, wintypes.BOOLEAN),
)
_set_eas = _declare("NtSetEaFile", _handle, _pointer, _pointer, _number)
_flush = _declare("NtFlushBuffersFile", _handle, _pointer)
_control = _declare(
    "NtFsControlFile", _handle, *_wait, _pointer, _number, _pointer, _number, _pointer, _number
)


def _check(status: int) -> None:
    if status >> 30 == 3:  # NT_ERROR
        raise ntstatus.failure(status)


class _Name:
    """A UNICODE_STRING, and the memory that it points to."""

    def __init__(self, wide: bytes) -> None:
        if len(wide) > 0xFFFE:
            raise ntstatus.failure(0xC0000106)  # STATUS_NAME_TOO_LONG
        self._buffer = ctypes.create_string_buffer(wide, len(wide) + 2)
        self.string = _UnicodeString(len(wide), len(wide), ctypes.addressof(self._buffer))


def open_file(
    directory: int,
    name: str,
    access: int,
    *,
    disposition: int = OPEN,
    options: int = OPEN_REPARSE_POINT,
    attributes: int = ntformats.NORMAL,
    share: int = SHARE_ALL,
) -> int:
    r"""A handle of `name` in the open `directory`; of an NT path (\??\C:\) where that is 0.

    It is shared with everybody in the ways of `share`, and no link on the way is followed; with
    OPEN_REPARSE_POINT the last one is opened itself.
    """
    text = _Name(name.encode("utf-16-le", "surrogatepass"))
    what = _ObjectAttributes(
        ctypes.sizeof(_ObjectAttributes),
        directory or None,
        ctypes.pointer(text.string),
        _CASE_INSENSITIVE | (_DONT_REPARSE if directory else 0),
        None,
        None,
    )
    handle, outcome = wintypes.HANDLE(), _IoStatus()
    _check(
        _create_file(
            ctypes.byref(handle),
            access | READ_ATTRIBUTES | _SYNCHRONIZE,
            ctypes.byref(what),
            ctypes.byref(outcome),
            None,
            attributes,
            share,
            disposition,
            options | _SYNCHRONOUS | _BACKUP_INTENT,
            None,
            0,
        )
    )
    assert handle.value is not None
    return handle.value


def close(handle: int) -> None:
    """Close a handle."""
    _close(handle)


def status(handle: int) -> Status:
    """What there is to know of an open file."""
    buffer, outcome = ctypes.create_string_buffer(ntformats.ALL_SIZE), _IoStatus()
    _check(_query(handle, ctypes.byref(outcome), buffer, len(buffer), _ALL))
    found = ntformats.parse_all(buffer.raw)
    if found.attributes & ntformats.REPARSE_POINT:
        tag = (wintypes.ULONG * 2)()
        _check(_query(handle, ctypes.byref(outcome), tag, ctypes.sizeof(tag), _TAG))
        found = found._replace(tag=int(tag[1]))
    return found


def read(handle: int, buffer: Any, size: int, offset: int) -> int:
    """Read at most `size` bytes at `offset` into a ctypes buffer; returns how many there were."""
    outcome, at = _IoStatus(), ctypes.c_int64(offset)
    result = _read_file(
        handle, None, None, None, ctypes.byref(outcome), buffer, size, ctypes.byref(at), None
    )
    if result == ntstatus.END_OF_FILE:
        return 0
    _check(result)
    return outcome.Information or 0


def write(handle: int, data: memoryview, offset: int) -> None:
    """Write all of `data`, which is writable memory, at `offset`."""
    outcome, at = _IoStatus(), ctypes.c_int64(offset)
    buffer = (ctypes.c_char * len(data)).from_buffer(data)
    _check(
        _write_file(
            handle,
            None,
            None,
            None,
            ctypes.byref(outcome),
            buffer,
            len(data),
            ctypes.byref(at),
            None,
        )
    )


def _set_information(handle: int, kind: int, data: bytes) -> int:
    outcome = _IoStatus()
    return int(_set(handle, ctypes.byref(outcome), data, len(data), kind))


def set_basic(handle: int, data: bytes) -> None:
    """Set times and attributes (`ntformats.basic`)."""
    _check(_set_information(handle, _BASIC, data))


def set_size(handle: int, size: int) -> None:
    """Cut a file off, or have it go on with zeros, at `size` bytes."""
    _check(_set_information(handle, _END_OF_FILE, size.to_bytes(8, "little")))


def allocate(handle: int, size: int) -> None:
    """Have room on the disk for `size` bytes, without changing what is there."""
    _check(_set_information(handle, _ALLOCATION, size.to_bytes(8, "little")))


def set_case_sensitive(handle: int) -> None:
    """Let names in an open directory differ by case alone (FILE_CS_FLAG_CASE_SENSITIVE_DIR)."""
    _check(_set_information(handle, _CASE_SENSITIVE, (1).to_bytes(4, "little")))


def remove(handle: int) -> bool:
    """Take an open file's name away, be it read-only; needs WRITE_ATTRIBUTES as well as DELETE.

    Says whether it is gone at once, however many have it open; else it goes with the last handle.
    """
    result = _set_information(handle, _DISPOSITION_EX, _DELETE_POSIX.to_bytes(4, "little"))
    if result not in ntstatus.UNSUPPORTED:
        _check(result)
        return True
    found = status(handle)
    if found.attributes & ntformats.READ_ONLY:
        set_basic(handle, ntformats.basic(attributes=ntformats.NORMAL))
    try:
        _check(_set_information(handle, _DISPOSITION, b"\1"))
    except OSError:
        if found.attributes & ntformats.READ_ONLY:
            set_basic(handle, ntformats.basic(attributes=found.attributes))
        raise
    return False


def rename(handle: int, directory: int, name: bytes, *, replace: bool) -> None:
    """Have an open file be `name` in the open `directory`, in place of what is there."""
    flags = _RENAME_POSIX | _RENAME_READONLY | (_REPLACE if replace else 0)
    result = _set_information(handle, _RENAME_EX, ntformats.rename(directory, name, flags))
    if result in ntstatus.UNSUPPORTED:
        data = ntformats.rename(directory, name, int(replace))
        result = _set_information(handle, _RENAME, data)
    _check(result)


def link(handle: int, directory: int, name: bytes) -> None:
    """Give an open file one more name."""
    _check(_set_information(handle, _LINK, ntformats.rename(directory, name, 0)))


def entries(directory: int, pattern: bytes | None = None) -> list[ntformats.DirectoryEntry]:
    """What is in a directory that was opened for it; `pattern` is a name, as it may be written."""
    found: list[ntformats.DirectoryEntry] = []
    buffer, outcome = ctypes.create_string_buffer(_MOST_LISTED), _IoStatus()
    mask = _Name(ntformats.to_wide(pattern)) if pattern is not None else None
    is_first = True
    while True:
        result = _query_directory(
            *(directory, None, None, None, ctypes.byref(outcome), buffer, len(buffer)),
            *(_ID_BOTH_DIRECTORY, False),
            *(ctypes.byref(mask.string) if mask is not None else None, is_first),
        )
        if result in (ntstatus.NO_MORE_FILES, ntstatus.NO_SUCH_FILE):
            return found
        _check(result)
        there = memoryview(buffer).cast("B")[: outcome.Information or 0]
        found.extend(ntformats.parse_entries(there))
        is_first = False


def flush(handle: int) -> None:
    """Return when what was written is on the disk."""
    outcome = _IoStatus()
    _check(_flush(handle, ctypes.byref(outcome)))


def eas(handle: int, names: list[bytes]) -> dict[bytes, bytes]:
    """Those of the extended attributes `names` that a file, opened with READ_EA, has."""
    wanted = ntformats.ea_names(names)
    buffer, outcome = ctypes.create_string_buffer(_MOST_EAS), _IoStatus()
    result = _query_eas(
        *(handle, ctypes.byref(outcome), buffer, len(buffer), False),
        *(wanted, len(wanted), None, True),
    )
    if result in _WITHOUT_EAS:
        return {}
    _check(result)
    return ntformats.parse_eas(buffer.raw[: outcome.Information or 0])


def set_eas(handle: int, values: dict[bytes, bytes]) -> bool:
    """Set extended attributes of a file opened with WRITE_EA; False where it can have none."""
    data, outcome = ntformats.eas(values), _IoStatus()
    result = _set_eas(handle, ctypes.byref(outcome), data, len(data))
    # The handle has the right to: Wine means that there are none.
    if result in _WITHOUT_EAS or result == ntstatus.ACCESS_DENIED:
        return False
    _check(result)
    return True


def space(handle: int) -> ntformats.Space:
    """How much room there is on the volume of an open file."""
    buffer, outcome = ctypes.create_string_buffer(ntformats.FULL_SIZE), _IoStatus()
    _check(_query_volume(handle, ctypes.byref(outcome), buffer, len(buffer), _FS_FULL_SIZE))
    return ntformats.parse_full_size(buffer.raw)


def reparse_point(handle: int) -> bytes:
    """What an open reparse point holds (REPARSE_DATA_BUFFER)."""
    buffer, outcome = ctypes.create_string_buffer(_MOST_REPARSE), _IoStatus()
    _check(
        _control(
            *(handle, None, None, None, ctypes.byref(outcome), _GET_REPARSE_POINT),
            *(None, 0, buffer, len(buffer)),
        )
    )
    return buffer.raw[: outcome.Information or 0]


def set_reparse_point(handle: int, data: bytes) -> None:
    """Make an open file a reparse point."""
    outcome = _IoStatus()
    _check(
        _control(
            *(handle, None, None, None, ctypes.byref(outcome), _SET_REPARSE_POINT),
            *(data, len(data), None, 0),
        )
    )
