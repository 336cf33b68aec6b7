"""A channel over a socket pair: private from birth, nothing to guess, name or clean up."""

from __future__ import annotations

import socket


class SocketPairChannel:
    """Fulfils `vm.channels.Channel` on Linux and macOS."""

    def __init__(self) -> None:
        self._ours: socket.socket | None
        self._theirs: socket.socket | None
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._number = self._theirs.fileno()

    @property
    def backend(self) -> str:
        """QEMU's socket chardev over a descriptor it inherits (qemu-options.hx, `fd=`)."""
        return f"socket,fd={self._number}"

    @property
    def inherited_fds(self) -> tuple[int, ...]:
        """QEMU's end of the pair."""
        return (self._number,)

    def spawned(self) -> None:
        """Close our copy of QEMU's end; without that its death would not be seen as EOF."""
        if self._theirs is not None:
            self._theirs.close()
            self._theirs = None

    async def connected(self, pid: int, deadline_s: float) -> socket.socket:
        """Our end; it was connected all along, so neither argument is needed here."""
        if self._ours is None:
            raise ValueError("the channel's socket was taken already")
        ours, self._ours = self._ours, None
        return ours

    def close(self) -> None:
        """Close both ends, as far as they are still ours."""
        self.spawned()
        if self._ours is not None:
            self._ours.close()
            self._ours = None
