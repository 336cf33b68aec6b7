"""The terminal of a running command on POSIX hosts: raw mode, size, keys, forwarded signals."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
from collections.abc import Callable
from types import FrameType

from shell.user_terminal import UserTerminal

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

    def __init__(self, terminal: UserTerminal, on_resize: Callable[[], None]) -> None:
        self._terminal = terminal
        self._on_resize = on_resize
        self._saved: list[Any] | None = None
        self._watcher = -1

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
        self._watcher = _start_watcher(fd, raw, self._saved)
        termios.tcsetattr(fd, termios.TCSADRAIN, raw)
        signal.signal(signal.SIGWINCH, self._resized)
        for number in (signal.SIGHUP, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._end)

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        self._on_resize()

    def _end(self, number: int, _frame: FrameType | None) -> None:
        """Die of `number`, as every terminal program does, with the terminal restored.

        Passed on instead, it would end nothing: interactive shells ignore SIGTERM. What the
        window's end means for the Linux side, the service tells it when we are gone.
        """
        self.leave()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def leave(self) -> None:
        """Restore the user's settings; harmless if `enter` was not called."""
        if self._saved is None:
            return
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        with contextlib.suppress(termios.error):  # the window may be closed
            # Now, not drained: a killed program's last output must not hold up the prompt.
            termios.tcsetattr(self._terminal.keys, termios.TCSANOW, self._saved)
        self._saved = None
        os.write(self._watcher, _ALL_IS_WELL)
        os.close(self._watcher)


_ALL_IS_WELL = b"x"
_FLAGS = slice(0, 4)
"""The four sets of flags among what tcgetattr returns."""


def _start_watcher(terminal: int, raw: list[Any], saved: list[Any]) -> int:
    """Fork a process that restores the terminal should this one be killed (SIGKILL).

    Interactive bash and zsh see to that themselves when a job dies of a signal, other shells do
    not. Returns a pipe's end: _ALL_IS_WELL there ends the watcher, its closing wakes it.
    """
    reader, writer = os.pipe()
    if os.fork() != 0:
        os.close(reader)
        return writer
    try:
        os.close(writer)
        os.setsid()  # a process outside the terminal's session may change it from the background
        for number in _FORWARDED:
            signal.signal(number, signal.SIG_IGN)
        is_well = os.read(reader, 1) == _ALL_IS_WELL
        # A shell that was faster has settings of its own there by now, for its prompt.
        if not is_well and termios.tcgetattr(terminal)[_FLAGS] == raw[_FLAGS]:
            termios.tcsetattr(terminal, termios.TCSANOW, saved)
    finally:
        os._exit(0)


def forward_signals(send: Callable[[int], None]) -> None:
    """Pass signals that ask this command to end on to the Linux process, as their Linux numbers.

    The command itself ends when that does. (Numbers agree on every POSIX host: signal(7).)
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        send(number)

    for number in _FORWARDED:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup(1) means it
            signal.signal(number, handle)
