"""The raw command line of this process on Windows: what wsl.exe parses, quotes and all."""

from __future__ import annotations

import ctypes
import sys

assert sys.platform == "win32"


def own_command_line() -> tuple[str, int]:
    """GetCommandLineW (processenv.h), and how many of its first words are not the user's.

    Those are the launcher, or the interpreter, its options and the script.
    """
    get_command_line = ctypes.WinDLL("kernel32").GetCommandLineW
    get_command_line.restype = ctypes.c_wchar_p
    return get_command_line(), len(sys.orig_argv) - len(sys.argv) + 1
