"""A session: one process, its streams, and the order in which its end is told.

Exited is sent when the process has ended and every byte it wrote has been sent before it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable

from guest.agent.link import Link
from guest.agent.loop import Loop
from guest.agent.streams import InputStream, OutputStream
from wire.common import Exited, Terminal
from wire.frame import Frame, FrameKind, StreamId, decode_credit

_PIPE_BYTES = 256 * 1024
"""Pipe capacity asked for: fewer wake-ups of the agent per megabyte (F_SETPIPE_SZ, fcntl(2))."""

KillGroup = Callable[[int], None]
"""Sends a signal number to the process group of a session's process."""


class Channels:
    """The descriptors of a process that is to be started: its own three, and our ends."""

    def __init__(self, theirs: tuple[int, int, int], ours: dict[int, int]) -> None:
        """`ours` maps StreamId to our descriptor; a terminal has no STDERR of its own."""
        self.theirs = theirs
        self.ours = ours

    def close_theirs(self) -> None:
        """After the process has inherited them, so that we see its ends close."""
        for fd in set(self.theirs):
            os.close(fd)

    def close(self) -> None:
        """The process could not be started."""
        self.close_theirs()
        for fd in self.ours.values():
            os.close(fd)


def make_pipes() -> Channels:
    """Three pipes. Raises OSError."""
    pairs: list[tuple[int, int]] = []
    try:
        for _ in range(3):
            pairs.append(os.pipe2(os.O_CLOEXEC))
    except OSError:
        for pair in pairs:
            os.close(pair[0])
            os.close(pair[1])
        raise
    for _, writer in pairs:
        try:
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            break  # over the user's pipe quota (pipe(7)): the default capacity serves
    (stdin_r, stdin_w), (stdout_r, stdout_w), (stderr_r, stderr_w) = pairs
    return Channels(
        (stdin_r, stdout_w, stderr_w),
        {StreamId.STDIN: stdin_w, StreamId.STDOUT: stdout_r, StreamId.STDERR: stderr_r},
    )


_TIOCGPTPEER = 0x5441
"""asm-generic/ioctls.h; opens the other side without looking the name up in any /dev/pts."""
_TIOCSPTLCK = 0x40045431
_IUTF8 = 0x4000
"""asm-generic/termbits.h; missing from Python's termios."""


def make_terminal(master: int, size: Terminal) -> Channels:
    """A pseudo terminal from an open `master` (which it takes over). Raises OSError."""
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    set_size(master, size.rows, size.columns)
    attributes = termios.tcgetattr(slave)
    attributes[0] |= _IUTF8  # Backspace erases characters, not bytes
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    return Channels(
        (slave, slave, slave), {StreamId.STDIN: os.dup(master), StreamId.STDOUT: master}
    )


def set_size(terminal: int, rows: int, columns: int) -> None:
    """Set a terminal's size in cells; its foreground process group gets SIGWINCH."""
    size = struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)


class Session:
    """Streams and end of one process, from before it is started until Exited is sent."""

    def __init__(
        self,
        loop: Loop,
        link: Link,
        number: int,
        channels: Channels,
        on_end: Callable[[Session], None],
    ) -> None:
        self._link = link
        self._on_end = on_end
        self._exit: Exited | None = None
        self.number = number
        self.kill_group: KillGroup | None = None
        """Set once the process runs."""
        ours = channels.ours
        self._terminal = ours[StreamId.STDOUT] if StreamId.STDERR not in ours else -1
        self._stdin = InputStream(loop, link, number, ours[StreamId.STDIN])
        self._outputs = {
            stream: OutputStream(loop, link, number, stream, fd, self._maybe_end)
            for stream, fd in ours.items()
            if stream != StreamId.STDIN
        }

    def on_frame(self, frame: Frame) -> None:
        """A stream frame of this session. Raises FlowError."""
        if frame.stream == StreamId.STDIN:
            if frame.kind == FrameKind.DATA:
                self._stdin.receive(frame.payload)
            elif frame.kind == FrameKind.EOF:
                self._stdin.end()
            return
        output = self._outputs.get(frame.stream)
        if output is None:
            return
        if frame.kind == FrameKind.CREDIT:
            output.grant(decode_credit(frame))
        elif frame.kind == FrameKind.STOP:
            output.end()

    def resize(self, rows: int, columns: int) -> None:
        """The user's terminal has a new size; ignored without a terminal."""
        if self._terminal >= 0 and not self._outputs[StreamId.STDOUT].has_ended:
            set_size(self._terminal, rows, columns)

    def signal(self, number: int) -> None:
        """Send a signal to the process group; ignored when the process does not run."""
        if self.kill_group is not None and self._exit is None:
            self.kill_group(number)

    def hang_up(self) -> None:
        """The client is gone: what a terminal's disappearance means (SIGHUP), pipes closed."""
        self.signal(signal.SIGHUP)
        self.signal(signal.SIGCONT)  # a stopped process must wake up to be hung up on
        self.close_streams()

    def close_streams(self) -> None:
        """Close all descriptors."""
        self._stdin.close()
        for output in self._outputs.values():
            output.end()

    def exited(self, raw_status: int) -> None:
        """The process has ended with a wait(2) status."""
        is_signal = os.WIFSIGNALED(raw_status)
        self._exit = Exited(
            session=self.number,
            status=0 if is_signal else os.WEXITSTATUS(raw_status),
            signal=os.WTERMSIG(raw_status) if is_signal else 0,
            core_dumped=is_signal and os.WCOREDUMP(raw_status),
        )
        self._stdin.close()
        for output in self._outputs.values():
            output.finish()
        self._maybe_end()

    def _maybe_end(self) -> None:
        if self._exit is None or not all(output.has_ended for output in self._outputs.values()):
            return
        self._link.send_event(self._exit)
        self._on_end(self)
