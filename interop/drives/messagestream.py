"""Messages end to end in a stream, each with its length in its first 4 bytes: what a port carries.

How the stream is read and written is the host's (`transport_posix`, `transport_windows`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from struct import Struct

from interop.drives.errors import ProtocolError
from interop.drives.protocol import HEADER_SIZE

_LENGTH = Struct("<I")
_MOST_AT_ONCE = 512
"""Notifications that are sent together."""

_MOST_UNPOLLED = 64
"""Requests that are there already are taken without a look at what else there is, so many times."""

Buffer = bytes | memoryview

NOTHING = memoryview(b"")
"""What receive() returns where no request came: time is up, or something else wants a look."""


class MessageStream(ABC):
    """Takes messages of at most `size` bytes from a stream, and sends notifications on it."""

    def __init__(self, size: int) -> None:
        self._buffer = memoryview(bytearray(size))
        self._start = 0
        self._end = 0
        self._unpolled = 0

    @property
    @abstractmethod
    def _attends(self) -> bool:
        """Whether there is anything but the stream that receive() has to return for."""

    @abstractmethod
    def _wait(self, timeout_s: float | None) -> bool:
        """Wait for the stream, what else is attended to, or `timeout_s`; None: for ever.

        Returns whether it is the stream that can be read.
        """

    def receive(self, timeout_s: float | None = None) -> memoryview | None:
        """The next request; None where the stream ends between two of them.

        NOTHING where none has come for `timeout_s`, or something else wants a look. Raises
        ProtocolError, OSError.
        """
        if not self._is_at_hand():
            if not self._wait(timeout_s):
                return NOTHING
        elif self._attends:
            self._unpolled += 1
            if self._unpolled % _MOST_UNPOLLED == 0:
                return NOTHING
        return self._next()

    @abstractmethod
    def _read_into(self, room: memoryview) -> int:
        """Read some bytes of the stream, at least one; 0 at its end. Raises OSError."""

    @abstractmethod
    def send(self, parts: Sequence[Buffer]) -> None:
        """All of one message, before any other thread's. Raises OSError."""

    def prefill(self, received: bytes) -> None:
        """Begin with `received`, at most `size` bytes, which were read from the stream before."""
        self._buffer[: len(received)] = received
        self._end = len(received)

    def notify(self, messages: Sequence[bytes]) -> None:
        """Send notifications: what reads the other end passes them on without waiting."""
        for start in range(0, len(messages), _MOST_AT_ONCE):
            self.send([b"".join(messages[start : start + _MOST_AT_ONCE])])

    def _next(self) -> memoryview | None:
        """The next message, good until the next call; None where the stream ends between two.

        Raises ProtocolError for a length that no request has, or an end within one, and OSError.
        """
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

    def _is_at_hand(self) -> bool:
        """Whether all of the next message was read already."""
        there = self._end - self._start
        if there < _LENGTH.size:
            return False
        return bool(there >= _LENGTH.unpack_from(self._buffer, self._start)[0])

    def _fill(self, count: int) -> bool:
        """Have `count` bytes from the start on; False where the stream ends before the first."""
        if self._start + count > len(self._buffer):
            rest = bytes(self._buffer[self._start : self._end])
            self._buffer[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        while self._end - self._start < count:
            got = self._read_into(self._buffer[self._end :])
            if not got:
                if self._end == self._start:
                    return False
                raise ProtocolError("the stream ended within a request")
            self._end += got
        return True
