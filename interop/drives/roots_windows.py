"""The drives of a Windows host."""

from __future__ import annotations

import ctypes
import sys

assert sys.platform == "win32"

_DRIVE_FIXED = 3
"""fileapi.h, GetDriveTypeW."""


def fixed_drives() -> tuple[str, ...]:
    """Letters of the drives that are fixed to the computer: neither removable nor remote."""
    kernel32 = ctypes.windll.kernel32
    present = kernel32.GetLogicalDrives()
    letters = (chr(ord("A") + bit) for bit in range(26) if present >> bit & 1)
    return tuple(
        letter for letter in letters if kernel32.GetDriveTypeW(f"{letter}:\\") == _DRIVE_FIXED
    )
