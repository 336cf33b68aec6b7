"""A client of distro-init (docs/protocol-init.md), made for a selector loop."""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from collections.abc import Sequence

from guest.initprotocol import (
    FD_COUNTS,
    HEAD,
    MAX_BODY_BYTES,
    MAX_REPLY_BODY_BYTES,
    REPLY_BIT,
    ZERO,
    Bind,
    Done,
    Event,
    ExitEvent,
    InitError,
    InitProtocolError,
    InitRequestError,
    InitStartError,
    Kill,
    KillTarget,
    Op,
    Open,
    OpenReply,
    Request,
    Spawn,
    SpawnReply,
    SpawnStage,
    Stop,
    decode_event,
    encode_request,
    init_arguments,
    op_of,
    parse_ready,
)

__all__ = [
    "Bind",
    "Done",
    "Event",
    "ExitEvent",
    "InitClient",
    "InitClosedError",
    "InitError",
    "InitProtocolError",
    "InitRequestError",
    "InitStartError",
    "Kill",
    "KillTarget",
    "Op",
    "Open",
    "OpenReply",
    "Request",
    "Spawn",
    "SpawnReply",
    "SpawnStage",
    "Stop",
    "init_arguments",
    "parse_ready",
]

_FD = struct.Struct("i")
_CONTROL_BYTES = socket.CMSG_SPACE(_FD.size)  # type: ignore[attr-defined,unused-ignore]
_RECEIVE_FLAGS = socket.MSG_CMSG_CLOEXEC  # type: ignore[attr-defined,unused-ignore]
_TRUNCATED = socket.MSG_CTRUNC
_MAX_QUEUED_BYTES = 4 * MAX_BODY_BYTES
_MAX_EVENTS_AT_ONCE = 64
_CONNECT_TIMEOUT_S = 5


class InitClosedError(InitError, ConnectionError):
    """The init has closed the connection, or is dead. Requests without a reply may have run."""

    def __init__(self) -> None:
        super().__init__(
            "the distribution's init closed the connection",
            hint="Start the distribution again; the console log of the VM may say why it ended.",
        )


class _Outgoing:
    """A message that the socket has not taken whole, and its own copies of the descriptors."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.fds: list[int] = []

    def close_fds(self) -> None:
        while self.fds:
            os.close(self.fds.pop())


class InitClient:
    """One connection to an init, for a loop that watches `fileno()`.

    Watch for readability always (then call `on_readable`), for writability while `wants_write`
    (then call `on_writable`). Nothing but `connect` blocks. After any InitError but
    InitRequestError only `close` is left to do. Takes ownership of `connection`, a connected
    AF_UNIX stream socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._last_token = 0
        self._waiting: dict[int, Op] = {}
        self._outgoing: deque[_Outgoing] = deque()
        self._outgoing_bytes = 0
        self._incoming = bytearray()
        self._incoming_fds: tuple[int, ...] = ()

    @classmethod
    def connect(cls, path: str) -> InitClient:
        """Connect to an init's socket.

        Raises:
            OSError: nobody listens there; BlockingIOError: its backlog was full for 5 seconds.
        """
        connection = socket.socket(socket.AF_UNIX)  # type: ignore[attr-defined,unused-ignore]
        try:
            # Not settimeout(): a non-blocking connect does not wait for room in the backlog.
            timeout = struct.pack("ll", _CONNECT_TIMEOUT_S, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
            connection.connect(path)
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    def fileno(self) -> int:
        """Give the socket's descriptor; -1 once closed."""
        return self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        """True while a request waits for the socket to take it."""
        return bool(self._outgoing)

    def request(self, message: Request, fds: Sequence[int] = ()) -> int:
        """Send a request, or queue it; the descriptors stay the caller's and may be closed.

        Returns the token that its reply will carry.

        Raises:
            InitRequestError: see encode_request; or too much is queued for an init that does
                not read.
            InitClosedError: the connection is gone.
            OSError: there is no descriptor left for copies of `fds`.
        """
        op = op_of(message)
        if len(fds) != FD_COUNTS[op]:
            raise ValueError(f"{op.name} takes {FD_COUNTS[op]} descriptors, not {len(fds)}")
        token = self._next_token()
        data = encode_request(message, token)
        if self._outgoing_bytes + len(data) > _MAX_QUEUED_BYTES:
            raise InitRequestError("the distribution's init does not read its requests")
        outgoing = _Outgoing(memoryview(data))
        try:
            for fd in fds:
                outgoing.fds.append(os.dup(fd))
        except OSError:
            outgoing.close_fds()
            raise
        self._outgoing.append(outgoing)
        self._outgoing_bytes += len(data)
        self._last_token = token
        self._waiting[token] = op
        self.on_writable()
        return token

    def on_writable(self) -> None:
        """Send what is queued, as far as the socket takes it.

        Raises:
            InitClosedError: the connection is gone.
        """
        while self._outgoing:
            outgoing = self._outgoing[0]
            try:
                sent = self._send(outgoing)
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                raise InitClosedError from None
            # The descriptors went with the first byte.
            outgoing.close_fds()
            self._outgoing_bytes -= sent
            outgoing.data = outgoing.data[sent:]
            if not outgoing.data:
                self._outgoing.popleft()

    def on_readable(self) -> list[Event]:
        """Give what has come, in its order: at most 64 messages, none if there is no whole one.

        Raises:
            InitProtocolError: the init broke the protocol. What came before in this call is lost.
            InitClosedError: the connection is gone, and all that came before was given.
        """
        events: list[Event] = []
        try:
            while len(events) < _MAX_EVENTS_AT_ONCE:
                event = self._receive_event()
                if event is None:
                    break
                events.append(event)
        except InitClosedError:
            # The end of the stream stays readable: the next call reports it.
            if not events:
                raise
        except BaseException:
            for event in events:
                if isinstance(event, OpenReply) and event.fd >= 0:
                    os.close(event.fd)
            raise
        return events

    def close(self) -> None:
        """Close the connection: the init hangs up what it started for us. May be repeated."""
        self._socket.close()
        while self._outgoing:
            self._outgoing.popleft().close_fds()
        self._outgoing_bytes = 0
        _close_all(self._take_fds())

    def _next_token(self) -> int:
        """A number that is not 0, which events have, and that no unanswered request has."""
        token = self._last_token % 0xFFFFFFFF + 1
        while token in self._waiting:
            token = token % 0xFFFFFFFF + 1
        return token

    def _send(self, outgoing: _Outgoing) -> int:
        if not outgoing.fds:
            return self._socket.send(outgoing.data)
        return socket.send_fds(  # type: ignore[attr-defined,no-any-return,unused-ignore]
            self._socket, [outgoing.data], outgoing.fds
        )

    def _take_fds(self) -> tuple[int, ...]:
        fds, self._incoming_fds = self._incoming_fds, ()
        return fds

    def _receive_event(self) -> Event | None:
        """Read exactly one message, or nothing if it has not come whole yet.

        Descriptors belong to the message whose first byte they came with, and Linux ends a
        receive with them; so no receive may ask for bytes of two messages.
        """
        if not self._fill(HEAD.size):
            return None
        length, op, zero, token = HEAD.unpack_from(self._incoming)
        if length > MAX_REPLY_BODY_BYTES or zero != ZERO:
            raise InitProtocolError(f"head {bytes(self._incoming[: HEAD.size]).hex()}")
        if not self._fill(HEAD.size + length):
            return None
        body = bytes(self._incoming[HEAD.size :])
        self._incoming.clear()
        fds = self._take_fds()
        try:
            event = decode_event(op, token, body, fds)
            if op & REPLY_BIT and self._waiting.pop(token, None) != op ^ REPLY_BIT:
                raise InitProtocolError(f"op {op:#x} answers no request {token}")
        except InitProtocolError:
            _close_all(fds)
            raise
        return event

    def _fill(self, length: int) -> bool:
        """Receive up to `length` bytes of a message; False if they have not all come yet."""
        while len(self._incoming) < length:
            try:
                data, fds, truncated = self._receive(length - len(self._incoming))
            except BlockingIOError:
                return False
            except ConnectionResetError:
                raise InitClosedError from None
            if truncated or (fds and self._incoming):
                _close_all(fds)
                raise InitProtocolError("descriptors out of place, or too many")
            if not data:
                raise InitClosedError
            if fds:
                self._incoming_fds = tuple(fds)
            self._incoming += data
        return True

    def _receive(self, length: int) -> tuple[bytes, list[int], bool]:
        # Not socket.recv_fds: until Python 3.12 it drops the flags, and so close-on-exec.
        data, control, flags, _ = self._socket.recvmsg(  # type: ignore[attr-defined,unused-ignore]
            length, _CONTROL_BYTES, _RECEIVE_FLAGS
        )
        fds: list[int] = []
        for _level, _kind, carried in control:
            fds += struct.unpack(f"{len(carried) // _FD.size}i", carried)
        return data, fds, bool(flags & _TRUNCATED)


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
