"""A session between a client and the agent: what passes, and what is nobody's to send."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from service.errors import LinkLost, ServiceError
from service.relay import CLIENT_SESSION, Relay
from tests.unit.service.link_harness import FakeAgent, settle, until, with_agent
from tests.unit.wire.strategies import PlainFrame
from wire.common import Exited, Hangup, Resize, Signal
from wire.errors import FlowError
from wire.flow import WINDOW_BYTES
from wire.frame import MAX_DATA_BYTES, Frame, FrameKind, StreamId

INPUT = {(FrameKind.DATA, StreamId.STDIN), (FrameKind.EOF, StreamId.STDIN)}
INPUT |= {(FrameKind.CREDIT, stream) for stream in (StreamId.STDOUT, StreamId.STDERR)}
INPUT |= {(FrameKind.STOP, stream) for stream in (StreamId.STDOUT, StreamId.STDERR)}
"""What the client's side may send; the agent's side may send the rest; both, on the terminal."""
KINDS = (FrameKind.DATA, FrameKind.CREDIT, FrameKind.EOF, FrameKind.STOP)
EVERY = list(itertools.product(KINDS, range(StreamId.TERMINAL + 1)))
PAYLOADS = {FrameKind.DATA: b"data", FrameKind.CREDIT: b"\0\0\0\0"}


class FakeClient:
    """Remembers the frames for a client. Implements service.relay.FrameSink."""

    def __init__(self) -> None:
        self.frames: list[PlainFrame] = []

    def send_frame(
        self, kind: int, stream: int, session: int, payload: bytes | memoryview = b""
    ) -> None:
        self.frames.append(PlainFrame(kind, stream, session, bytes(payload)))


def frame(kind: int, stream: int, payload: bytes | None = None) -> Frame:
    content = PAYLOADS.get(kind, b"") if payload is None else payload
    return Frame(kind, stream, CLIENT_SESSION, memoryview(content))


@pytest.mark.parametrize(("kind", "stream"), EVERY)
@with_agent
async def test_a_client_sends_only_its_side(agent: FakeAgent, kind: int, stream: int) -> None:
    relay = Relay(FakeClient(), agent.link)
    if (kind, stream) in INPUT or stream == StreamId.TERMINAL:
        relay.on_client_frame(frame(kind, stream))
        passed = await agent.read_frame()
        assert passed == PlainFrame(kind, stream, relay.number, PAYLOADS.get(kind, b""))
    else:
        with pytest.raises(FlowError):
            relay.on_client_frame(frame(kind, stream))


@pytest.mark.parametrize(("kind", "stream"), EVERY)
@with_agent
async def test_the_agent_sends_only_its_side(agent: FakeAgent, kind: int, stream: int) -> None:
    client = FakeClient()
    relay = Relay(client, agent.link)
    if (kind, stream) not in INPUT or stream == StreamId.TERMINAL:
        relay.on_frame(frame(kind, stream))
        assert client.frames == [PlainFrame(kind, stream, 1, PAYLOADS.get(kind, b""))]
    else:
        with pytest.raises(FlowError):
            relay.on_frame(frame(kind, stream))


@with_agent
async def test_neither_side_may_send_more_than_its_credit(agent: FakeAgent) -> None:
    relay = Relay(FakeClient(), agent.link)
    ways = [
        (relay.on_frame, relay.on_client_frame, StreamId.STDOUT),
        (relay.on_client_frame, relay.on_frame, StreamId.STDIN),
        (relay.on_frame, relay.on_client_frame, StreamId.TERMINAL),
    ]
    block = b"x" * MAX_DATA_BYTES
    for send, grant, stream in ways:
        for _ in range(WINDOW_BYTES // MAX_DATA_BYTES):
            send(frame(FrameKind.DATA, stream, block))
        grant(frame(FrameKind.CREDIT, stream, (5).to_bytes(4, "little")))
        send(frame(FrameKind.DATA, stream, b"12345"))
        with pytest.raises(FlowError):
            send(frame(FrameKind.DATA, stream, b"6"))


@with_agent
async def test_no_side_can_make_the_other_send_more_than_a_window(agent: FakeAgent) -> None:
    """Or the service would have to hold it."""
    relay = Relay(FakeClient(), agent.link)
    one = (1).to_bytes(4, "little")
    with pytest.raises(FlowError):
        relay.on_client_frame(frame(FrameKind.CREDIT, StreamId.STDOUT, one))
    with pytest.raises(FlowError):
        relay.on_frame(frame(FrameKind.CREDIT, StreamId.STDIN, one))


@with_agent
async def test_events_have_the_agents_number(agent: FakeAgent) -> None:
    relay = Relay(FakeClient(), agent.link)
    relay.on_client_event(Resize(session=1, rows=2, columns=3))
    relay.on_client_event(Signal(session=1, number=15))
    relay.hang_up()
    assert await agent.read_event() == Resize(session=relay.number, rows=2, columns=3)
    assert await agent.read_event() == Signal(session=relay.number, number=15)
    assert await agent.read_event() == Hangup(session=relay.number)


@with_agent
async def test_nothing_is_sent_for_a_session_that_has_ended(agent: FakeAgent) -> None:
    relay = Relay(FakeClient(), agent.link)
    exited = Exited(session=relay.number, status=3)
    agent.event(exited)
    assert await relay.wait_ended() == exited
    relay.on_client_frame(frame(FrameKind.DATA, StreamId.STDIN))
    relay.on_client_event(Signal(session=1, number=15))
    relay.hang_up()
    agent.link.send_event(Hangup(session=99))
    assert await agent.read_event() == Hangup(session=99)


@with_agent
async def test_what_comes_while_it_is_held_follows(agent: FakeAgent) -> None:
    client = FakeClient()
    relay = Relay(client, agent.link)
    relay.hold()
    agent.send(FrameKind.DATA, StreamId.STDOUT, relay.number, b"first")
    agent.event(Exited(session=relay.number, status=0))
    await relay.wait_ended()
    assert client.frames == []
    relay.release()
    relay.on_frame(frame(FrameKind.EOF, StreamId.STDOUT))
    assert [got.kind for got in client.frames] == [FrameKind.DATA, FrameKind.EOF]


@with_agent
async def test_a_lost_link_ends_the_wait(agent: FakeAgent) -> None:
    relay = Relay(FakeClient(), agent.link)
    waiting = asyncio.ensure_future(relay.wait_ended())
    await settle()
    await agent.close()
    with pytest.raises(LinkLost):
        await waiting
    relay.hang_up()


@with_agent
async def test_a_wait_that_is_cancelled_leaves_the_session(agent: FakeAgent) -> None:
    relay = Relay(FakeClient(), agent.link)
    waiting = asyncio.ensure_future(relay.wait_ended())
    await settle()
    waiting.cancel()
    await settle()
    relay.hang_up()
    assert await agent.read_event() == Hangup(session=relay.number)
    agent.event(Exited(session=relay.number, status=0, signal=1))
    assert (await relay.wait_ended()).signal == 1


@with_agent
async def test_a_session_that_never_began_is_forgotten(agent: FakeAgent) -> None:
    relay = Relay(FakeClient(), agent.link)
    relay.drop()
    agent.send(FrameKind.DATA, StreamId.STDOUT, relay.number, b"x")
    agent.event(Exited(session=relay.number, status=0))
    await until(lambda: not agent.link._sessions)
    with pytest.raises(asyncio.CancelledError):
        await relay.wait_ended()


@with_agent
async def test_a_client_gone_while_its_process_starts(agent: FakeAgent) -> None:
    """The process is hung up when it runs; where it was refused, the session is forgotten."""
    started: asyncio.Future[Exited] = asyncio.get_running_loop().create_future()
    relay = Relay(FakeClient(), agent.link)
    started.add_done_callback(relay.hang_up_started)
    started.set_result(Exited(session=1, status=0))
    assert await agent.read_event() == Hangup(session=relay.number)
    refused: asyncio.Future[Exited] = asyncio.get_running_loop().create_future()
    other = Relay(FakeClient(), agent.link)
    refused.add_done_callback(other.hang_up_started)
    refused.set_exception(ServiceError("C", "no"))
    await until(lambda: other.number not in agent.link._sessions)
