"""Frames: the unit both links speak (docs/protocol.md §2). Pure: bytes in, frames out.

A frame is a 12-byte little-endian header and a payload:

    u32 length    bytes of payload that follow the header
    u8  kind      a FrameKind
    u8  stream    a StreamId for DATA, CREDIT, EOF and STOP; a Role for MESSAGE; else 0
    u16 reserved  0
    u32 channel   the session for stream frames; the request number for MESSAGE; else 0
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from wire.errors import FrameError

HEADER = struct.Struct("<IBBHI")
HEADER_BYTES = HEADER.size
MAX_DATA_BYTES = 64 * 1024
"""Largest payload of a DATA frame."""
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Largest payload of a MESSAGE frame: room for a full Linux argument list (ARG_MAX, 2 MiB)."""

MAX_CHANNEL = 2**32 - 1
FIRST_AGENT_SESSION = 2**31
"""Sessions on the service-agent link are the service's below this, the agent's from here on."""

CREDIT_PAYLOAD = struct.Struct("<I")


class FrameKind:
    """What a frame's payload is (docs/protocol.md §2). Plain integers: compared per frame."""

    MESSAGE = 1
    """A JSON message; `stream` says its Role, `channel` its request number."""
    DATA = 2
    """Bytes of one stream of a session."""
    CREDIT = 3
    """u32: the receiver of a stream allows its sender that many more bytes."""
    EOF = 4
    """The sender of a stream has no more bytes. No payload."""
    STOP = 5
    """The receiver of a stream wants no more of it (a closed pipe). No payload."""
    RESET = 6
    """The host gives up on the link's state: the agent waits for a new preamble. No payload."""


class StreamId:
    """The byte streams of a session, numbered as the file descriptors they become."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    TERMINAL = 3
    """The session's terminal, both ways: input from the client, output from the agent."""


class Role:
    """What a MESSAGE frame is to its receiver."""

    REQUEST = 0
    REPLY = 1
    EVENT = 2


_STREAM_KINDS = (FrameKind.DATA, FrameKind.CREDIT, FrameKind.EOF, FrameKind.STOP)
_PAYLOAD_LIMITS = {
    FrameKind.MESSAGE: (2, MAX_MESSAGE_BYTES),
    FrameKind.DATA: (1, MAX_DATA_BYTES),
    FrameKind.CREDIT: (CREDIT_PAYLOAD.size, CREDIT_PAYLOAD.size),
    FrameKind.EOF: (0, 0),
    FrameKind.STOP: (0, 0),
    FrameKind.RESET: (0, 0),
}
"""FrameKind to the smallest and largest payload it may have, in bytes."""


class Frame:
    """One decoded frame. `payload` is a view that is valid only until more input is received."""

    __slots__ = ("channel", "kind", "payload", "stream")

    def __init__(self, kind: int, stream: int, channel: int, payload: memoryview) -> None:
        self.kind = kind
        self.stream = stream
        self.channel = channel
        self.payload = payload

    def __repr__(self) -> str:
        return (
            f"Frame(kind={self.kind}, stream={self.stream}, channel={self.channel}, "
            f"payload=<{len(self.payload)} bytes>)"
        )


def encode_frame(kind: int, stream: int, channel: int, payload: bytes | memoryview = b"") -> bytes:
    """The bytes of one frame. Raises FrameError where a receiver would refuse it."""
    _check_header(len(payload), kind, stream, 0, channel)
    return HEADER.pack(len(payload), kind, stream, 0, channel) + bytes(payload)


def encode_credit(stream: int, channel: int, count: int) -> bytes:
    """A CREDIT frame that allows `count` more bytes."""
    return encode_frame(FrameKind.CREDIT, stream, channel, CREDIT_PAYLOAD.pack(count))


def decode_credit(frame: Frame) -> int:
    """The byte count of a CREDIT frame."""
    count: int = CREDIT_PAYLOAD.unpack(frame.payload)[0]
    return count


def _check_header(length: int, kind: int, stream: int, reserved: int, channel: int) -> None:
    limits = _PAYLOAD_LIMITS.get(kind)
    if limits is None:
        raise FrameError(f"unknown frame kind {kind}")
    if not limits[0] <= length <= limits[1]:
        raise FrameError(f"frame kind {kind} has a payload of {length} bytes, not {limits}")
    if reserved or stream > StreamId.TERMINAL:
        raise FrameError(f"frame kind {kind} has stream {stream}, reserved {reserved}")
    first_channel = 1 if kind in _STREAM_KINDS else 0
    if not first_channel <= channel <= MAX_CHANNEL:
        raise FrameError(f"frame kind {kind} has channel {channel}")
    if kind == FrameKind.RESET and (stream or channel):
        raise FrameError(f"a reset of stream {stream}, channel {channel}")


class FrameReader:
    """Turns a byte stream into frames, in one reused buffer.

    The buffer is reused because the agent runs under emulation, where a fresh buffer per read
    costs more than the read. Use: receive into `space()`, tell `received(n)`, iterate `frames()`.
    """

    def __init__(self, capacity: int = 256 * 1024) -> None:
        self._capacity = max(capacity, HEADER_BYTES + MAX_DATA_BYTES)
        self._buffer = bytearray(self._capacity)
        self._start = 0
        self._end = 0

    def space(self) -> memoryview:
        """Where to receive next; never empty. Invalidates the payloads of earlier frames."""
        if self._start == self._end:
            self._start = self._end = 0
            if len(self._buffer) > self._capacity:  # a large message is over
                self._buffer = bytearray(self._capacity)
        elif self._end == len(self._buffer) or self._needed() > len(self._buffer) - self._start:
            pending = self._buffer[self._start : self._end]
            if self._needed() > len(self._buffer):
                # Only a MESSAGE is larger than the buffer, and its length was checked already.
                self._buffer = bytearray(self._needed())
            self._buffer[: len(pending)] = pending
            self._start, self._end = 0, len(pending)
        return memoryview(self._buffer)[self._end :]

    def _needed(self) -> int:
        """Bytes the frame at the start takes, as far as its header is known."""
        if self._end - self._start < HEADER_BYTES:
            return HEADER_BYTES
        length: int = HEADER.unpack_from(self._buffer, self._start)[0]
        return HEADER_BYTES + length

    def received(self, count: int) -> None:
        """`count` bytes have been written to the last `space()`."""
        self._end += count

    def feed(self, data: bytes | memoryview) -> Iterator[Frame]:
        """Frames completed by `data`; for callers that are handed bytes of their own."""
        view = memoryview(data)
        while view:
            space = self.space()
            count = min(len(space), len(view))
            space[:count] = view[:count]
            self.received(count)
            view = view[count:]
            yield from self.frames()

    def frames(self) -> Iterator[Frame]:
        """The complete frames received so far.

        Raises FrameError on the first header that breaks the rules, before its payload is awaited.
        """
        view = memoryview(self._buffer)
        while self._end - self._start >= HEADER_BYTES:
            length, kind, stream, reserved, channel = HEADER.unpack_from(view, self._start)
            _check_header(length, kind, stream, reserved, channel)
            body = self._start + HEADER_BYTES
            if self._end - body < length:
                return
            self._start = body + length
            yield Frame(kind, stream, channel, view[body : self._start])

    @property
    def is_between_frames(self) -> bool:
        """Whether no part of a frame is waiting for its rest."""
        return self._start == self._end
