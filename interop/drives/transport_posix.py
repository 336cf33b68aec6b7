"""Where requests come from and replies go: /dev/fuse itself, or a stream of the same messages."""

from __future__ import annotations

import errno
import os
import queue
import select
import sys
import threading
from collections.abc import Sequence
from typing import Protocol

from interop.drives.messagestream import NOTHING, Buffer, MessageStream

assert sys.platform == "linux"


class Transport(Protocol):
    """Carries whole messages; send() may be called by any thread, the others by one."""

    def attend(self, fd: int) -> None:
        """Have receive() return when `fd` is readable, too."""

    def receive(self, timeout_s: float | None = None) -> memoryview | None:
        """The next request, good until the next call; None at the end, or NOTHING.

        Waits for `timeout_s`, None for ever. Raises OSError.
        """

    def send(self, parts: Sequence[Buffer]) -> None:
        """Send one message, in parts. Raises OSError."""

    def notify(self, messages: Sequence[bytes]) -> None:
        """Send notifications, behind what was sent before and in order. Raises OSError."""


def _timeout_ms(timeout_s: float | None) -> int | None:
    return None if timeout_s is None else max(0, round(timeout_s * 1000))


class DeviceTransport:
    """/dev/fuse, open as `fd`, which stays the caller's; requests of up to `size` bytes.

    Notifications are written by a thread: while the kernel drops what one names it can wait for
    a request that receive()'s thread has yet to answer.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._buffer = memoryview(bytearray(size))
        self._poll: select.poll | None = None
        self._notifications: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._notifier: threading.Thread | None = None

    def attend(self, fd: int) -> None:
        """Have receive() return when `fd` is readable, too."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLIN)
        self._poll.register(fd, select.POLLIN)

    def receive(self, timeout_s: float | None = None) -> memoryview | None:
        """The next request; None once the file system is not mounted any more."""
        if self._poll is not None:
            ready = self._poll.poll(_timeout_ms(timeout_s))
            if all(fd != self._fd for fd, _ in ready):
                return NOTHING
        while True:
            try:
                return self._buffer[: os.readv(self._fd, [self._buffer])]
            except OSError as error:
                if error.errno in (errno.ENODEV, errno.ECONNABORTED):
                    return None
                # ENOENT: the request was interrupted before it could be read (fuse(4)).
                if error.errno not in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    raise

    def notify(self, messages: Sequence[bytes]) -> None:
        """Have notifications written, in order."""
        if self._notifier is None:
            self._notifier = threading.Thread(target=self._write_notifications, daemon=True)
            self._notifier.start()
        for message in messages:
            self._notifications.put(message)

    def _write_notifications(self) -> None:
        while True:
            try:
                os.write(self._fd, self._notifications.get())
            except OSError as error:
                if error.errno in (errno.ENODEV, errno.EBADF):
                    return
                # Anything else: the kernel knows nothing of what was named, which is as well.

    def send(self, parts: Sequence[Buffer]) -> None:
        """One writev(2) is one message; a request that was interrupted needs no reply."""
        try:
            os.writev(self._fd, parts)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


class StreamTransport(MessageStream):
    """Messages over a pipe, socket or port: `read_fd` and `write_fd`, which stay the caller's."""

    def __init__(self, read_fd: int, write_fd: int, size: int) -> None:
        super().__init__(size)
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._sending = threading.Lock()
        self._poll: select.poll | None = None

    def attend(self, fd: int) -> None:
        """Have receive() return when `fd` is readable, too."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._read_fd, select.POLLIN)
        self._poll.register(fd, select.POLLIN)

    @property
    def _attends(self) -> bool:
        return self._poll is not None

    def _wait(self, timeout_s: float | None) -> bool:
        if self._poll is None:
            return True  # reading waits
        ready = self._poll.poll(_timeout_ms(timeout_s))
        return any(fd == self._read_fd for fd, _ in ready)

    def _read_into(self, room: memoryview) -> int:
        return os.readv(self._read_fd, [room])

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
