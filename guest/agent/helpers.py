"""Programs in a distribution that ask the agent for something (docs/protocol-helper.md).

Each distribution has a socket of its own, so nothing a program says of itself is believed: the
socket tells the distribution, the kernel who asks. Everything
here runs on the loop's thread and never blocks: whoever does not read what it is sent, sends
nonsense or nothing, loses its connection, and nobody else notices.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence

from guest.agent.distributions import SOCKET_NAME, Distribution, helper_directory
from guest.agent.errors import AgentError
from guest.agent.loop import READABLE, Loop
from guest.helperprotocol import (
    HEAD,
    REFUSED,
    HelperProtocolError,
    decode_head,
    encode_message,
    encode_refusal,
)

MAX_CONNECTIONS = 256
"""Per distribution. With bodies of at most 256 KiB they hold 64 MiB, if all mean harm."""
REQUEST_TIMEOUT_S = 10.0
_BACKLOG = 128
_ACCEPTS_PER_ROUND = 16
_PAUSE_S = 0.1
"""When no connection can be accepted for want of descriptors; those that wait keep waiting."""
_CREDENTIALS = struct.Struct("iII")
"""struct ucred (unix(7)): pid, uid, gid."""
_MAX_DESCRIPTORS = 8
_CONTROL_BYTES = socket.CMSG_SPACE(_MAX_DESCRIPTORS * 4)

Handler = Callable[["Call", bytes], None]
"""Takes a request: the call it came on and its body. What it raises is the caller's refusal."""


class Call:
    """One connection: a request from a program, and what is said about it until it is closed.

    `pid` is the program's as the agent sees it; by the time it is used it may be another's.
    """

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        distribution: Distribution,
        on_request: Callable[[Call, int, bytes], None],
        on_closed: Callable[[Call], None],
    ) -> None:
        self._loop = loop
        self._socket = connection
        self._on_request = on_request
        self._on_closed = on_closed
        self._received = bytearray()
        self._wanted = HEAD.size
        self._op: int | None = None
        self._has_asked = False
        self.distribution = distribution
        credentials = connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
        self.pid, self.uid, self.gid = _CREDENTIALS.unpack(credentials)
        self.op = 0
        """Of the request, once there is one."""
        self.on_message: Callable[[int, bytes], None] | None = None
        """Given the op and body of what comes after the request; None: nothing may."""
        self.on_close: Callable[[], None] = lambda: None
        """Told once that the program has gone, or has been cut off."""
        self.is_open = True
        loop.watch(connection.fileno(), READABLE, self._on_ready)
        loop.call_later(REQUEST_TIMEOUT_S, self._on_deadline)

    def send(self, op: int, body: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send a message, with copies of `fds`; nothing happens on a closed connection.

        The program must read: what its socket has no room for costs it the connection.
        """
        if not self.is_open:
            return
        message = encode_message(op, body)
        try:
            if socket.send_fds(self._socket, [message], list(fds)) == len(message):
                return
        except OSError:
            pass  # EAGAIN, EPIPE: it does not read, or is gone
        self.close()

    def finish(self, op: int, body: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send the last message and close."""
        self.send(op, body, fds)
        self.close()

    def refuse(self, number: int, message: str, hint: str = "") -> None:
        """Say that the request is not carried out, and why; `number` is an errno."""
        self.finish(REFUSED, encode_refusal(number, message, hint))

    def close(self) -> None:
        """Close the connection; `on_close` is told."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.forget(self._socket.fileno())
        self._socket.close()
        self._on_closed(self)
        self.on_close()

    def _on_deadline(self) -> None:
        if not self._has_asked:
            self.close()

    def _on_ready(self, _events: int) -> None:
        try:
            self._receive()
        except (HelperProtocolError, OSError) as error:
            if isinstance(error, HelperProtocolError):
                who = f"{self.distribution.name}: pid {self.pid}"
                print(f"agent: {who}: bad request: {error.message}", file=sys.stderr)
            self.close()

    def _receive(self) -> None:
        """Take at most the rest of one message in; the loop comes back for more."""
        wanted = self._wanted - len(self._received)
        try:
            data, control, flags, _ = self._socket.recvmsg(wanted, _CONTROL_BYTES)
        except BlockingIOError:
            return
        if control or flags & socket.MSG_CTRUNC:
            _close_all(control)
            raise HelperProtocolError("descriptors, which nobody has asked for")
        if not data:
            self.close()
            return
        self._received += data
        if len(self._received) < self._wanted:
            return
        if self._op is None:
            self._op, length = decode_head(self._received)
            self._received.clear()
            self._wanted = length
            if length:
                return
        op, body = self._op, bytes(self._received)
        self._op, self._wanted = None, HEAD.size
        self._received.clear()
        self._take(op, body)

    def _take(self, op: int, body: bytes) -> None:
        if not self._has_asked:
            self._has_asked = True
            self.op = op
            self._on_request(self, op, body)
        elif self.on_message is None:
            raise HelperProtocolError(f"a message {op} after the request")
        else:
            self.on_message(op, body)


def _close_all(control: Sequence[tuple[int, int, bytes]]) -> None:
    """Close the descriptors that came with a message."""
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            count = len(data) // 4
            for fd in struct.unpack(f"{count}i", data[: count * 4]):
                os.close(fd)


class _Listener:
    """A distribution's socket and the connections that have come by it."""

    def __init__(self, listener: socket.socket) -> None:
        self.socket = listener
        self.calls: set[Call] = set()


class Helpers:
    """The sockets of all distributions that run; `handlers` says who takes which request."""

    def __init__(self, loop: Loop, handlers: Mapping[int, Handler]) -> None:
        self._loop = loop
        self._handlers = handlers
        self._listeners: dict[str, _Listener] = {}

    def listen(self, distribution: Distribution) -> None:
        """Open the socket of a distribution that runs. Raises OSError.

        An earlier agent's socket is replaced: in the directory that the distribution sees.
        """
        path = f"{helper_directory(distribution.identity)}/{SOCKET_NAME}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if os.path.lexists(path):
                os.unlink(path)
            listener.bind(path)
            os.chmod(path, 0o666)  # which user asks is for the handlers to judge
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        self._listeners[distribution.identity] = _Listener(listener)
        self._watch(distribution)

    def _watch(self, distribution: Distribution) -> None:
        listener = self._listeners.get(distribution.identity)
        if listener is not None:
            fd = listener.socket.fileno()
            self._loop.watch(fd, READABLE, lambda _: self._accept(distribution))

    def forget(self, distribution: Distribution) -> None:
        """A distribution has ended: close its socket and its connections."""
        listener = self._listeners.pop(distribution.identity, None)
        if listener is None:
            return
        self._loop.forget(listener.socket.fileno())
        listener.socket.close()
        for call in list(listener.calls):
            call.close()

    def _accept(self, distribution: Distribution) -> None:
        listener = self._listeners[distribution.identity]
        for _ in range(_ACCEPTS_PER_ROUND):
            try:
                connection, _ = listener.socket.accept()
            except BlockingIOError:
                return
            except OSError:  # EMFILE, ENOMEM
                self._loop.forget(listener.socket.fileno())
                self._loop.call_later(_PAUSE_S, lambda: self._watch(distribution))
                return
            connection.setblocking(False)
            if len(listener.calls) >= MAX_CONNECTIONS:
                _turn_away(connection)
                continue
            call = Call(self._loop, connection, distribution, self._handle, listener.calls.discard)
            listener.calls.add(call)

    def _handle(self, call: Call, op: int, body: bytes) -> None:
        handler = self._handlers.get(op)
        if handler is None:
            raise HelperProtocolError(f"an unknown operation {op}")
        try:
            handler(call, body)
        except HelperProtocolError:
            raise
        except AgentError as error:
            call.refuse(errno.EIO, error.message, error.hint)
        except OSError as error:
            call.refuse(error.errno or errno.EIO, os.strerror(error.errno or errno.EIO))
        except Exception:
            traceback.print_exc(file=sys.stderr)
            call.refuse(errno.EIO, "the agent has failed")


def _turn_away(connection: socket.socket) -> None:
    refusal = encode_refusal(errno.EAGAIN, "too many programs are asking at once")
    try:
        connection.send(encode_message(REFUSED, refusal))
    except OSError:
        pass
    connection.close()
