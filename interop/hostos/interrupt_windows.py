"""`python -m interop.hostos.interrupt_windows PID`: Ctrl-C for the console of a process.

GenerateConsoleCtrlEvent reaches the processes of the caller's own console, the caller among them:
https://learn.microsoft.com/windows/console/generateconsolectrlevent
"""

from __future__ import annotations

import ctypes
import sys

assert sys.platform == "win32"

_CTRL_C_EVENT = 0  # wincon.h


def main() -> int:
    """Returns 0, or 1 where the process has no console any more."""
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.FreeConsole()
    if not kernel32.AttachConsole(int(sys.argv[1])):
        return 1
    kernel32.SetConsoleCtrlHandler(None, True)
    return 0 if kernel32.GenerateConsoleCtrlEvent(_CTRL_C_EVENT, 0) else 1


if __name__ == "__main__":
    sys.exit(main())
