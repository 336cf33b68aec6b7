"""Standard streams and the terminal of a running command, joined to session 1.

One thread per stream with blocking reads and writes: the same on every system, and a slow
reader of one stream stalls no other. Memory is bounded by the streams' windows.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Callable

from shell.connection import Connection
from shell.failure import ClientError
from wire.flow import WINDOW_BYTES, ReceiveWindow
from wire.frame import MAX_DATA_BYTES, FrameKind, encode_credit, encode_frame

SESSION = 1


class Writer:
    """Writes an output stream of the session to one of our descriptors."""

    def __init__(self, connection: Connection, stream: int, fd: int) -> None:
        self._connection = connection
        self._stream = stream
        self._fd = fd
        self._window = ReceiveWindow()
        self._queue: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._ends = False
        self.problem: OSError | None = None
        """Why not everything could be written; a reader that has gone away is no problem."""

    def receive(self, data: memoryview) -> None:
        """DATA has arrived. Raises FlowError past the window."""
        self._window.receive(len(data))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._queue.put(bytes(data))

    def end(self) -> None:
        """The Linux side has closed this stream: our reader need not wait for the command's end."""
        if self._thread is None:
            discard(self._fd)
        else:
            self._ends = True
            self._queue.put(b"")

    def finish(self) -> None:
        """Wait until everything received is written."""
        if self._thread is not None:
            self._queue.put(b"")
            self._thread.join()

    def _run(self) -> None:
        while data := self._queue.get():
            if self._closed:
                continue
            try:
                write_all(self._fd, data)
                credit = self._window.consume(len(data))
                if credit:
                    self._connection.send_frame(encode_credit(self._stream, SESSION, credit))
            except (OSError, ClientError) as error:
                # EPIPE: our reader is gone, so the Linux side must see a closed pipe as well.
                if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                    self.problem = error
                self._closed = True
                self._stop_sender()
        if self._ends:
            discard(self._fd)

    def _stop_sender(self) -> None:
        with contextlib.suppress(ClientError):
            self._connection.send_frame(encode_frame(FrameKind.STOP, self._stream, SESSION))


class Reader:
    """Sends one of our descriptors as an input stream of the session, then EOF."""

    def __init__(self, connection: Connection, stream: int, read: Callable[[int], bytes]) -> None:
        """`read(limit)` blocks, returns b"" at the end, and may raise OSError."""
        self._connection = connection
        self._stream = stream
        self._read = read
        self._available = WINDOW_BYTES
        self._changed = threading.Condition()
        self._stopped = False
        threading.Thread(target=self._run, daemon=True).start()

    def grant(self, count: int) -> None:
        """The agent allows `count` more bytes."""
        with self._changed:
            self._available += count
            self._changed.notify()

    def stop(self) -> None:
        """The Linux side reads no more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _run(self) -> None:
        try:
            while limit := self._wait_credit():
                data = self._read(limit)
                if not data:
                    break
                with self._changed:
                    self._available -= len(data)
                if self._stopped:
                    return
                self._connection.send_frame(
                    encode_frame(FrameKind.DATA, self._stream, SESSION, data)
                )
            if not self._stopped:
                self._connection.send_frame(encode_frame(FrameKind.EOF, self._stream, SESSION))
        except (OSError, ClientError):
            return  # the main thread notices a lost connection, and reports it

    def _wait_credit(self) -> int:
        """Bytes that may be read now; 0 when nobody wants more."""
        with self._changed:
            while self._available == 0 and not self._stopped:
                self._changed.wait()
            return 0 if self._stopped else min(self._available, MAX_DATA_BYTES)


def discard(fd: int) -> None:
    """Let go of a pipe or file of our caller's, but keep its number from being used again."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, fd)
    os.close(null)


def read_fd(fd: int) -> Callable[[int], bytes]:
    """A Reader's `read` for a descriptor; EIO (a terminal that is gone) counts as the end."""

    def read(limit: int) -> bytes:
        try:
            return os.read(fd, limit)
        except OSError:
            return b""

    return read


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, whatever the descriptor's mode. Raises OSError."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            _wait_writable(fd)


def _wait_writable(fd: int) -> None:
    """Somebody else has made our descriptor non-blocking."""
    if sys.platform == "win32":
        raise OSError("the output accepts no data")
    import select

    select.select([], [fd], [])
