"""Windows's side of `vm.openable`: the short names of files."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes

assert sys.platform == "win32"

_LONG_PREFIX = "\\\\?\\"
"""Lifts the limit of 260 characters ("Naming Files, Paths, and Namespaces")."""


def short_name(path: str) -> str:
    """`path` with the short name of each part, where there is one (fileapi.h, GetShortPathNameW).

    Raises OSError, also where it does not exist.
    """
    get_short_path_name = ctypes.WinDLL("kernel32", use_last_error=True).GetShortPathNameW
    get_short_path_name.argtypes = (wintypes.LPCWSTR, wintypes.LPWSTR, wintypes.DWORD)
    # On a share the prefix is spelled otherwise; there the limit stays.
    asked = path if path.startswith("\\\\") else _LONG_PREFIX + path
    size = get_short_path_name(asked, None, 0)
    if not size:
        raise ctypes.WinError(ctypes.get_last_error())
    buffer = ctypes.create_unicode_buffer(size)
    if not get_short_path_name(asked, buffer, size):
        raise ctypes.WinError(ctypes.get_last_error())
    return buffer.value if asked == path else buffer.value.removeprefix(_LONG_PREFIX)
