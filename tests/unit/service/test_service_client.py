"""A client's connection: greeting, requests, early frames, and clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import client as module
from service.client import Client
from service.errors import ServiceError
from service.relay import Relay
from tests.unit.service.link_harness import (
    FakeAgent,
    FramePeer,
    asynchronous,
    settle,
    until,
    with_agent,
)
from tests.unit.wire.strategies import PlainFrame, malformed
from wire import failures
from wire.client import Greeting, List, Quit, Ready, Run, Running, Status
from wire.codec import Message
from wire.common import (
    PROTOCOL_VERSION,
    Done,
    Exited,
    Failure,
    Hangup,
    Progress,
    Resize,
    Signal,
)
from wire.frame import FrameKind, Role, StreamId, encode_credit, encode_frame
from wire.version import VERSION

GREETING = Greeting(protocol=PROTOCOL_VERSION, version=VERSION)


class Service:
    """Answers requests: what a handler does is up to the test."""

    def __init__(self, agent: FakeAgent | None = None) -> None:
        self.agent = agent
        self.requests: list[Message] = []
        self.gone: list[Client] = []
        self.clients: list[Client] = []
        self.relays: list[Relay] = []
        self.cancelled = 0
        self.blocked = asyncio.Event()

    async def handle(self, client: Client, request: Message) -> Message:
        """service.client.Handler."""
        self.requests.append(request)
        if isinstance(request, Run):
            assert self.agent is not None
            relay = Relay(client, self.agent.link)
            self.relays.append(relay)
            await settle()  # the process starts meanwhile
            client.start_relay(relay)
            return Running()
        if isinstance(request, Status):
            try:
                await self.blocked.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if isinstance(request, Quit):
            raise ServiceError("C", "m", hint="h")
        return Done()

    async def connect(self, token: str = "") -> FramePeer:
        """A connected client."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        client = Client(self.handle, token, self.gone.append)
        self.clients.append(client)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: client, ours)
        peer = FramePeer()
        await peer.attach(theirs)
        return peer

    @contextlib.asynccontextmanager
    async def greeted(self) -> AsyncIterator[FramePeer]:
        """A client whose greeting was accepted."""
        peer = await self.connect()
        peer.send_message(Role.REQUEST, 1, GREETING)
        _, number, message = await peer.read_message()
        assert (number, type(message)) == (1, Ready)
        yield peer
        await peer.close()

    async def check_serves(self) -> None:
        """Another client is served as ever."""
        async with self.greeted() as other:
            other.send_message(Role.REQUEST, 5, List())
            assert await other.read_message() == (Role.REPLY, 5, Done())


@asynchronous
async def test_a_greeting_is_answered_with_who_serves() -> None:
    import os

    peer = await Service().connect()
    peer.send_message(Role.REQUEST, 7, GREETING)
    ready = Ready(protocol=PROTOCOL_VERSION, version=VERSION, pid=os.getpid())
    assert await peer.read_message() == (Role.REPLY, 7, ready)
    await peer.close()


@asynchronous
async def test_greeting_and_request_may_come_in_one_piece() -> None:
    service = Service()
    peer = await service.connect()
    peer.send_message(Role.REQUEST, 1, GREETING)
    peer.send_message(Role.REQUEST, 2, List())
    assert isinstance((await peer.read_message())[2], Ready)
    assert await peer.read_message() == (Role.REPLY, 2, Done())
    await peer.close()


@pytest.mark.parametrize(
    "greeting",
    [
        Greeting(protocol=PROTOCOL_VERSION + 1, version=VERSION),
        Greeting(protocol=PROTOCOL_VERSION, version="0.0.0"),
    ],
)
@asynchronous
async def test_another_version_is_told_and_may_only_end_the_service(greeting: Greeting) -> None:
    service = Service()
    peer = await service.connect()
    peer.send_message(Role.REQUEST, 1, greeting)
    peer.send_message(Role.REQUEST, 2, List())
    peer.send_message(Role.REQUEST, 3, Quit())
    _, number, failure = await peer.read_message()
    assert isinstance(failure, Failure)
    assert (number, failure.code) == (1, failures.VERSION_MISMATCH)
    assert VERSION in failure.message
    _, number, answer = await peer.read_message()
    assert (number, answer) == (3, Failure(code="C", message="m", hint="h"))
    assert service.requests == [Quit()]
    await peer.close()


@pytest.mark.parametrize("token", ["", "wrong", "secret ", "sécret", "\udcff"])
@asynchronous
async def test_without_the_token_nothing_is_heard(token: str) -> None:
    service = Service()
    peer = await service.connect(token="secret")
    greeting = Greeting(protocol=PROTOCOL_VERSION, version=VERSION, token=token)
    peer.send_message(Role.REQUEST, 1, greeting)
    peer.send_message(Role.REQUEST, 2, List())
    assert await peer.is_at_end()
    assert service.requests == []
    assert service.gone == service.clients
    await peer.close()


@asynchronous
async def test_the_token_opens_the_door() -> None:
    service = Service()
    peer = await service.connect(token="secret")
    greeting = Greeting(protocol=PROTOCOL_VERSION, version=VERSION, token="secret")
    peer.send_message(Role.REQUEST, 1, greeting)
    assert isinstance((await peer.read_message())[2], Ready)
    await peer.close()


@asynchronous
async def test_errors_are_answers() -> None:
    service = Service()  # without an agent: Run fails as by a bug
    async with service.greeted() as peer:
        peer.send_message(Role.REQUEST, 2, Quit())
        assert await peer.read_message() == (
            Role.REPLY,
            2,
            Failure(code="C", message="m", hint="h"),
        )
        peer.send_message(Role.REQUEST, 3, Run())
        _, number, failure = await peer.read_message()
        assert isinstance(failure, Failure)
        assert (number, failure.code) == (3, failures.INTERNAL)
        assert failure.message.startswith("AssertionError")
        peer.send_message(Role.REQUEST, 4, List())
        assert await peer.read_message() == (Role.REPLY, 4, Done())


@asynchronous
async def test_requests_do_not_wait_for_one_another() -> None:
    service = Service()
    async with service.greeted() as peer:
        peer.send_message(Role.REQUEST, 2, Status())
        peer.send_message(Role.REQUEST, 3, List())
        assert (await peer.read_message())[1] == 3
        service.blocked.set()
        assert (await peer.read_message())[1] == 2


@asynchronous
async def test_progress_is_an_event() -> None:
    service = Service()
    async with service.greeted() as peer:
        service.clients[0].progress("Booting", 1, 2, "bytes")
        progress = Progress(label="Booting", done=1, total=2, unit="bytes")
        assert await peer.read_message() == (Role.EVENT, 0, progress)


def message(role: int, number: int, content: bytes) -> bytes:
    return encode_frame(FrameKind.MESSAGE, role, number, content)


MALFORMED = {
    "frame": b"\xff" * 12,
    "json": message(Role.REQUEST, 2, b"not json"),
    "unknown": message(Role.REQUEST, 2, b'{"t":"nonsense"}'),
    "event": message(Role.EVENT, 0, b'{"t":"done"}'),
    "reply": message(Role.REPLY, 2, b'{"t":"done"}'),
    "reset": encode_frame(FrameKind.RESET, 0, 0),
    "session": encode_frame(FrameKind.DATA, StreamId.STDIN, 2, b"x"),
    # a header that only a hand could write: a reset that names the session
    "reset of a session": b"\0\0\0\0\x06\0\0\0\1\0\0\0",
}


@pytest.mark.parametrize("name", MALFORMED)
@asynchronous
async def test_malformed_data_costs_only_its_sender(name: str) -> None:
    service = Service()
    async with service.greeted() as peer:
        peer.writer.write(MALFORMED[name])
        assert await peer.is_at_end()
    await until(lambda: len(service.gone) == 1)
    await service.check_serves()


@pytest.mark.parametrize(
    "first",
    [
        message(Role.REQUEST, 1, b'{"t":"list"}'),
        encode_frame(FrameKind.DATA, StreamId.STDIN, 1, b"x"),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
@asynchronous
async def test_nothing_is_heard_before_the_greeting(first: bytes) -> None:
    service = Service()
    peer = await service.connect()
    peer.writer.write(first)
    assert await peer.is_at_end()
    assert service.requests == []
    await peer.close()


@settings(max_examples=25, deadline=None)
@given(malformed, st.booleans())
def test_any_bytes_cost_only_their_sender(junk: bytes, is_greeted: bool) -> None:
    @asynchronous
    async def check() -> None:
        service = Service()
        peer = await service.connect()
        if is_greeted:
            peer.send_message(Role.REQUEST, 1, GREETING)
        peer.writer.write(junk)
        assert await peer.is_at_end()
        await peer.close()
        await service.check_serves()

    check()


@asynchronous
async def test_a_client_that_does_not_read_is_cut_off_when_it_misbehaves() -> None:
    """Its unread data must not keep the connection, and what runs for it, alive."""
    service = Service()
    async with service.greeted() as peer:
        service.clients[0].send_frame(FrameKind.DATA, StreamId.STDOUT, 1, b"x" * 60_000)
        for _ in range(100):
            service.clients[0].send_frame(FrameKind.DATA, StreamId.STDOUT, 1, b"x" * 60_000)
        peer.writer.write(MALFORMED["frame"])
        await until(lambda: len(service.gone) == 1)


@asynchronous
async def test_a_client_that_does_not_read_is_not_read_either() -> None:
    """So that its replies cannot pile up: it gets no more until it has read those it has."""
    service = Service()
    async with service.greeted() as peer:
        client = service.clients[0]
        transport = client._transport
        assert transport is not None
        while transport.is_reading():
            client.send_frame(FrameKind.DATA, StreamId.STDOUT, 1, b"x" * 60_000)
            assert transport.get_write_buffer_size() < module._UNREAD_LIMIT_BYTES + 100_000
        peer.send_message(Role.REQUEST, 2, List())
        await settle()
        assert service.requests == []
        while (await peer.read_frame()).kind == FrameKind.DATA:
            pass
        assert service.requests == [List()]


@asynchronous
async def test_too_many_requests_at_once_are_refused() -> None:
    service = Service()
    async with service.greeted() as peer:
        for number in range(module._REQUESTS_LIMIT + 5):
            peer.send_message(Role.REQUEST, number, Status())
        assert await peer.is_at_end()
        await until(lambda: service.cancelled > 0)
        assert service.cancelled <= module._REQUESTS_LIMIT


@asynchronous
async def test_what_a_client_waited_for_ends_with_it() -> None:
    service = Service()
    async with service.greeted() as peer:
        peer.send_message(Role.REQUEST, 2, Status())
        await until(lambda: service.requests == [Status()])
    await until(lambda: service.cancelled == 1)
    assert service.gone == service.clients


@with_agent
async def test_a_session_runs_and_ends(agent: FakeAgent) -> None:
    service = Service(agent)
    async with service.greeted() as peer:
        peer.send_message(Role.REQUEST, 2, Run())
        assert await peer.read_message() == (Role.REPLY, 2, Running())
        (relay,) = service.relays
        agent.send(FrameKind.DATA, StreamId.STDOUT, relay.number, b"out")
        assert await peer.read_frame() == PlainFrame(FrameKind.DATA, StreamId.STDOUT, 1, b"out")
        peer.send(FrameKind.DATA, StreamId.STDIN, 1, b"in")
        assert await agent.read_frame() == PlainFrame(
            FrameKind.DATA, StreamId.STDIN, relay.number, b"in"
        )
        peer.send_message(Role.EVENT, 0, Resize(session=1, rows=2, columns=3))
        assert await agent.read_event() == Resize(session=relay.number, rows=2, columns=3)
    assert await agent.read_event() == Hangup(session=relay.number)


@with_agent
async def test_what_comes_early_is_passed_on_in_order(agent: FakeAgent) -> None:
    """The client does not wait for its process before it sends what that will read."""
    service = Service(agent)
    async with service.greeted() as peer:
        peer.send_message(Role.REQUEST, 2, Run())
        peer.send(FrameKind.DATA, StreamId.STDIN, 1, b"first")
        peer.send(FrameKind.DATA, StreamId.STDIN, 1, b"second")
        peer.send(FrameKind.EOF, StreamId.STDIN, 1)
        peer.send_message(Role.EVENT, 0, Signal(session=1, number=2))
        assert (await agent.read_frame()).payload == b"first"
        assert (await agent.read_frame()).payload == b"second"
        assert (await agent.read_frame()).kind == FrameKind.EOF
        assert await agent.read_event() == Signal(session=service.relays[0].number, number=2)


@pytest.mark.parametrize(
    "early",
    [
        encode_frame(FrameKind.DATA, StreamId.STDOUT, 1, b"x"),
        encode_credit(StreamId.STDOUT, 1, 1),
        encode_frame(FrameKind.DATA, StreamId.STDIN, 1, b"x" * 60_000) * 20,
    ],
    ids=["direction", "credit", "window"],
)
@with_agent
async def test_what_comes_early_obeys_the_same_rules(agent: FakeAgent, early: bytes) -> None:
    service = Service(agent)
    async with service.greeted() as peer:
        peer.send_message(Role.REQUEST, 2, Run())
        peer.writer.write(early)
        assert await peer.is_at_end()
    while (frame := await agent.read_frame()).kind == FrameKind.DATA:
        pass  # what was within the rules
    assert frame.stream == Role.EVENT, "the process is hung up"
    await service.check_serves()


@pytest.mark.parametrize(
    ("frames", "count"),
    [
        (encode_frame(FrameKind.DATA, StreamId.STDIN, 1, b"x" * 65_536), 65),
        (encode_frame(FrameKind.EOF, StreamId.STDIN, 1) * 1000, 101),
        (message(Role.EVENT, 0, b'{"t":"signal","session":1,"number":2}'), 1001),
    ],
    ids=["data", "frames", "events"],
)
@asynchronous
async def test_what_may_come_early_is_bounded(frames: bytes, count: int) -> None:
    service = Service()
    async with service.greeted() as peer:
        peer.send_message(Role.REQUEST, 2, Status())
        for _ in range(count):
            peer.writer.write(frames)
            await peer.writer.drain()
        assert await peer.is_at_end()


@with_agent
async def test_a_connection_has_one_session(agent: FakeAgent) -> None:
    service = Service(agent)
    async with service.greeted() as peer:
        peer.send_message(Role.REQUEST, 2, Run())
        await peer.read_message()
        peer.send_message(Role.REQUEST, 3, Run())
        _, number, failure = await peer.read_message()
        assert isinstance(failure, Failure)
        assert (number, failure.code) == (3, failures.PROTOCOL)


@with_agent
async def test_one_clients_overdraft_leaves_the_link_alone(agent: FakeAgent) -> None:
    """The agent would drop every session for it, so it must not get that far."""
    service = Service(agent)
    async with service.greeted() as peer, service.greeted() as other:
        for client in (peer, other):
            client.send_message(Role.REQUEST, 2, Run())
            await client.read_message()
        for _ in range(17):
            peer.send(FrameKind.DATA, StreamId.STDIN, 1, b"x" * 65_536)
        assert await peer.is_at_end()
        agent.event(Exited(session=service.relays[1].number, status=3))
        assert (await service.relays[1].wait_ended()).status == 3
        received = 0
        while (frame := await agent.read_frame()).kind == FrameKind.DATA:
            received += len(frame.payload)
        assert received <= 2**20


@asynchronous
async def test_a_reply_after_the_client_has_gone_goes_nowhere() -> None:
    service = Service()
    async with service.greeted() as peer:
        client = service.clients[0]
    await until(lambda: bool(service.gone))
    client.send_event(Done())
    client.send_frame(FrameKind.EOF, StreamId.STDOUT, 1)
    client.disconnect()
    assert peer.writer.is_closing()


def test_what_was_wrong_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    @asynchronous
    async def check() -> None:
        service = Service()
        async with service.greeted() as peer:
            peer.writer.write(MALFORMED["unknown"])
            assert await peer.is_at_end()

    with caplog.at_level(logging.WARNING):
        check()
    assert "malformed data from a client: unknown message 'nonsense'" in caplog.text
