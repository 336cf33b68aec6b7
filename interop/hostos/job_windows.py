"""A job object: processes that are ended together (Win32 documentation, "Job Objects").

The system closes our handle when the service ends, however it does, and ends what the job holds
(JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import struct
import sys
from ctypes import wintypes
from typing import Any

from interop.hostos.contract import KILLED_STATUS

assert sys.platform == "win32"

_EXTENDED_LIMIT_INFORMATION = 9  # winnt.h, JOBOBJECTINFOCLASS
_KILL_ON_JOB_CLOSE = 0x2000  # winnt.h
_LIMITS = struct.Struct("<16xI124x")
"""JOBOBJECT_EXTENDED_LIMIT_INFORMATION of 64-bit Windows, of which LimitFlags matters here."""
_PROCESS_SET_QUOTA = 0x0100  # winnt.h; both are what AssignProcessToJobObject asks for
_PROCESS_TERMINATE = 0x0001


class Job:
    """One job; what its processes start belongs to it too."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._handle = _kernel32().CreateJobObjectW(None, None)
        if not self._handle:
            raise ctypes.WinError(ctypes.get_last_error())
        try:
            self._limit(_KILL_ON_JOB_CLOSE)
        except OSError:
            _kernel32().CloseHandle(self._handle)
            raise

    def _limit(self, flags: int) -> None:
        limits = _LIMITS.pack(flags)
        if not _kernel32().SetInformationJobObject(
            self._handle, _EXTENDED_LIMIT_INFORMATION, limits, len(limits)
        ):
            raise ctypes.WinError(ctypes.get_last_error())

    def adopt(self, pid: int) -> None:
        """Take a running process in; what it has started before stays outside. Raises OSError."""
        kernel32 = _kernel32()
        process = kernel32.OpenProcess(_PROCESS_SET_QUOTA | _PROCESS_TERMINATE, False, pid)
        if not process:
            raise ctypes.WinError(ctypes.get_last_error())
        try:
            if not kernel32.AssignProcessToJobObject(self._handle, process):
                raise ctypes.WinError(ctypes.get_last_error())
        finally:
            kernel32.CloseHandle(process)

    def adopt_suspended(self, process: int) -> None:
        """Take the process with this handle in, which was made suspended, and let it run.

        Raises OSError.
        """
        if not _kernel32().AssignProcessToJobObject(self._handle, process):
            raise ctypes.WinError(ctypes.get_last_error())
        # Its thread's handle, which ResumeThread takes, is closed by subprocess.
        status = ctypes.WinDLL("ntdll").NtResumeProcess(wintypes.HANDLE(process))
        if status:
            raise OSError(f"the process cannot be resumed: NTSTATUS {status & 0xFFFFFFFF:#x}")

    def terminate(self) -> None:
        """End all its processes; no error if none is left."""
        _kernel32().TerminateJobObject(self._handle, KILLED_STATUS)

    def close(self) -> None:
        """Let go of it; what is left of its processes goes on."""
        with contextlib.suppress(OSError):  # then they end, rather than nobody owning them
            self._limit(0)
        _kernel32().CloseHandle(self._handle)


@functools.cache
def _kernel32() -> Any:
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.CreateJobObjectW.restype = wintypes.HANDLE
    kernel32.CreateJobObjectW.argtypes = (wintypes.LPVOID, wintypes.LPCWSTR)
    kernel32.SetInformationJobObject.argtypes = (
        *(wintypes.HANDLE, ctypes.c_int, wintypes.LPCVOID, wintypes.DWORD),
    )
    kernel32.OpenProcess.restype = wintypes.HANDLE
    kernel32.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
    kernel32.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
    kernel32.TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
    kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
    return kernel32
