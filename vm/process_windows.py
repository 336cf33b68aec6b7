"""Windows's side of `vm.process`: how a child is kept from outliving this process.

A job object with KILL_ON_JOB_CLOSE holds every child. The only handle to it is ours, so when this
process ends, however it does, the system closes the handle and ends the children
(Win32 documentation, "Job Objects", JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE).
"""

from __future__ import annotations

import ctypes
import functools
import sys
from ctypes import wintypes
from typing import Any

assert sys.platform == "win32"

_CREATE_NO_WINDOW = 0x08000000  # processthreadsapi.h, process creation flags
_CREATE_NEW_PROCESS_GROUP = 0x00000200
_IDLE_PRIORITY_CLASS = 0x00000040
_JOB_OBJECT_EXTENDED_LIMIT_INFORMATION = 9  # winnt.h, JOBOBJECTINFOCLASS
_JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE = 0x2000  # winnt.h
_PROCESS_SET_QUOTA = 0x0100  # winnt.h; both are what AssignProcessToJobObject asks for
_PROCESS_TERMINATE = 0x0001

CAN_ASK_TO_END = False
"""Windows has no SIGTERM: `terminate` and `kill` are the same TerminateProcess."""


class _BasicLimits(ctypes.Structure):
    """winnt.h, JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("PerProcessUserTimeLimit", wintypes.LARGE_INTEGER),
        ("PerJobUserTimeLimit", wintypes.LARGE_INTEGER),
        ("LimitFlags", wintypes.DWORD),
        ("MinimumWorkingSetSize", ctypes.c_size_t),
        ("MaximumWorkingSetSize", ctypes.c_size_t),
        ("ActiveProcessLimit", wintypes.DWORD),
        ("Affinity", ctypes.c_size_t),
        ("PriorityClass", wintypes.DWORD),
        ("SchedulingClass", wintypes.DWORD),
    )


class _ExtendedLimits(ctypes.Structure):
    """winnt.h, JOBOBJECT_EXTENDED_LIMIT_INFORMATION; the IO_COUNTERS are six 64-bit words."""

    _fields_ = (
        ("BasicLimitInformation", _BasicLimits),
        ("IoInfo", ctypes.c_uint64 * 6),
        ("ProcessMemoryLimit", ctypes.c_size_t),
        ("JobMemoryLimit", ctypes.c_size_t),
        ("PeakProcessMemoryUsed", ctypes.c_size_t),
        ("PeakJobMemoryUsed", ctypes.c_size_t),
    )


def spawn_options(*, is_background: bool = False) -> dict[str, Any]:
    """Keyword arguments for `asyncio.create_subprocess_exec`: no window, no Ctrl-C of ours."""
    flags = _CREATE_NO_WINDOW | _CREATE_NEW_PROCESS_GROUP
    return {"creationflags": flags | _IDLE_PRIORITY_CLASS if is_background else flags}


def is_dying(pid: int) -> bool:
    """Whether the process is about to end: not told here. Its handles are closed at once."""
    return False


def adopt(pid: int) -> None:
    """Put process `pid` into the job that ends with this process. Raises OSError."""
    kernel32 = _kernel32()
    process = kernel32.OpenProcess(_PROCESS_SET_QUOTA | _PROCESS_TERMINATE, False, pid)
    if not process:
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        if not kernel32.AssignProcessToJobObject(_job(), process):
            raise ctypes.WinError(ctypes.get_last_error())
    finally:
        kernel32.CloseHandle(process)


@functools.cache
def _job() -> int:
    """The job's handle, made at first use and deliberately never closed."""
    kernel32 = _kernel32()
    job = kernel32.CreateJobObjectW(None, None)
    if not job:
        raise ctypes.WinError(ctypes.get_last_error())
    limits = _ExtendedLimits()
    limits.BasicLimitInformation.LimitFlags = _JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
    if not kernel32.SetInformationJobObject(
        job, _JOB_OBJECT_EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), ctypes.sizeof(limits)
    ):
        raise ctypes.WinError(ctypes.get_last_error())
    return int(job)


@functools.cache
def _kernel32() -> ctypes.WinDLL:
    """kernel32 with the signatures used here; handles are pointers, which ints would truncate."""
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.CreateJobObjectW.restype = wintypes.HANDLE
    kernel32.CreateJobObjectW.argtypes = (wintypes.LPVOID, wintypes.LPCWSTR)
    kernel32.SetInformationJobObject.argtypes = (
        wintypes.HANDLE,
        ctypes.c_int,
        wintypes.LPVOID,
        wintypes.DWORD,
    )
    kernel32.OpenProcess.restype = wintypes.HANDLE
    kernel32.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
    kernel32.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
    kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
    return kernel32
