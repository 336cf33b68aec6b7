"""The agent's parts on this host: a real loop and link, and the host's end of that link."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from guest.agent.link import Link
from guest.agent.loop import Loop
from tests.unit.wire.strategies import PlainFrame, plain
from wire.codec import Message, decode_message, encode_message
from wire.flow import WINDOW_BYTES
from wire.frame import FrameKind, FrameReader, Role, encode_credit, encode_frame
from wire.preamble import ECHO, MAGIC, NONCE_BYTES, PreambleScanner

DEADLINE_S = 20.0
"""For what takes milliseconds: only a hang gets there."""


def run_until(loop: Loop, condition: Callable[[], bool]) -> None:
    """Run the loop until something has come about."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        loop.call_later(0.002, loop.stop)
        loop.run()


def close_loop(loop: Loop) -> None:
    """Give a loop's own descriptors up; the agent's loop never ends."""
    loop._epoll.close()
    os.close(loop._wakeup)


def open_descriptors() -> set[str]:
    """The numbers of this process's descriptors, to see that none is left behind."""
    return set(os.listdir("/proc/self/fd"))


class Host:
    """The host's end of a link, and the port as the guest's kernel shows it."""

    def __init__(self) -> None:
        self.socket, self._guest = socket.socketpair()
        self.socket.setblocking(False)
        self._guest.setblocking(False)
        self._reader = FrameReader()
        self._scanner: PreambleScanner | None = None
        self.nonce = b""
        self.opened = 0
        self.frames: list[PlainFrame] = []
        self.junk = b""
        """What came before the agent had answered the preamble."""

    def open_port(self) -> int:
        """What the agent's Link calls to open its port."""
        self.opened += 1
        return os.dup(self._guest.fileno())

    def close(self) -> None:
        self.socket.close()
        self._guest.close()

    def shrink(self) -> None:
        """Make the port hold little, so that it is soon full."""
        for end in (self.socket, self._guest):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def greet(self) -> None:
        """Send a preamble with a new nonce."""
        self.nonce = os.urandom(NONCE_BYTES)
        self._scanner = PreambleScanner(ECHO, self.nonce)
        self._reader = FrameReader()
        self.send_raw(MAGIC + self.nonce)

    def send_raw(self, data: bytes) -> None:
        assert self.socket.send(data) == len(data)

    def send(self, kind: int, stream: int, channel: int, payload: bytes = b"") -> None:
        self.send_raw(encode_frame(kind, stream, channel, payload))

    def send_message(self, role: int, number: int, message: Message) -> None:
        self.send(FrameKind.MESSAGE, role, number, encode_message(message))

    def request(self, number: int, message: Message) -> None:
        self.send_message(Role.REQUEST, number, message)

    def grant(self, stream: int, session: int, count: int) -> None:
        self.send_raw(encode_credit(stream, session, count))

    def pump(self) -> None:
        """Take in what has come, at most a window at a time."""
        try:
            data = self.socket.recv(WINDOW_BYTES)
        except BlockingIOError:
            return
        if self._scanner is not None:
            rest = self._scanner.feed(data)
            if rest is None:
                self.junk += data
                return
            self._scanner = None
            data = rest
        self.frames += [plain(frame) for frame in self._reader.feed(data)]

    @property
    def is_synchronised(self) -> bool:
        self.pump()
        return self.nonce != b"" and self._scanner is None

    # -- what has come -------------------------------------------------------------------------

    def bytes_of(self, stream: int, session: int = 1) -> bytes:
        """All data of a stream so far."""
        self.pump()
        return b"".join(
            frame.payload
            for frame in self.frames
            if (frame.kind, frame.stream, frame.channel) == (FrameKind.DATA, stream, session)
        )

    def has(self, kind: int, stream: int, session: int = 1) -> bool:
        """Whether a frame without content has come."""
        self.pump()
        return any(
            (frame.kind, frame.stream, frame.channel) == (kind, stream, session)
            for frame in self.frames
        )

    def credit(self, stream: int, session: int = 1) -> int:
        """The sum of the credit granted for a stream."""
        self.pump()
        return sum(
            int.from_bytes(frame.payload, "little")
            for frame in self.frames
            if (frame.kind, frame.stream, frame.channel) == (FrameKind.CREDIT, stream, session)
        )

    def messages(self, role: int) -> list[tuple[int, Message]]:
        """The messages that came in a role, with their numbers."""
        self.pump()
        return [
            (frame.channel, decode_message(frame.payload))
            for frame in self.frames
            if frame.kind == FrameKind.MESSAGE and frame.stream == role
        ]

    def events(self) -> list[Message]:
        return [message for _, message in self.messages(Role.EVENT)]

    def reply(self, number: int) -> Message | None:
        """The reply to a request, once it has come."""
        found = [message for at, message in self.messages(Role.REPLY) if at == number]
        assert len(found) <= 1, "a request is answered once"
        return found[0] if found else None


class Linked:
    """A loop, a host and a link between them, in step."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.host = Host()
        self.received: list[PlainFrame] = []
        self.resets = 0
        self.gone = 0
        self.link = Link(
            self.loop, self.host.open_port, self.on_frame, self._on_reset, self._on_gone
        )

    def on_frame(self, frame: object) -> None:
        self.received.append(plain(frame))  # type: ignore[arg-type]

    def _on_reset(self) -> None:
        self.resets += 1

    def _on_gone(self) -> None:
        self.gone += 1

    def synchronise(self) -> None:
        """Greet the agent, and again whenever it opens its port, as the service does."""
        greeted = -1

        def is_synchronised() -> bool:
            nonlocal greeted
            if self.host.opened != greeted:
                greeted = self.host.opened
                self.host.greet()
            return self.host.is_synchronised

        self.run_until(is_synchronised)

    def run_until(self, condition: Callable[[], bool]) -> None:
        run_until(self.loop, condition)

    def settle(self) -> None:
        """Run until everything that is ready has been dealt with."""
        for _ in range(3):
            self.loop.post(self.loop.stop)
            self.loop.run()
            self.host.pump()

    def close(self) -> None:
        os.close(self.link._fd)
        close_loop(self.loop)
        self.host.close()
