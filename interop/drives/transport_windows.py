"""Where requests come from on a Windows host, and replies go: a socket with messages end to end."""

from __future__ import annotations

import select
import socket
import sys
import threading
from collections.abc import Sequence

from interop.drives.messagestream import Buffer, MessageStream

assert sys.platform == "win32"


class SocketTransport(MessageStream):
    """Messages over `sock`, which stays the caller's."""

    def __init__(self, sock: socket.socket, size: int) -> None:
        super().__init__(size)
        self._socket = sock
        self._sending = threading.Lock()
        self._attended: list[int] = []

    def attend(self, fd: int) -> None:
        """Have receive() return when the socket `fd` is readable, too."""
        self._attended.append(fd)

    @property
    def _attends(self) -> bool:
        return bool(self._attended)

    def _wait(self, timeout_s: float | None) -> bool:
        if timeout_s is None and not self._attended:
            return True  # reading waits
        wait_s = None if timeout_s is None else max(0.0, timeout_s)
        watched: list[socket.socket | int] = [self._socket, *self._attended]
        ready, _, _ = select.select(watched, [], [], wait_s)
        return self._socket in ready

    def _read_into(self, room: memoryview) -> int:
        return self._socket.recv_into(room)

    def send(self, parts: Sequence[Buffer]) -> None:
        """All of the message, before any other thread's."""
        with self._sending:
            self._socket.sendall(b"".join(parts))
