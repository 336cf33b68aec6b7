"""Which of our descriptors are the user's terminal, and how large it is."""

from __future__ import annotations

import os

from wire.common import Terminal


class UserTerminal:
    """Descriptors of the terminal that the command belongs to, and which of 0 to 2 are not it."""

    def __init__(self, keys: int, screen: int, redirected: tuple[int, ...]) -> None:
        self.keys = keys
        """Where keys are read."""
        self.screen = screen
        """Where output of the session's terminal is written."""
        self.redirected = redirected

    def size(self) -> Terminal:
        """Its size in cells; 24 by 80 where it does not say."""
        columns, rows = os.get_terminal_size(self.screen)
        return Terminal(rows=rows or 24, columns=columns or 80)
