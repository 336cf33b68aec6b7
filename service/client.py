"""One client's connection: greeting, one request after another, the streams of session 1."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hmac
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine

from service.admission import Admit, admit_ours
from service.answering import answer_request
from service.errors import ServiceError
from service.relay import CLIENT_SESSION, Relay
from wire import failures
from wire.client import Greeting, Quit, Ready
from wire.codec import Message, decode_message, encode_message
from wire.common import PROTOCOL_VERSION, Hangup, Progress, Resize, Signal
from wire.errors import FlowError, FrameError, MessageError, WireError
from wire.frame import Frame, FrameKind, FrameReader, Role, encode_frame
from wire.version import VERSION

log = logging.getLogger(__name__)

Handler = Callable[["Client", Message], Awaitable[Message]]
"""Answers a client's request; a ServiceError becomes a Failure reply."""

_EARLY_LIMIT_BYTES = 4 * 1024 * 1024
"""Stream frames that may wait while the machine boots: one window and then some."""
_EARLY_LIMIT = 100_000
_EARLY_EVENTS_LIMIT = 1000
_REQUESTS_LIMIT = 100
"""Requests of one client under way at once; a command has one."""
_UNREAD_LIMIT_BYTES = 8 * 1024 * 1024
"""What may wait for a client to read it: a window for each stream, and messages."""


class Client(asyncio.BufferedProtocol):
    """The service's side of a connection. `handle` is given every request after the greeting."""

    def __init__(
        self,
        handle: Handler,
        token: str,
        on_gone: Callable[[Client], None],
        admit: Admit = admit_ours,
    ) -> None:
        """`token` must be in the greeting; "" where the socket itself proves who connects."""
        self._handle = handle
        self._admit = admit
        self._token = token
        self._on_gone = on_gone
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._greeted = False
        self._is_turned_away = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._relay: Relay | None = None
        self._early: list[tuple[int, int, bytes]] = []
        self._early_bytes = 0
        self._early_events: list[Message] = []

    # -- transport -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: somebody has connected."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_UNREAD_LIMIT_BYTES)

    def pause_writing(self) -> None:
        """asyncio: the client reads less than it asks for, so nothing more is asked of us."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """asyncio: the client has caught up."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the client is gone; what it was waiting for is stopped."""
        self._transport = None
        if self._relay is not None:
            self._relay.hang_up()
        for task in self._tasks:
            task.cancel()
        self._on_gone(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """asyncio: where to receive."""
        return self._reader.space()

    def buffer_updated(self, nbytes: int) -> None:
        """asyncio: `nbytes` have been received."""
        self._reader.received(nbytes)
        try:
            for frame in self._reader.frames():
                self._on_frame(frame)
        except WireError as error:
            self._distrust(error)

    def _distrust(self, error: WireError) -> None:
        """The client sent what it must not. It alone pays, at once: it may not even read."""
        log.warning("malformed data from a client: %s", error)
        if self._transport is not None:
            self._transport.abort()

    def disconnect(self) -> None:
        """Close the connection once everything sent has been written."""
        if self._transport is not None:
            self._transport.close()

    # -- frames --------------------------------------------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind == FrameKind.MESSAGE:
            self._on_message(frame, decode_message(frame.payload))
        elif frame.kind == FrameKind.RESET:
            raise FrameError("a client sent a reset")
        elif not self._greeted or frame.channel != CLIENT_SESSION:
            raise FlowError(f"no session {frame.channel} is open")
        elif self._relay is not None:
            self._relay.on_client_frame(frame)
        else:
            self._keep(frame)

    def _keep(self, frame: Frame) -> None:
        """Stream frames may come before the process runs: the client does not wait for that."""
        if frame.kind == FrameKind.DATA:
            self._early_bytes += len(frame.payload)
        if self._early_bytes > _EARLY_LIMIT_BYTES or len(self._early) > _EARLY_LIMIT:
            raise FlowError("too much data before the session has started")
        self._early.append((frame.kind, frame.stream, bytes(frame.payload)))

    def _on_message(self, frame: Frame, message: Message) -> None:
        if not self._greeted:
            self._greet(frame.channel, message)
        elif frame.stream == Role.REQUEST:
            if self._is_turned_away and not isinstance(message, Quit):
                return  # the reply to its greeting has told it why
            if len(self._tasks) >= _REQUESTS_LIMIT:
                raise MessageError("too many requests at once")
            self.follow(self._answer(frame.channel, message))
        elif isinstance(message, Resize | Signal | Hangup):
            if self._relay is not None:
                self._relay.on_client_event(message)
            elif len(self._early_events) < _EARLY_EVENTS_LIMIT:
                self._early_events.append(message)
            else:
                raise MessageError("too many events before the session has started")
        else:
            raise MessageError(f"{message.NAME} is not for the service")

    def _greet(self, number: int, message: Message) -> None:
        if not isinstance(message, Greeting):
            raise MessageError(f"{message.NAME} before the greeting")
        wanted, given = os.fsencode(self._token), os.fsencode(message.token)
        if wanted and not hmac.compare_digest(wanted, given):
            raise MessageError("the greeting has the wrong token")
        error = self._admit(message)
        if error is not None:
            self._is_turned_away = True
            self._send(Role.REPLY, number, error.to_failure())
        else:
            ready = Ready(protocol=PROTOCOL_VERSION, version=VERSION, pid=os.getpid())
            self._send(Role.REPLY, number, ready)
        self._greeted = True

    async def _answer(self, number: int, request: Message) -> None:
        try:
            answer = await answer_request(functools.partial(self._handle, self), request)
        except WireError as error:
            self._distrust(error)  # in the stream frames that had come before the session
            return
        self._send(Role.REPLY, number, answer)

    # -- for handlers --------------------------------------------------------------------------

    def follow(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run `work` for this client; it is cancelled when the client goes."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def start_relay(self, relay: Relay) -> None:
        """The agent knows the session now: pass on what has come for it, and all that will.

        Raises ServiceError if this connection has had its session already, WireError if what
        has come breaks the rules.
        """
        if self._relay is not None:
            raise ServiceError(failures.PROTOCOL, "this connection has a session already")
        self._relay = relay
        early, self._early = self._early, []
        for kind, stream, payload in early:
            relay.on_client_frame(Frame(kind, stream, CLIENT_SESSION, memoryview(payload)))
        for event in self._early_events:
            relay.on_client_event(event)
        self._early_events.clear()

    def send_event(self, event: Message) -> None:
        """Send an event."""
        self._send(Role.EVENT, 0, event)

    def send_frame(
        self, kind: int, stream: int, session: int, payload: bytes | memoryview = b""
    ) -> None:
        """service.relay.FrameSink: send a stream frame."""
        if self._transport is not None:
            self._transport.write(encode_frame(kind, stream, session, payload))

    def progress(self, label: str, done: int = 0, total: int = 0, unit: str = "") -> None:
        """Tell the client where a long request is."""
        self.send_event(Progress(label=label, done=done, total=total, unit=unit))

    def _send(self, role: int, number: int, message: Message) -> None:
        with contextlib.suppress(WireError):
            self.send_frame(FrameKind.MESSAGE, role, number, encode_message(message))
