"""The preamble that starts the service-agent link (docs/protocol.md §5). Pure.

A virtio-serial port outlives the agent that reads it, so a new agent (or a new service state)
may find the rest of an old frame in the pipe. Whenever the guest opens the port, the host sends
MAGIC and a fresh nonce; the agent throws away all before it and answers with ECHO and the same
nonce; the host throws away all before that. From there on there are only frames.
"""

from __future__ import annotations

MAGIC = b"\0isthmus-sync\0\xff\n"
ECHO = b"\0isthmus-here\0\xff\n"
NONCE_BYTES = 16


class PreambleScanner:
    """Finds `marker` + nonce in a byte stream that may begin with anything."""

    def __init__(self, marker: bytes, nonce: bytes | None = None) -> None:
        """Any nonce is accepted where `nonce` is None."""
        self._marker = marker if nonce is None else marker + nonce
        self._extra = NONCE_BYTES if nonce is None else 0
        self._pending = b""
        self.nonce = nonce

    def feed(self, data: bytes | memoryview) -> bytes | None:
        """The bytes that follow the preamble once it is complete; None until then.

        Memory is bounded by what was fed last plus the preamble's own length.
        """
        self._pending += bytes(data)
        at = self._pending.find(self._marker)
        if at < 0:
            self._pending = self._pending[-(len(self._marker) - 1) :]
            return None
        end = at + len(self._marker)
        if len(self._pending) < end + self._extra:
            self._pending = self._pending[at:]
            return None
        if self.nonce is None:
            self.nonce = self._pending[end : end + self._extra]
        return self._pending[end + self._extra :]
