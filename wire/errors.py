"""Errors of the wire layer: what can be wrong with bytes that a peer has sent."""

from __future__ import annotations


class WireError(Exception):
    """Root of everything that decoding a peer's bytes can raise."""


class FrameError(WireError):
    """A frame breaks docs/protocol.md §2; the connection it came on cannot be trusted further."""


class MessageError(WireError):
    """A message's payload is not a known, well-typed message (docs/protocol.md §3)."""


class FlowError(WireError):
    """A peer sent more stream bytes than it had credit for (docs/protocol.md §4)."""
