"""A session: one process, its streams, and the order in which its end is told.

Exited is sent when the process has ended and every byte it wrote has been sent before it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable, Sequence

from guest.agent.link import Link
from guest.agent.loop import Loop
from guest.agent.streams import InputStream, OutputStream
from wire.common import Exited, Terminal
from wire.errors import FlowError
from wire.frame import Frame, FrameKind, StreamId, decode_credit

_PIPE_BYTES = 256 * 1024
"""Pipe capacity asked for: fewer wake-ups of the agent per megabyte (F_SETPIPE_SZ, fcntl(2))."""

KillGroup = Callable[[int], None]
"""Sends a signal number to the process group of a session's process."""


class Channels:
    """The descriptors of a process that is to be started: its own three, and our ends."""

    def __init__(
        self, theirs: tuple[int, int, int], inputs: dict[int, int], outputs: dict[int, int]
    ) -> None:
        """`inputs` and `outputs` map StreamId to the descriptor we write to or read from."""
        self.theirs = theirs
        self.inputs = inputs
        self.outputs = outputs

    def close_theirs(self) -> None:
        """After the process has inherited them, so that we see its ends close."""
        for fd in set(self.theirs):
            os.close(fd)


def make_channels(terminal: Terminal | None, master: int, redirected: Sequence[int]) -> Channels:
    """The descriptors of a process: pipes, and the terminal of `master` where there is one.

    Takes `master` over. Raises OSError, with nothing left open.
    """
    theirs: list[int] = []
    inputs: dict[int, int] = {}
    outputs: dict[int, int] = {}
    opened: list[int] = [] if terminal is None else [master]
    try:
        slave = -1
        if terminal is not None:
            slave = _open_slave(master, terminal)
            opened.append(slave)
            opened.append(os.dup(master))
            inputs[StreamId.TERMINAL], outputs[StreamId.TERMINAL] = opened[-1], master
        for number in (StreamId.STDIN, StreamId.STDOUT, StreamId.STDERR):
            if terminal is not None and number not in redirected:
                theirs.append(slave)
                continue
            reader, writer = make_pipe()
            opened += [reader, writer]
            theirs.append(reader if number == StreamId.STDIN else writer)
            if number == StreamId.STDIN:
                inputs[number] = writer
            else:
                outputs[number] = reader
        if slave >= 0 and slave not in theirs:
            os.close(slave)
    except OSError:
        for fd in opened:
            os.close(fd)
        raise
    return Channels((theirs[0], theirs[1], theirs[2]), inputs, outputs)


def make_pipe() -> tuple[int, int]:
    """A roomy pipe: its reading and its writing end. Raises OSError."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        pass  # over the user's pipe quota (pipe(7)): the default capacity serves
    return reader, writer


_TIOCGPTPEER = 0x5441
"""asm-generic/ioctls.h; opens the other side without looking the name up in any /dev/pts."""
_TIOCSPTLCK = 0x40045431
_IUTF8 = 0x4000
"""asm-generic/termbits.h; missing from Python's termios."""


def _open_slave(master: int, size: Terminal) -> int:
    """The other side of an open pseudo terminal, ready for use. Raises OSError."""
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        set_size(master, size.rows, size.columns)
        attributes = termios.tcgetattr(slave)
        attributes[0] |= _IUTF8  # Backspace erases characters, not bytes
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
    except (OSError, termios.error) as error:
        os.close(slave)
        raise OSError(*error.args) from None  # termios.error is no OSError
    return int(slave)


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
        self._kill_group: KillGroup | None = None
        self._is_hung_up = False
        self._is_dropped = False
        self._has_ended = False
        self.number = number
        self._terminal = channels.outputs.get(StreamId.TERMINAL, -1)
        self._inputs = {
            stream: InputStream(loop, link, number, stream, fd)
            for stream, fd in channels.inputs.items()
        }
        self._outputs = {
            stream: OutputStream(loop, link, number, stream, fd, self._maybe_end)
            for stream, fd in channels.outputs.items()
        }

    def on_frame(self, frame: Frame) -> None:
        """A stream frame of this session. Raises FlowError.

        One for a stream that this session happens not to have is ignored: it is some client's
        mistake, for which not all sessions of the link should pay.
        """
        if frame.kind in (FrameKind.DATA, FrameKind.EOF):
            self._on_input(frame)
        else:
            self._on_output(frame)

    def _on_input(self, frame: Frame) -> None:
        if frame.stream in (StreamId.STDOUT, StreamId.STDERR):
            raise FlowError(f"stream {frame.stream} of session {self.number} is no input")
        source = self._inputs.get(frame.stream)
        if source is None:
            return
        if frame.kind == FrameKind.DATA:
            source.receive(frame.payload)
        else:
            source.end()

    def _on_output(self, frame: Frame) -> None:
        if frame.stream == StreamId.STDIN:
            raise FlowError(f"stream {frame.stream} of session {self.number} is no output")
        output = self._outputs.get(frame.stream)
        if output is None:
            return
        if frame.kind == FrameKind.CREDIT:
            output.grant(decode_credit(frame))
        else:
            output.end()

    def started(self, kill_group: KillGroup) -> None:
        """The process runs, and `kill_group` signals it."""
        self._kill_group = kill_group
        if self._is_hung_up:
            self._signal_hangup()

    def resize(self, rows: int, columns: int) -> None:
        """The user's terminal has a new size; ignored without a terminal."""
        if self._terminal >= 0 and not self._outputs[StreamId.TERMINAL].has_ended:
            set_size(self._terminal, rows, columns)

    def signal(self, number: int) -> None:
        """Send a signal to the process group; ignored when the process does not run."""
        if self._kill_group is not None and self._exit is None:
            self._kill_group(number)

    def hang_up(self) -> None:
        """The client is gone: what a terminal's disappearance means (SIGHUP), pipes closed."""
        self._is_hung_up = True
        self._signal_hangup()
        self.close_streams()

    def drop(self) -> None:
        """The link has lost its state: hang up, and tell nobody how it ends."""
        self._is_dropped = True
        self.hang_up()

    def _signal_hangup(self) -> None:
        self.signal(signal.SIGHUP)
        self.signal(signal.SIGCONT)  # a stopped process must wake up to be hung up on

    def close_streams(self) -> None:
        """Close all descriptors."""
        for source in self._inputs.values():
            source.close()
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
        for source in self._inputs.values():
            source.close()
        for output in self._outputs.values():
            output.finish()
        self._maybe_end()

    def _maybe_end(self) -> None:
        if self._has_ended or self._exit is None:
            return
        if not all(output.has_ended for output in self._outputs.values()):
            return
        self._has_ended = True
        if not self._is_dropped:
            self._link.send_event(self._exit)
        self._on_end(self)
