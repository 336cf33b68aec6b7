"""The user's terminal: the contract, and which platform's file fulfils it."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from shell.terminal_windows import (
        RawTerminal,
        forward_signals,
        terminal_of,
    )
else:
    from shell.terminal_posix import (
        RawTerminal,
        forward_signals,
        terminal_of,
    )

from shell.user_terminal import UserTerminal

__all__ = ["RawTerminal", "UserTerminal", "forward_signals", "terminal_of"]
