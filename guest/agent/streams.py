"""The byte streams of a session: between descriptors in the guest and frames on the link.

An OutputStream reads a pipe or a terminal and sends DATA as credit allows; an InputStream
receives DATA and writes it to a pipe or a terminal, granting credit as that takes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from collections.abc import Callable

from guest.agent.link import PORT_WRITE_BYTES, Link
from guest.agent.loop import READABLE, WRITABLE, Loop, has_ended
from wire.flow import ReceiveWindow, SendWindow
from wire.frame import HEADER, HEADER_BYTES, FrameKind, StreamId, encode_credit, encode_frame

CHUNK_BYTES = 2 * PORT_WRITE_BYTES - HEADER_BYTES
"""DATA payload that makes, with its header, two full pieces of a write to the port."""
_CHUNKS_PER_ROUND = 4
_INPUT_CHUNK_BYTES = 64 * 1024
_TERMINAL_TAIL_BYTES = 1024 * 1024
"""What is still read from a terminal after its session's process has ended."""

# One buffer for all streams: a chunk is sent, or copied, before the next one is read.
_buffer = memoryview(bytearray(HEADER_BYTES + CHUNK_BYTES))
_chunk = _buffer[HEADER_BYTES:]


class OutputStream:
    """Sends what can be read from `fd` as stream `stream` of `session`, then EOF."""

    def __init__(
        self,
        loop: Loop,
        link: Link,
        session: int,
        stream: int,
        fd: int,
        on_end: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._link = link
        self._session = session
        self._stream = stream
        self._fd = fd
        self._on_end = on_end
        self._window = SendWindow()
        self._limit: int | None = None
        self._watched = True
        self._waits_for_link = False
        self.has_ended = False
        os.set_blocking(fd, False)
        loop.watch(fd, READABLE, self._on_ready)

    def _on_ready(self, _events: int) -> None:
        self._pump()

    def _pump(self) -> None:
        """Send until the pipe is empty, credit is used up, or others should have a turn."""
        for _ in range(_CHUNKS_PER_ROUND):
            if self.has_ended:
                return
            if self._link.is_congested:
                self._wait_for_link()
                return
            allowed = min(self._window.available, CHUNK_BYTES)
            if self._limit is not None:
                if self._limit == 0:
                    self.end()
                    return
                allowed = min(allowed, self._limit)
            if allowed == 0:
                self._pause()  # until the host grants credit
                return
            if not self._send_chunk(allowed):
                return
        self._on_writable()

    def _send_chunk(self, allowed: int) -> bool:
        """Read and send one chunk; False when there is nothing to read now or ever."""
        try:
            count = os.readv(self._fd, [_chunk[:allowed]])
        except BlockingIOError:
            if self._limit is not None:
                self.end()  # the process has ended and everything it wrote is sent
            else:
                self._resume()
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            count = self._read_last(allowed)
        if count == 0:
            self.end()
            return False
        HEADER.pack_into(_buffer, 0, count, FrameKind.DATA, self._stream, 0, self._session)
        self._window.take(count)
        if self._limit is not None:
            self._limit -= count
        self._link.send_frame(_buffer[: HEADER_BYTES + count])
        return True

    def _read_last(self, allowed: int) -> int:
        """Read from a terminal whose other side is closed; returns the number of bytes.

        The EIO that says so does not say that everything was read: n_tty_read looks for input
        first and for the end after that, and the process may have written and closed in between.
        """
        try:
            return os.readv(self._fd, [_chunk[:allowed]])
        except OSError:
            return 0

    def _wait_for_link(self) -> None:
        self._pause()
        if not self._waits_for_link:
            self._waits_for_link = True
            self._link.when_writable(self._on_link_writable)

    def _on_link_writable(self) -> None:
        self._waits_for_link = False
        self._on_writable()

    def _on_writable(self) -> None:
        """Go on when there is something to read; at once where that may never be again."""
        if self._limit is None:
            self._resume()
        elif not self.has_ended:
            self._pump()  # a background child may hold the pipe open without ever writing

    def _pause(self) -> None:
        if self._watched:
            # Forgotten, not just masked: epoll reports a hang-up whatever the mask says.
            self._loop.forget(self._fd)
            self._watched = False

    def _resume(self) -> None:
        if not self._watched and not self.has_ended:
            self._loop.watch(self._fd, READABLE, self._on_ready)
            self._watched = True

    def grant(self, count: int) -> None:
        """The host allows `count` more bytes."""
        self._window.grant(count)
        if not self.has_ended:
            self._pump()  # also while the link is congested: whoever waited for credit waits for it

    def finish(self) -> None:
        """The process has ended: send what is in the pipe now, then EOF.

        A background child may hold the pipe open for ever and keep writing to it, so only what
        is there now is waited for.
        """
        if self.has_ended or self._limit is not None:
            return
        if self._stream == StreamId.TERMINAL:
            self._limit = _TERMINAL_TAIL_BYTES
        else:
            raw = fcntl.ioctl(self._fd, termios.FIONREAD, b"\0" * 4)
            self._limit = struct.unpack("i", raw)[0]
        self._pump()

    def end(self) -> None:
        """Close the descriptor and tell the host that nothing more comes."""
        if self.has_ended:
            return
        self.has_ended = True
        self._pause()
        os.close(self._fd)
        self._link.send_frame(encode_frame(FrameKind.EOF, self._stream, self._session))
        self._on_end()


class InputStream:
    """Writes what the host sends as stream `stream` of `session` to `fd`."""

    def __init__(self, loop: Loop, link: Link, session: int, stream: int, fd: int) -> None:
        self._loop = loop
        self._link = link
        self._session = session
        self._stream = stream
        self._fd = fd
        self._window = ReceiveWindow()
        self._waiting = bytearray()
        self._ending = False
        self.has_ended = False
        os.set_blocking(fd, False)
        # Nothing is asked for: epoll then reports only that the reader has closed its end.
        loop.watch(fd, 0, self._on_ready)

    def receive(self, data: memoryview) -> None:
        """DATA from the host. Raises FlowError if it had no credit for it."""
        self._window.receive(len(data))
        if self.has_ended or self._ending:
            return
        if not self._waiting:
            data = data[self._write(data) :]
        if data and not self.has_ended:
            if not self._waiting:
                self._loop.change(self._fd, WRITABLE)
            self._waiting += data

    def _write(self, data: memoryview | bytearray) -> int:
        try:
            done = os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:  # EPIPE: the reader has closed; EIO: the terminal's other side has
            self.stop()
            return 0
        credit = self._window.consume(done)
        if credit:
            self._link.send_frame(encode_credit(self._stream, self._session, credit))
        return done

    def _on_ready(self, events: int) -> None:
        if has_ended(events):
            self.stop()
            return
        while self._waiting:
            done = self._write(self._waiting[:_INPUT_CHUNK_BYTES])
            if done == 0:
                return
            del self._waiting[:done]
        self._loop.change(self._fd, 0)
        if self._ending:
            self.close()

    def end(self) -> None:
        """The host has no more: close once everything is written."""
        self._ending = True
        if not self._waiting:
            self.close()

    def stop(self) -> None:
        """Nobody reads this any more: tell the host, so that its sender stops too."""
        if not self.has_ended:
            self._link.send_frame(encode_frame(FrameKind.STOP, self._stream, self._session))
            self.close()

    def close(self) -> None:
        """Close the descriptor; later DATA is dropped."""
        if self.has_ended:
            return
        self.has_ended = True
        self._loop.forget(self._fd)
        self._waiting.clear()
        os.close(self._fd)
