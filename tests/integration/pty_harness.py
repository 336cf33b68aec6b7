"""A user at a terminal: a pty, a terminal emulator (pyte) that draws what comes, and keys.

The session is the one a login makes: the shell that runs `isthmus` is the pty's session leader,
so that job control, hang-up and the terminal's settings are the real ones.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence

import psutil
import pyte
import pytest

from tests.integration.cli_harness import PROGRAM, Isthmus

assert sys.platform != "win32"

ROWS, COLUMNS = 24, 80
TIMEOUT_S = 120.0

Settings = list[object]


class Screen(pyte.Screen):
    """pyte's, without two of its faults."""

    def select_graphic_rendition(self, *attributes: int, private: bool = False) -> None:
        """CSI … m; with a ? it is vim's XTQMODKEYS (xterm's ctlseqs), and changes nothing."""
        if not private:
            super().select_graphic_rendition(*attributes)

    @property
    def display(self) -> list[str]:
        """The lines; pyte's own fails where half of a wide character has been overwritten."""
        columns = range(self.columns)
        return ["".join(self.buffer[y][x].data for x in columns) for y in range(self.lines)]


class Tty:
    """The master side of a pty on whose other side a program runs."""

    def __init__(self, argv: Sequence[str], environment: dict[str, str]) -> None:
        self._master, self._slave = os.openpty()
        self.set_size(ROWS, COLUMNS)
        self.screen = Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = bytearray()
        """Everything that has come, for those who count bytes."""
        self.process = subprocess.Popen(
            argv,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={**environment, "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=self._take_terminal,
        )

    def _take_terminal(self) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSCTTY, 0)

    # -- what is seen --------------------------------------------------------------------------

    def pump(self, timeout_s: float) -> bool:
        """Take what comes within `timeout_s`; False if nothing has."""
        ready, _, _ = select.select([self._master], [], [], timeout_s)
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has the other side open (cannot be: we do)
            return False
        self.raw += data
        self._stream.feed(data)
        return True

    def text(self) -> str:
        """The screen, without blanks at the ends of lines."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def expect(self, text: str, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until `text` stands somewhere on the screen."""
        deadline = time.monotonic() + timeout_s
        while text not in self.text():
            if time.monotonic() > deadline:
                pytest.fail(f"{text!r} did not appear on\n{self.text()}")
            self.pump(0.1)

    def expect_end(self, timeout_s: float = TIMEOUT_S) -> int:
        """Wait for the program's end; returns its exit status."""
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                pytest.fail(f"it did not end; on the screen:\n{self.text()}")
            self.pump(0.05)
        while self.pump(0):
            pass
        return self.process.returncode

    # -- what is done --------------------------------------------------------------------------

    def type(self, keys: str | bytes) -> None:
        """Press keys."""
        data = keys.encode() if isinstance(keys, str) else keys
        while data:
            data = data[os.write(self._master, data) :]

    def clear(self) -> None:
        """Forget what stands on the screen."""
        self.screen.reset()

    def set_size(self, rows: int, columns: int) -> None:
        """Change the window's size; the foreground process group gets SIGWINCH."""
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows: int, columns: int) -> None:
        """As a user who drags the window's corner."""
        self.set_size(rows, columns)
        self.screen.resize(rows, columns)

    def settings(self) -> Settings:
        """The terminal's settings, as termios(3) has them."""
        return list(termios.tcgetattr(self._slave))

    @property
    def is_raw(self) -> bool:
        """Whether keys are passed on one by one, unchanged and unseen."""
        flags = termios.tcgetattr(self._slave)[3]
        return not flags & (termios.ICANON | termios.ECHO | termios.ISIG)

    def close(self) -> None:
        """Take the terminal away and end what ran on it."""
        with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended, and been waited for
            for process in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        os.close(self._master)
        os.close(self._slave)

    def hang_up(self) -> None:
        """Close the window: the session leader gets SIGHUP, and reads and writes fail."""
        os.close(self._slave)
        os.close(self._master)
        self._master, self._slave = os.openpty()


@contextlib.contextmanager
def terminal(isthmus: Isthmus, *args: str) -> Iterator[Tty]:
    """`isthmus args…` as the only program of a terminal."""
    tty = Tty([str(PROGRAM), *args], isthmus.environment)
    try:
        yield tty
    finally:
        tty.close()


@contextlib.contextmanager
def shell(isthmus: Isthmus, program: str = "sh") -> Iterator[Tty]:
    """An interactive shell of the host at a terminal, with `lx` in its path."""
    path = f"{PROGRAM.parent}:{isthmus.environment['PATH']}"
    environment = {**isthmus.environment, "PATH": path, "PS1": "host$ ", "ENV": "", "HOME": "/"}
    argv = {"sh": ["sh", "-i"], "bash": ["bash", "--norc", "--noprofile", "-i"]}[program]
    tty = Tty(argv, environment)
    try:
        tty.expect("host$")
        yield tty
    finally:
        tty.close()


def client_of(tty: Tty) -> psutil.Process:
    """The `isthmus` process that a shell has started."""
    (process,) = psutil.Process(tty.process.pid).children()
    return process
