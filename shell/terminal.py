"""The user's terminal: the contract, and which platform's file fulfils it."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from shell.terminal_windows import (
        RawTerminal,
        UserTerminal,
        forward_signals,
        terminal_of,
    )
else:
    from shell.terminal_posix import (
        RawTerminal,
        UserTerminal,
        forward_signals,
        terminal_of,
    )

__all__ = ["RawTerminal", "UserTerminal", "forward_signals", "terminal_of"]
