"""The service's end of the service-agent link: one virtio-serial port (docs/protocol.md §5)."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from service.answering import answer_request
from service.errors import LinkLost, ServiceError
from wire import failures
from wire.codec import Message, decode_message, encode_message
from wire.common import Exited, Failure
from wire.errors import FrameError, MessageError, WireError
from wire.frame import (
    FIRST_AGENT_SESSION,
    MAX_CHANNEL,
    Frame,
    FrameKind,
    FrameReader,
    Role,
    encode_frame,
)
from wire.preamble import ECHO, MAGIC, NONCE_BYTES, PreambleScanner

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)


Answerers = Mapping[type[Message], Callable[[Any], Awaitable[Message]]]
"""Who answers which request of the agent's; a ServiceError becomes a Failure reply."""

_REQUESTS_LIMIT = 512
"""The agent's own bound is half of that (guest.agent.service)."""


class Session(Protocol):
    """What the link tells about one session; called on the event loop."""

    def on_frame(self, frame: Frame) -> None:
        """A stream frame from the agent. Raises FlowError."""

    def on_exit(self, exited: Exited) -> None:
        """The process has ended and no frame follows."""

    def on_lost(self, error: ServiceError) -> None:
        """The link broke: nothing more will come."""


class AgentLink(asyncio.BufferedProtocol):
    """Requests, events and session streams over the agent's port.

    `on_event` gets the agent's events that belong to no session; `answerers` answer its requests
    by their type, and any other is malformed data. The link survives a restart of the agent:
    `port_opened` starts it anew each time the guest opens the port.
    """

    def __init__(self, on_event: Callable[[Message], None], answerers: Answerers) -> None:
        self._on_event = on_event
        self._answerers = answerers
        self._answering: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._scanner: PreambleScanner | None = None
        self._synchronised = asyncio.Event()
        self._numbers = itertools.count(1)
        self._replies: dict[int, asyncio.Future[Message]] = {}
        self._sessions: dict[int, Session] = {}
        self._session_numbers = itertools.count(1)

    @classmethod
    async def open(
        cls, port: socket.socket, on_event: Callable[[Message], None], answerers: Answerers
    ) -> AgentLink:
        """Take over the host's end of the agent's port."""
        link = cls(on_event, answerers)
        await asyncio.get_running_loop().create_connection(lambda: link, sock=port)
        return link

    # -- transport -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the port's socket is ours."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: QEMU has closed its end."""
        self._transport = None
        self.lose(LinkLost("the virtual machine has ended"))

    def get_buffer(self, sizehint: int) -> memoryview:
        """asyncio: where to receive."""
        return self._reader.space()

    def buffer_updated(self, nbytes: int) -> None:
        """asyncio: `nbytes` have been received."""
        try:
            if self._scanner is not None:
                self._synchronise(bytes(self._reader.space()[:nbytes]))
                return
            self._reader.received(nbytes)
            self._dispatch(self._reader.frames())
        except WireError as error:
            self._distrust(error)

    def port_opened(self) -> None:
        """The guest has (re)opened the port: state of an earlier agent is void."""
        self.lose(LinkLost("the agent in the virtual machine has restarted"))
        nonce = os.urandom(NONCE_BYTES)
        self._scanner = PreambleScanner(ECHO, nonce)
        self._reader = FrameReader()
        self._write(MAGIC + nonce)

    def _synchronise(self, data: bytes) -> None:
        assert self._scanner is not None
        rest = self._scanner.feed(data)
        if rest is None:
            return
        self._scanner = None
        self._synchronised.set()
        self._dispatch(self._reader.feed(rest))

    def _dispatch(self, frames: Iterator[Frame]) -> None:
        for frame in frames:
            try:
                self._on_frame(frame)
            except WireError:
                raise
            except Exception:  # asyncio would close the port, and with it the way to the agent
                log.exception("a frame of the agent could not be handled")

    def _distrust(self, error: WireError) -> None:
        """The agent sent what it must not: start the link anew, and let the user know why."""
        log.error("malformed data from the agent: %s", error)
        self.reset(f"the agent sent malformed data: {error}")

    def reset(self, why: str = "the link has been reset") -> None:
        """Have the agent wait for a new preamble; what is under way fails, `why` says so."""
        self.lose(LinkLost(why))
        # The agent answers a RESET by reopening the port, which calls port_opened.
        self._scanner = PreambleScanner(ECHO, os.urandom(NONCE_BYTES))
        self._reader = FrameReader()
        self._write(encode_frame(FrameKind.RESET, 0, 0))

    def lose(self, error: ServiceError) -> None:
        """Fail everything under way with `error`."""
        self._synchronised.clear()
        replies, self._replies = self._replies, {}
        for future in replies.values():
            if not future.done():
                future.set_exception(error)
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.on_lost(error)
        for task in self._answering:
            task.cancel()  # nobody waits for the answer any more

    def close(self) -> None:
        """Close our end."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_synchronised(self) -> bool:
        """Whether an agent has answered the preamble and has not been lost since."""
        return self._synchronised.is_set()

    async def wait_synchronised(self) -> None:
        """Wait until an agent has answered the preamble."""
        await self._synchronised.wait()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    # -- frames --------------------------------------------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind == FrameKind.RESET:
            raise FrameError("the agent sent a reset")
        if frame.kind != FrameKind.MESSAGE:
            session = self._sessions.get(frame.channel)
            if session is not None:
                session.on_frame(frame)
            return
        message = decode_message(frame.payload)
        if frame.stream == Role.REPLY:
            future = self._replies.pop(frame.channel, None)
            if future is not None and not future.done():
                future.set_result(message)
        elif frame.stream == Role.REQUEST:
            self._take_request(frame.channel, message)
        elif frame.stream != Role.EVENT:
            raise MessageError(f"the agent sent {message.NAME} in no known role")
        elif isinstance(message, Exited) and message.session < FIRST_AGENT_SESSION:
            session = self._sessions.pop(message.session, None)
            if session is not None:
                session.on_exit(message)
        else:
            self._on_event(message)

    def _take_request(self, number: int, request: Message) -> None:
        handle = self._answerers.get(type(request))
        if handle is None:
            raise MessageError(f"the agent sent a request: {request.NAME}")
        if len(self._answering) >= _REQUESTS_LIMIT:
            raise MessageError("the agent sent too many requests at once")
        task = asyncio.create_task(self._answer(handle, number, request))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(
        self, handle: Callable[[Any], Awaitable[Message]], number: int, request: Message
    ) -> None:
        try:
            answer = await answer_request(handle, request)
        except WireError as error:
            self._distrust(error)
            return
        self._write(encode_frame(FrameKind.MESSAGE, Role.REPLY, number, encode_message(answer)))

    async def request(self, message: Message, reply: type[M], timeout_s: float = 60) -> M:
        """Send a request and wait for its reply.

        Raises ServiceError: the agent's own Failure, LinkLost, a timeout, or that the request
        does not fit into a frame.
        """
        if not self._synchronised.is_set():
            raise LinkLost("the agent in the virtual machine does not answer")
        number = next(self._numbers)
        try:
            frame = encode_frame(FrameKind.MESSAGE, Role.REQUEST, number, encode_message(message))
        except FrameError as error:
            raise ServiceError(
                failures.PROTOCOL,
                f"the request {message.NAME!r} is too long: {error}",
                hint="Pass long lists through standard input or a file.",
            ) from None
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._replies[number] = future
        self._write(frame)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await future
        except TimeoutError:
            raise ServiceError(
                failures.TIMEOUT,
                f"the virtual machine did not answer {message.NAME!r} within {timeout_s:.0f} s",
                hint="`isthmus --shutdown --force` ends it; the next command starts it again.",
                partial=True,
            ) from None
        finally:
            self._replies.pop(number, None)
        if isinstance(answer, Failure):
            raise ServiceError.from_failure(answer)
        if not isinstance(answer, reply):
            raise ServiceError(failures.PROTOCOL, f"{message.NAME} was answered by {answer.NAME}")
        return answer

    def send_event(self, message: Message) -> None:
        """Send an event."""
        payload = encode_message(message)
        self._write(encode_frame(FrameKind.MESSAGE, Role.EVENT, 0, payload))

    def send_frame(
        self, kind: int, stream: int, session: int, payload: bytes | memoryview = b""
    ) -> None:
        """Send a stream frame of a session."""
        self._write(encode_frame(kind, stream, session, payload))

    def open_session(self, session: Session) -> int:
        """The number of a new session, to be used in a Spawn, Pack or Unpack request."""
        number = next(self._session_numbers)
        self._sessions[number] = session
        return number

    def adopt_session(self, number: int, session: Session) -> None:
        """A session that the agent has asked for, under its own number. Raises MessageError."""
        if not FIRST_AGENT_SESSION <= number <= MAX_CHANNEL or number in self._sessions:
            raise MessageError(f"the agent cannot open session {number}")
        self._sessions[number] = session

    def release_session(self, number: int, session: Session) -> None:
        """Such a session is over; harmless if the link has been lost since it was opened."""
        if self._sessions.get(number) is session:
            del self._sessions[number]

    def drop_session(self, number: int) -> None:
        """Forget a session whose request was refused."""
        self._sessions.pop(number, None)
