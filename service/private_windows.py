"""Directories that only one user of Windows can enter: owners and access lists.

References: "Security Descriptor String Format" and "SID Strings" in the Win32 documentation;
securitybaseapi.h, aclapi.h, sddl.h, winnt.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Iterator
from ctypes import wintypes

from service.errors import ServiceError
from wire import failures

assert sys.platform == "win32"

_TOKEN_QUERY = 0x0008  # winnt.h
_TOKEN_USER = 1  # winnt.h, TOKEN_INFORMATION_CLASS
_SDDL_REVISION_1 = 1  # sddl.h
_SE_FILE_OBJECT = 1  # accctrl.h, SE_OBJECT_TYPE
_OWNER_SECURITY_INFORMATION = 0x1  # winnt.h
_DACL_SECURITY_INFORMATION = 0x4
_PROTECTED_DACL_SECURITY_INFORMATION = 0x80000000
_ERROR_ALREADY_EXISTS = 183  # winerror.h

_TRUSTED = frozenset({"S-1-5-18", "S-1-5-32-544"})
"""The system and the administrators, who can take whatever they want (winnt.h, well-known SIDs).
What an administrator makes belongs to all of them."""


class _SecurityAttributes(ctypes.Structure):
    """minwinbase.h, SECURITY_ATTRIBUTES."""

    _fields_ = (
        ("nLength", wintypes.DWORD),
        ("lpSecurityDescriptor", wintypes.LPVOID),
        ("bInheritHandle", wintypes.BOOL),
    )


class _SidAndAttributes(ctypes.Structure):
    """winnt.h, TOKEN_USER, which is one SID_AND_ATTRIBUTES."""

    _fields_ = (("Sid", wintypes.LPVOID), ("Attributes", wintypes.DWORD))


def make_private_directory(path: str) -> None:
    """Create a directory that only this user can enter, or make an old one so.

    Raises ServiceError where it is somebody else's: it may hold somebody else's files, and its
    owner can change who enters. Raises OSError.
    """
    with _descriptor(f"D:P(A;OICI;FA;;;{user_sid()})(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)") as private:
        attributes = _SecurityAttributes(ctypes.sizeof(_SecurityAttributes), private, False)
        if _kernel32().CreateDirectoryW(path, ctypes.byref(attributes)):
            return
        if ctypes.get_last_error() != _ERROR_ALREADY_EXISTS:
            raise ctypes.WinError(ctypes.get_last_error())
        if not os.path.isdir(path) or owner_sid(path) not in {user_sid(), *_TRUSTED}:
            raise ServiceError(
                failures.INTERNAL,
                f"{path} is not a directory of this user",
                hint="Remove it, or set ISTHMUS_HOME to a directory of your own.",
            )
        # Whoever could enter before may have opened what is inside, so it is made anew there.
        change = _DACL_SECURITY_INFORMATION | _PROTECTED_DACL_SECURITY_INFORMATION
        if not _advapi32().SetFileSecurityW(path, change, private):
            raise ctypes.WinError(ctypes.get_last_error())


@functools.cache
def user_sid() -> str:
    """The user of this process, as "S-1-5-21-…". Raises OSError."""
    advapi32, kernel32 = _advapi32(), _kernel32()
    token = wintypes.HANDLE()
    process = kernel32.GetCurrentProcess()
    if not advapi32.OpenProcessToken(process, _TOKEN_QUERY, ctypes.byref(token)):
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        buffer = ctypes.create_string_buffer(256)  # a SID has at most 68 bytes
        size = wintypes.DWORD()
        if not advapi32.GetTokenInformation(
            token, _TOKEN_USER, buffer, len(buffer), ctypes.byref(size)
        ):
            raise ctypes.WinError(ctypes.get_last_error())
        return _sid_text(_SidAndAttributes.from_buffer(buffer).Sid)
    finally:
        kernel32.CloseHandle(token)


def owner_sid(path: str) -> str:
    """The owner of a file or directory, as "S-1-5-21-…". Raises OSError."""
    owner, descriptor = wintypes.LPVOID(), wintypes.LPVOID()
    error = _advapi32().GetNamedSecurityInfoW(
        path,
        _SE_FILE_OBJECT,
        _OWNER_SECURITY_INFORMATION,
        *(ctypes.byref(owner), None, None, None, ctypes.byref(descriptor)),
    )
    if error:
        raise ctypes.WinError(error)
    try:
        return _sid_text(owner)
    finally:
        _kernel32().LocalFree(descriptor)


def _sid_text(sid: object) -> str:
    text = wintypes.LPWSTR()
    if not _advapi32().ConvertSidToStringSidW(sid, ctypes.byref(text)):
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        return str(text.value)
    finally:
        _kernel32().LocalFree(text)


@contextlib.contextmanager
def _descriptor(text: str) -> Iterator[wintypes.LPVOID]:
    """The security descriptor that `text` describes, while the context lasts."""
    descriptor = wintypes.LPVOID()
    if not _advapi32().ConvertStringSecurityDescriptorToSecurityDescriptorW(
        text, _SDDL_REVISION_1, ctypes.byref(descriptor), None
    ):
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        yield descriptor
    finally:
        _kernel32().LocalFree(descriptor)


@functools.cache
def _advapi32() -> ctypes.WinDLL:
    """advapi32 with the signatures used here."""
    advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    pointer, number, text = wintypes.LPVOID, wintypes.DWORD, wintypes.LPCWSTR
    advapi32.OpenProcessToken.argtypes = (wintypes.HANDLE, number, pointer)
    advapi32.GetTokenInformation.argtypes = (
        *(wintypes.HANDLE, ctypes.c_int, pointer, number, pointer),
    )
    advapi32.GetNamedSecurityInfoW.argtypes = (
        *(text, ctypes.c_int, number, pointer, pointer, pointer, pointer, pointer),
    )
    advapi32.GetNamedSecurityInfoW.restype = number
    advapi32.ConvertSidToStringSidW.argtypes = (pointer, pointer)
    advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW.argtypes = (
        *(text, number, pointer, pointer),
    )
    advapi32.SetFileSecurityW.argtypes = (text, number, pointer)
    return advapi32


@functools.cache
def _kernel32() -> ctypes.WinDLL:
    """kernel32 with the signatures used here."""
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.CreateDirectoryW.argtypes = (wintypes.LPCWSTR, wintypes.LPVOID)
    kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
    kernel32.LocalFree.argtypes = (wintypes.LPVOID,)
    kernel32.LocalFree.restype = wintypes.LPVOID
    return kernel32
