"""The terminal of a running command on Windows: the console in VT mode, its size, its keys."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from ctypes import wintypes
from types import FrameType

from shell.user_terminal import UserTerminal

assert sys.platform == "win32"

_STD_INPUT_HANDLE, _STD_OUTPUT_HANDLE = -10, -11
# consoleapi.h
_ENABLE_PROCESSED_INPUT, _ENABLE_LINE_INPUT, _ENABLE_ECHO_INPUT = 0x1, 0x2, 0x4
_ENABLE_VIRTUAL_TERMINAL_INPUT = 0x200
_ENABLE_PROCESSED_OUTPUT, _ENABLE_VIRTUAL_TERMINAL_PROCESSING = 0x1, 0x4
_DISABLE_NEWLINE_AUTO_RETURN = 0x8
_UTF8_CODE_PAGE = 65001
_RESIZE_POLL_S = 0.25
_LINUX_SIGINT = 2


def terminal_of() -> UserTerminal | None:
    """The console, if the command's input and output both are it."""
    if not os.isatty(0) or not os.isatty(1):
        return None
    return UserTerminal(0, 1, () if os.isatty(2) else (2,))


class RawTerminal:
    """Raw VT mode while a session's terminal is in charge; the user's modes afterwards."""

    def __init__(self, terminal: UserTerminal, on_resize: Callable[[], None]) -> None:
        self._terminal = terminal
        self._on_resize = on_resize
        self._kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        self._saved: list[tuple[int, int]] = []
        self._code_pages = (0, 0)
        self._left = threading.Event()

    def enter(self) -> None:
        """Every key is the Linux side's, as VT sequences in UTF-8; so is the screen."""
        kernel32 = self._kernel32
        self._code_pages = (kernel32.GetConsoleCP(), kernel32.GetConsoleOutputCP())
        kernel32.SetConsoleCP(_UTF8_CODE_PAGE)
        kernel32.SetConsoleOutputCP(_UTF8_CODE_PAGE)
        cooked = _ENABLE_PROCESSED_INPUT | _ENABLE_LINE_INPUT | _ENABLE_ECHO_INPUT
        self._change(_STD_INPUT_HANDLE, _ENABLE_VIRTUAL_TERMINAL_INPUT, cooked)
        output = _ENABLE_PROCESSED_OUTPUT | _ENABLE_VIRTUAL_TERMINAL_PROCESSING
        self._change(_STD_OUTPUT_HANDLE, output | _DISABLE_NEWLINE_AUTO_RETURN, 0)
        # A console sends no signal when its window changes.
        threading.Thread(target=self._watch_size, daemon=True).start()

    def _change(self, which: int, add: int, remove: int) -> None:
        handle = self._kernel32.GetStdHandle(which)
        mode = wintypes.DWORD()
        self._kernel32.GetConsoleMode(handle, ctypes.byref(mode))
        self._saved.append((handle, mode.value))
        self._kernel32.SetConsoleMode(handle, (mode.value | add) & ~remove)

    def _watch_size(self) -> None:
        size = self._terminal.size()
        while not self._left.wait(_RESIZE_POLL_S):
            now = self._terminal.size()
            if now != size:
                size = now
                self._on_resize()

    def leave(self) -> None:
        """Restore the user's modes and code pages; harmless if `enter` was not called."""
        self._left.set()
        for handle, mode in self._saved:
            self._kernel32.SetConsoleMode(handle, mode)
        if self._saved:
            self._kernel32.SetConsoleCP(self._code_pages[0])
            self._kernel32.SetConsoleOutputCP(self._code_pages[1])
        self._saved.clear()


def forward_signals(send: Callable[[int], None]) -> None:
    """Pass Ctrl-C and Ctrl-Break on to the Linux process as SIGINT."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        send(_LINUX_SIGINT)

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGBREAK, handle)
