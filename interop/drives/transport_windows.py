"""Where requests come from on a Windows host, and replies go: a socket with messages end to end."""

from __future__ import annotations

import select
import socket
import sys
import threading
from collections.abc import Sequence
from struct import Struct

from interop.drives.errors import ProtocolError
from interop.drives.protocol import HEADER_SIZE

assert sys.platform == "win32"

_LENGTH = Struct("<I")
_MOST_AT_ONCE = 512
"""Notifications that are sent together."""

Buffer = bytes | memoryview

NOTHING = memoryview(b"")
"""What receive() returns where no request came: time is up."""


class SocketTransport:
    """Messages over `sock`, which stays the caller's, each with its length in its first 4 bytes.

    Raises ProtocolError for a length beyond `size`.
    """

    def __init__(self, sock: socket.socket, size: int) -> None:
        self._socket = sock
        self._buffer = memoryview(bytearray(size))
        self._start = 0
        self._end = 0
        self._sending = threading.Lock()

    def attend(self, fd: int) -> None:
        """Nothing else is waited for: what the watcher has is looked at by the clock."""

    def prefill(self, received: bytes) -> None:
        """Begin with `received`, at most `size` bytes, which were read from the socket before."""
        self._buffer[: len(received)] = received
        self._end = len(received)

    def receive(self, timeout_s: float | None = None) -> memoryview | None:
        """The next request, good until the next call; None where the stream ends between two.

        NOTHING where none has come for `timeout_s`.
        """
        if self._end == self._start and timeout_s is not None:
            ready, _, _ = select.select([self._socket], [], [], max(0.0, timeout_s))
            if not ready:
                return NOTHING
        if not self._fill(_LENGTH.size):
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, self._start)
        if not HEADER_SIZE <= length <= len(self._buffer):
            raise ProtocolError(f"a request of {length} bytes")
        if not self._fill(length):
            raise ProtocolError("the stream ended within a request")
        request = self._buffer[self._start : self._start + length]
        self._start += length
        return request

    def _fill(self, count: int) -> bool:
        """Have `count` bytes from the start on; False where the stream ends before the first."""
        if self._start + count > len(self._buffer):
            rest = bytes(self._buffer[self._start : self._end])
            self._buffer[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        while self._end - self._start < count:
            got = self._socket.recv_into(self._buffer[self._end :])
            if not got:
                if self._end == self._start:
                    return False
                raise ProtocolError("the stream ended within a request")
            self._end += got
        return True

    def notify(self, messages: Sequence[bytes]) -> None:
        """Send notifications: what reads the other end passes them on without waiting."""
        for start in range(0, len(messages), _MOST_AT_ONCE):
            self.send([b"".join(messages[start : start + _MOST_AT_ONCE])])

    def send(self, parts: Sequence[Buffer]) -> None:
        """All of the message, before any other thread's."""
        with self._sending:
            self._socket.sendall(b"".join(parts))
