"""Where requests come from on a Windows host, and replies go: a socket with messages end to end."""

from __future__ import annotations

import select
import socket
import sys
import threading
from collections.abc import Sequence

from interop.drives.messagestream import NOTHING, Buffer, MessageStream

assert sys.platform == "win32"


class SocketTransport(MessageStream):
    """Messages over `sock`, which stays the caller's."""

    def __init__(self, sock: socket.socket, size: int) -> None:
        super().__init__(size)
        self._socket = sock
        self._sending = threading.Lock()

    def attend(self, fd: int) -> None:
        """Nothing else is waited for: what the watcher has is looked at by the clock."""

    def receive(self, timeout_s: float | None = None) -> memoryview | None:
        """The next request; None where the stream ends between two of them.

        NOTHING where none has come for `timeout_s`.
        """
        if self._end == self._start and timeout_s is not None:
            ready, _, _ = select.select([self._socket], [], [], max(0.0, timeout_s))
            if not ready:
                return NOTHING
        return self._next()

    def _read_into(self, room: memoryview) -> int:
        return self._socket.recv_into(room)

    def send(self, parts: Sequence[Buffer]) -> None:
        """All of the message, before any other thread's."""
        with self._sending:
            self._socket.sendall(b"".join(parts))
