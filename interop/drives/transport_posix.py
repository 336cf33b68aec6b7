"""Where requests come from and replies go: /dev/fuse itself, or a stream of the same messages."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Sequence
from struct import Struct
from typing import Protocol

from interop.drives.errors import ProtocolError
from interop.drives.protocol import HEADER_SIZE

assert sys.platform != "win32"

_LENGTH = Struct("<I")

Buffer = bytes | memoryview


class Transport(Protocol):
    """Carries whole messages; send() may be called by any thread, receive() by one."""

    def receive(self) -> memoryview | None:
        """The next request, good until the next call; None at the end. Raises OSError."""

    def send(self, parts: Sequence[Buffer]) -> None:
        """Send one message, in parts. Raises OSError."""


class DeviceTransport:
    """/dev/fuse, open as `fd`, which stays the caller's; requests of up to `size` bytes."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._buffer = memoryview(bytearray(size))

    def receive(self) -> memoryview | None:
        """The next request; None once the file system is not mounted any more."""
        while True:
            try:
                return self._buffer[: os.readv(self._fd, [self._buffer])]
            except OSError as error:
                if error.errno in (errno.ENODEV, errno.ECONNABORTED):
                    return None
                # ENOENT: the request was interrupted before it could be read (fuse(4)).
                if error.errno not in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    raise

    def send(self, parts: Sequence[Buffer]) -> None:
        """One writev(2) is one message; a request that was interrupted needs no reply."""
        try:
            os.writev(self._fd, parts)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


class StreamTransport:
    """A pipe, socket or port with messages end to end, each with its length in its first 4 bytes.

    `read_fd` and `write_fd` stay the caller's. Raises ProtocolError for a length beyond `size`.
    """

    def __init__(self, read_fd: int, write_fd: int, size: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._buffer = memoryview(bytearray(size))
        self._start = 0
        self._end = 0
        self._sending = threading.Lock()

    def prefill(self, received: bytes) -> None:
        """Begin with `received`, at most `size` bytes, which were read from the stream before."""
        self._buffer[: len(received)] = received
        self._end = len(received)

    def receive(self) -> memoryview | None:
        """The next request; None where the stream ends between two of them."""
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
            got = os.readv(self._read_fd, [self._buffer[self._end :]])
            if not got:
                if self._end == self._start:
                    return False
                raise ProtocolError("the stream ended within a request")
            self._end += got
        return True

    def send(self, parts: Sequence[Buffer]) -> None:
        """All of the message, before any other thread's."""
        with self._sending:
            rest = [memoryview(part) for part in parts]
            while rest:
                done = os.writev(self._write_fd, rest)
                while rest and done >= len(rest[0]):
                    done -= len(rest.pop(0))
                if rest:
                    rest[0] = rest[0][done:]
