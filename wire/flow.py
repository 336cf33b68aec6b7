"""Credit-based flow control of one stream in one direction (docs/protocol.md §4). Pure.

A sender may have at most the bytes under way that its receiver has granted; a receiver grants
more as its own consumer takes them. So a slow reader stalls its own stream and nothing else, and
what a stream can hold in memory is WINDOW_BYTES, wherever it is held.
"""

from __future__ import annotations

from wire.errors import FlowError

WINDOW_BYTES = 1024 * 1024
"""Credit every stream starts with, in bytes, and the most that it ever has.

A receiver only gives back what it has taken, so more would mean memory that nobody has promised.
"""


class SendWindow:
    """The sender's side: how many bytes may still be sent."""

    __slots__ = ("available",)

    def __init__(self, initial: int = WINDOW_BYTES) -> None:
        self.available = initial

    def take(self, wanted: int) -> int:
        """Reserve up to `wanted` bytes; returns how many may be sent now (0: wait for credit)."""
        count = min(wanted, self.available)
        self.available -= count
        return count

    def grant(self, count: int) -> None:
        """The receiver allows `count` more bytes. Raises FlowError past WINDOW_BYTES."""
        if count > WINDOW_BYTES - self.available:
            raise FlowError(f"credit for {count} bytes was granted on top of {self.available}")
        self.available += count


class ReceiveWindow:
    """The receiver's side: what the peer may still send, and when to allow more."""

    __slots__ = ("_consumed", "_open")

    def __init__(self, initial: int = WINDOW_BYTES) -> None:
        self._open = initial
        self._consumed = 0

    def receive(self, count: int) -> None:
        """`count` bytes have arrived. Raises FlowError if the peer had no credit for them."""
        if count > self._open:
            raise FlowError(f"{count} bytes arrived on a stream with credit for {self._open}")
        self._open -= count

    def consume(self, count: int) -> int:
        """`count` bytes have been passed on; returns the credit to grant now (0: none yet).

        Credit is granted in large steps: one CREDIT frame for many DATA frames.
        """
        self._consumed += count
        if self._consumed < WINDOW_BYTES // 4:
            return 0
        credit, self._consumed = self._consumed, 0
        self._open += credit
        return credit
