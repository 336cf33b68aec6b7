"""The messages of docs/protocol-helper.md, their encoding and decoding. Pure.

The only declaration of that protocol in Python; in C it is guest/native/helper_protocol.h.
Strings are bytes without a NUL, as the kernel has them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum

from guest.agent.errors import AgentError

HEAD = struct.Struct("<IB3s")
"""Head of every message (§2): body length, op, three zero bytes."""
ZERO = b"\0\0\0"
MAX_BODY_BYTES = 256 * 1024
REPLY_BIT = 0x80
REFUSED = 0xFF
"""The reply to a request of any op that was not carried out (§3)."""

_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")


class Op(IntEnum):
    """Operations (§5)."""

    LAUNCH = 1
    MOUNT = 2


class LaunchMessage(IntEnum):
    """What follows a LAUNCH (§6): from the launcher, and to it."""

    RESIZE = 0x40
    SIGNAL = 0x41
    STARTED = 0xC0
    EXITED = 0xC1


LAUNCH_CONSOLE = 1
"""Flag of LAUNCH: the program gets a console."""
LAUNCH_GUI = 1
"""Flag of STARTED: the program has windows of its own."""
LAUNCH_FDS = 3
LAUNCH_MAX_PROGRAM_BYTES = 512 * 1024 * 1024


class HelperProtocolError(AgentError):
    """A program sent what docs/protocol-helper.md does not allow: its connection is closed."""


def encode_message(op: int, body: bytes = b"") -> bytes:
    """A message with its head."""
    return HEAD.pack(len(body), op, ZERO) + body


def decode_head(head: bytes | bytearray) -> tuple[int, int]:
    """The op of a message and the length of its body. Raises HelperProtocolError."""
    length, op, zero = HEAD.unpack(head)
    if length > MAX_BODY_BYTES:
        raise HelperProtocolError(f"a message of {length} bytes")
    if zero != ZERO:
        raise HelperProtocolError("padding that is not zero")
    return op, length


def encode_refusal(number: int, message: str, hint: str = "") -> bytes:
    """The body of REFUSED: why a request was not carried out, `number` being an errno."""
    return _I32.pack(number) + string(message) + string(hint)


def u32(value: int) -> bytes:
    """An unsigned number of a body."""
    return _U32.pack(value)


def i32(value: int) -> bytes:
    """A signed number of a body."""
    return _I32.pack(value)


def string(text: str | bytes) -> bytes:
    """A string of a body. What follows a NUL in it is left out: no string here can hold one."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return data.partition(b"\0")[0] + b"\0"


def strings(texts: Iterable[str | bytes]) -> bytes:
    """A counted list of strings."""
    encoded = [string(text) for text in texts]
    return _U32.pack(len(encoded)) + b"".join(encoded)


class Body:
    """A message's body, read from its start; every bound is checked.

    Each method raises HelperProtocolError where the bytes that are there do not allow it.
    """

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def u32(self) -> int:
        """An unsigned number."""
        return int(self._number(_U32))

    def i32(self) -> int:
        """A signed number."""
        return int(self._number(_I32))

    def _number(self, kind: struct.Struct) -> int:
        if len(self._data) - self._at < kind.size:
            raise HelperProtocolError("a message ends within a number")
        (value,) = kind.unpack_from(self._data, self._at)
        self._at += kind.size
        return int(value)

    def string(self) -> str:
        """A string; bytes that are no UTF-8 are kept as surrogateescape."""
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise HelperProtocolError("a string without its end")
        text = self._data[self._at : end]
        self._at = end + 1
        return text.decode("utf-8", "surrogateescape")

    def strings(self) -> list[str]:
        """A counted list of strings."""
        count = self.u32()
        if count > len(self._data) - self._at:
            raise HelperProtocolError(f"{count} strings in too few bytes")
        return [self.string() for _ in range(count)]

    def finish(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._data):
            raise HelperProtocolError("bytes are left over")
