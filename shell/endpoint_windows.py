"""Reaching the service on Windows: the loopback port and token that it has left for its user."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
from ctypes import wintypes

from shell.failure import ClientError
from wire import failures
from wire.places import Places

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from typing import Any

assert sys.platform == "win32"

DETACHED: dict[str, Any] = {
    "creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
}
"""subprocess options for a service without a console window, deaf to this console's Ctrl-C."""

# winnt.h, accctrl.h
_OWNER_SECURITY_INFORMATION, _SE_FILE_OBJECT = 0x1, 1
_TOKEN_QUERY, _TOKEN_USER = 0x8, 1
_PROCESS_QUERY_LIMITED_INFORMATION = 0x1000
_ADMINISTRATORS = bytes.fromhex("01020000000000052000000020020000")
"""S-1-5-32-544 as a SID: the owner of what an administrator makes (winnt.h, SID)."""


def current_user() -> str:
    """What tells users apart in names of shared directories."""
    return os.environ.get("USERNAME", "")


def connect(places: Places) -> tuple[socket.socket, str] | None:
    """A connected socket and the token its greeting needs; None if no service runs.

    Raises ClientError where the file that tells belongs to somebody else, whose port would be
    sent all that is typed.
    """
    try:
        with open(places.endpoint, encoding="utf-8") as file:
            body = json.load(file)
        if not _is_ours(places.endpoint):
            raise ClientError(
                failures.SERVICE_LOST,
                f"{places.endpoint} belongs to another user",
                hint="Remove it, or set ISTHMUS_HOME to a directory of your own.",
            )
        # A service that was killed leaves its file, and its port to anybody.
        if not _runs(int(body["pid"]), int(body["started"])):
            return None
        address = ("127.0.0.1", int(body["port"]))
        connection = socket.create_connection(address, timeout=None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, str(body["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _runs(pid: int, started: int) -> bool:
    """Whether the process that had `pid` then, created at `started` (100 ns), still runs."""
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.OpenProcess.restype = wintypes.HANDLE
    pointer = wintypes.LPVOID
    kernel32.GetProcessTimes.argtypes = (wintypes.HANDLE, pointer, pointer, pointer, pointer)
    kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
    process = kernel32.OpenProcess(_PROCESS_QUERY_LIMITED_INFORMATION, False, pid)
    if not process:
        return False
    times = [ctypes.c_uint64() for _ in range(4)]
    known = kernel32.GetProcessTimes(process, *(ctypes.byref(time) for time in times))
    kernel32.CloseHandle(process)
    # A process that has ended stays visible while somebody has it open; it has an exit time then.
    return bool(known) and times[0].value == started and times[1].value == 0


def _is_ours(path: str) -> bool:
    """Whether this user, or the administrators, own the file at `path`. Raises OSError."""
    pointer = wintypes.LPVOID
    advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    kernel32.CloseHandle.argtypes = kernel32.LocalFree.argtypes = (wintypes.LPVOID,)
    advapi32.GetNamedSecurityInfoW.argtypes = (
        *(wintypes.LPCWSTR, ctypes.c_int, wintypes.DWORD),
        *(pointer, pointer, pointer, pointer, pointer),
    )
    advapi32.OpenProcessToken.argtypes = (wintypes.HANDLE, wintypes.DWORD, wintypes.LPVOID)
    advapi32.GetTokenInformation.argtypes = (
        *(wintypes.HANDLE, ctypes.c_int, wintypes.LPVOID, wintypes.DWORD, wintypes.LPVOID),
    )
    advapi32.GetLengthSid.argtypes = (wintypes.LPVOID,)
    owner, descriptor, token = wintypes.LPVOID(), wintypes.LPVOID(), wintypes.HANDLE()
    results = (ctypes.byref(owner), None, None, None, ctypes.byref(descriptor))
    error = advapi32.GetNamedSecurityInfoW(
        path, _SE_FILE_OBJECT, _OWNER_SECURITY_INFORMATION, *results
    )
    if error:
        raise ctypes.WinError(error)
    try:
        if ctypes.string_at(owner, advapi32.GetLengthSid(owner)) == _ADMINISTRATORS:
            return True
        process = kernel32.GetCurrentProcess()
        if not advapi32.OpenProcessToken(process, _TOKEN_QUERY, ctypes.byref(token)):
            raise ctypes.WinError(ctypes.get_last_error())
        user = ctypes.create_string_buffer(256)  # TOKEN_USER: a pointer to the SID comes first
        size = ctypes.byref(wintypes.DWORD())
        known = advapi32.GetTokenInformation(token, _TOKEN_USER, user, len(user), size)
        kernel32.CloseHandle(token)
        return bool(known) and bool(advapi32.EqualSid(owner, wintypes.LPVOID.from_buffer(user)))
    finally:
        kernel32.LocalFree(descriptor)
