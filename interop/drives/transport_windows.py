"""Where requests come from on a Windows host, and replies go: a socket with messages end to end."""

from __future__ import annotations

import select
import socket
import sys
import threading
from collections.abc import Sequence

from interop.drives.messagestream import NOTHING, Buffer, MessageStream

assert sys.platform == "win32"

_MOST_UNPOLLED = 64
"""Requests that are there already are taken without a look at what else there is, so many times."""


class SocketTransport(MessageStream):
    """Messages over `sock`, which stays the caller's."""

    def __init__(self, sock: socket.socket, size: int) -> None:
        super().__init__(size)
        self._socket = sock
        self._sending = threading.Lock()
        self._attended: list[int] = []
        self._unpolled = 0

    def attend(self, fd: int) -> None:
        """Have receive() return when the socket `fd` is readable, too."""
        self._attended.append(fd)

    def receive(self, timeout_s: float | None = None) -> memoryview | None:
        """The next request; None where the stream ends between two of them.

        NOTHING where none has come for `timeout_s`, or something else wants a look.
        """
        if self._is_at_hand():
            self._unpolled += 1
            if self._attended and self._unpolled % _MOST_UNPOLLED == 0:
                return NOTHING
        elif timeout_s is not None or self._attended:
            wait_s = None if timeout_s is None else max(0.0, timeout_s)
            watched: list[socket.socket | int] = [self._socket, *self._attended]
            ready, _, _ = select.select(watched, [], [], wait_s)
            if self._socket not in ready:
                return NOTHING
        return self._next()

    def _read_into(self, room: memoryview) -> int:
        return self._socket.recv_into(room)

    def send(self, parts: Sequence[Buffer]) -> None:
        """All of the message, before any other thread's."""
        with self._sending:
            self._socket.sendall(b"".join(parts))
