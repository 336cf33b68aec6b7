"""The terminal of a running command on POSIX hosts: raw mode, size, keys, forwarded signals."""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Callable
from types import FrameType

from shell.user_terminal import UserTerminal
from wire.common import Terminal

assert sys.platform != "win32"

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from typing import Any

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def terminal_of() -> UserTerminal | None:
    """The terminal a command should get: where its output is shown, if keys can be read there.

    Output that goes elsewhere (`lx ls | less`) makes a plain pipeline of the command: a raw
    terminal would take the keys from the other programs of that pipeline.
    """
    if not os.isatty(1):
        return None
    redirected = tuple(fd for fd in (0, 2) if not os.isatty(fd))
    if 0 not in redirected:
        return UserTerminal(0, 1, redirected)
    try:
        keys = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    if os.tcgetpgrp(keys) != os.getpgrp():  # a background job: reading would stop it
        os.close(keys)
        return None
    return UserTerminal(keys, 1, redirected)


class RawTerminal:
    """Raw mode while a session's terminal is in charge; the user's own settings afterwards."""

    def __init__(self, terminal: UserTerminal, on_resize: Callable[[Terminal], None]) -> None:
        self._terminal = terminal
        self._on_resize = on_resize
        self._saved: list[Any] | None = None

    def enter(self) -> None:
        """Switch to raw mode: every key is the Linux side's, Ctrl-C included."""
        fd = self._terminal.keys
        self._saved = termios.tcgetattr(fd)
        raw = termios.tcgetattr(fd)
        raw[0] &= ~(
            termios.BRKINT
            | termios.ICRNL
            | termios.INLCR
            | termios.IGNCR
            | termios.INPCK
            | termios.ISTRIP
            | termios.IXON
        )
        raw[1] &= ~termios.OPOST
        raw[2] = (raw[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        raw[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
        raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
        termios.tcsetattr(fd, termios.TCSADRAIN, raw)
        signal.signal(signal.SIGWINCH, self._resized)

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        self._on_resize(self._terminal.size())

    def leave(self) -> None:
        """Restore the user's settings; harmless if `enter` was not called."""
        if self._saved is None:
            return
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        # Now, not drained: what is left of a killed program's output must not hold up the prompt.
        termios.tcsetattr(self._terminal.keys, termios.TCSANOW, self._saved)
        self._saved = None


def forward_signals(send: Callable[[int], None]) -> None:
    """Pass signals that ask this command to end on to the Linux process, as their Linux numbers.

    The command itself ends when that does. (Numbers agree on every POSIX host: signal(7).)
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        send(number)

    for number in _FORWARDED:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup(1) means it
            signal.signal(number, handle)
