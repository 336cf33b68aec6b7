"""A job object: processes that are ended together (Win32 documentation, "Job Objects")."""

from __future__ import annotations

import ctypes
import functools
import sys
from ctypes import wintypes
from typing import Any

from interop.hostos.contract import KILLED_STATUS

assert sys.platform == "win32"


class Job:
    """One job; what its processes start belongs to it too."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._handle = _kernel32().CreateJobObjectW(None, None)
        if not self._handle:
            raise ctypes.WinError(ctypes.get_last_error())

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
        """Let go of it; its processes go on."""
        _kernel32().CloseHandle(self._handle)


@functools.cache
def _kernel32() -> Any:
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.CreateJobObjectW.restype = wintypes.HANDLE
    kernel32.CreateJobObjectW.argtypes = (wintypes.LPVOID, wintypes.LPCWSTR)
    kernel32.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
    kernel32.TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
    kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
    return kernel32
