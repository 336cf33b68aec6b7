"""The service's end of the agent link: replies, loss, restarts, and an agent that lies."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import LinkLost, ServiceError
from service.link import AgentLink
from tests.unit.service.link_harness import (
    FakeAgent,
    answered,
    asynchronous,
    settle,
    until,
    with_agent,
)
from tests.unit.wire.strategies import PlainFrame, cut, frames, malformed, plain
from wire import failures
from wire.agent import DistributionStopped, FindUser, Hello, Log, PowerOff, UserFound
from wire.codec import Message
from wire.common import Done, Exited, Failure
from wire.errors import FlowError
from wire.frame import MAX_MESSAGE_BYTES, Frame, FrameKind, Role, StreamId, encode_frame
from wire.preamble import ECHO

FIND = FindUser(distribution="d", name="n")


class Session:
    """Remembers what a link tells of a session. Implements service.link.Session."""

    def __init__(self, link: AgentLink) -> None:
        self.frames: list[PlainFrame] = []
        self.exits: list[Exited] = []
        self.losses: list[ServiceError] = []
        self.error: Exception | None = None
        self.number = link.open_session(self)

    def on_frame(self, frame: Frame) -> None:
        if self.error is not None:
            raise self.error
        self.frames.append(plain(frame))

    def on_exit(self, exited: Exited) -> None:
        self.exits.append(exited)

    def on_lost(self, error: ServiceError) -> None:
        self.losses.append(error)


@with_agent
async def test_replies_find_their_requests(agent: FakeAgent) -> None:
    async def answer() -> None:
        first, _ = await agent.read_request()
        second, message = await agent.read_request()
        assert message == FIND
        agent.reply(second, UserFound(uid=7))
        agent.reply(first, Done())

    requests = asyncio.gather(
        agent.link.request(PowerOff(), Done), agent.link.request(FIND, UserFound)
    )
    done, found = await answered(requests, answer())
    assert (done, found) == (Done(), UserFound(uid=7))


@with_agent
async def test_a_failure_becomes_an_error(agent: FakeAgent) -> None:
    failure = Failure(code="C", message="m", hint="h", partial=True)

    async def answer() -> None:
        number, _ = await agent.read_request()
        agent.reply(number, failure)

    with pytest.raises(ServiceError) as caught:
        await answered(agent.link.request(FIND, UserFound), answer())
    assert caught.value.to_failure() == failure


@with_agent
async def test_an_answer_of_another_kind_is_told(agent: FakeAgent) -> None:
    async def answer() -> None:
        number, _ = await agent.read_request()
        agent.reply(number, Done())

    with pytest.raises(ServiceError) as caught:
        await answered(agent.link.request(FIND, UserFound), answer())
    assert caught.value.code == failures.PROTOCOL


@with_agent
async def test_no_answer_is_a_timeout_and_a_late_one_is_dropped(agent: FakeAgent) -> None:
    with pytest.raises(ServiceError) as caught:
        await agent.link.request(FIND, UserFound, timeout_s=0.01)
    assert caught.value.code == failures.TIMEOUT
    assert caught.value.partial
    number, _ = await agent.read_request()
    agent.reply(number, UserFound(uid=1))
    agent.reply(number + 1000, UserFound(uid=1))
    await settle()
    assert agent.link._replies == {}


@with_agent
async def test_a_request_too_long_for_a_frame_is_refused(agent: FakeAgent) -> None:
    with pytest.raises(ServiceError, match="too long") as caught:
        await agent.link.request(FindUser(distribution="x" * MAX_MESSAGE_BYTES, name=""), UserFound)
    assert caught.value.code == failures.PROTOCOL
    assert agent.link._replies == {}


@asynchronous
async def test_nothing_is_asked_before_the_agent_answers() -> None:
    agent = await FakeAgent.start(synchronised=False)
    with pytest.raises(LinkLost):
        await agent.link.request(FIND, UserFound)
    await agent.end()


@asynchronous
async def test_junk_before_the_answer_and_an_old_agents_answer_are_skipped() -> None:
    agent = await FakeAgent.start(synchronised=False)
    agent.link.port_opened()
    old = await agent.read_preamble()
    agent.link.port_opened()
    nonce = await agent.read_preamble()
    agent.writer.write(b"\xff" * 1000 + ECHO + old + ECHO[:5])
    await settle()
    assert not agent.link._synchronised.is_set()
    agent.writer.write(
        ECHO + nonce + encode_frame(FrameKind.MESSAGE, Role.EVENT, 0, b'{"t":"done"}')
    )
    await agent.link.wait_synchronised()
    await until(lambda: agent.events == [Done()])
    await agent.end()


@with_agent
async def test_events_go_to_whom_they_concern(agent: FakeAgent) -> None:
    session = Session(agent.link)
    agent.event(Log(level="info", text="hello"))
    agent.event(Exited(session=session.number, status=3))
    agent.event(Exited(session=99, status=0))
    agent.event(DistributionStopped(identity="d"))
    agent.event(Exited(session=session.number, status=4))
    await until(lambda: len(agent.events) == 2)
    await settle()
    assert [event.NAME for event in agent.events] == ["log", "distribution-stopped"]
    assert session.exits == [Exited(session=session.number, status=3)]


@with_agent
async def test_frames_go_to_their_session(agent: FakeAgent) -> None:
    one, other = Session(agent.link), Session(agent.link)
    assert one.number != other.number
    agent.send(FrameKind.DATA, StreamId.STDOUT, other.number, b"x")
    agent.send(FrameKind.EOF, StreamId.STDOUT, 99)
    agent.send(FrameKind.EOF, StreamId.STDERR, one.number)
    await until(lambda: bool(one.frames))
    assert one.frames == [PlainFrame(FrameKind.EOF, StreamId.STDERR, one.number, b"")]
    assert other.frames == [PlainFrame(FrameKind.DATA, StreamId.STDOUT, other.number, b"x")]
    agent.link.drop_session(one.number)
    agent.send(FrameKind.EOF, StreamId.STDOUT, one.number)
    await settle()
    assert len(one.frames) == 1


@settings(max_examples=15, deadline=None)
@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 2**20), max_size=6))
def test_any_split_of_what_the_agent_sends_is_the_same(
    sent: list[PlainFrame], cuts: list[int]
) -> None:
    @with_agent
    async def check(agent: FakeAgent) -> None:
        session = Session(agent.link)
        stream_frames = [
            PlainFrame(frame.kind, frame.stream, session.number, frame.payload)
            for frame in sent
            if frame.kind not in (FrameKind.MESSAGE, FrameKind.RESET)
        ]
        for piece in cut(b"".join(frame.encode() for frame in stream_frames), cuts):
            agent.writer.write(piece)
            await asyncio.sleep(0)
        await until(lambda: len(session.frames) == len(stream_frames))
        assert session.frames == stream_frames

    check()


async def check_distrusted(agent: FakeAgent, junk: bytes) -> None:
    """The link refuses `junk`, says so, asks for a reset, and serves the next agent."""
    session = Session(agent.link)
    request = asyncio.ensure_future(agent.link.request(FIND, UserFound))
    await agent.read_request()
    agent.writer.write(junk)
    with pytest.raises(LinkLost, match="malformed"):
        await request
    assert len(session.losses) == 1
    assert await agent.read_frame() == PlainFrame(FrameKind.RESET, 0, 0, b"")
    with pytest.raises(LinkLost):
        await agent.link.request(FIND, UserFound)
    agent.writer.write(b"the rest of what was broken")
    await agent.open_port()
    again = asyncio.ensure_future(agent.link.request(FIND, UserFound))
    number, _ = await agent.read_request()
    agent.reply(number, UserFound(uid=3))
    assert await again == UserFound(uid=3)
    assert Session(agent.link).number > session.number, "numbers are not used again"


@pytest.mark.parametrize(
    "junk",
    [
        b"\xff" * 12,
        encode_frame(FrameKind.MESSAGE, Role.REPLY, 1, b"not json"),
        encode_frame(FrameKind.MESSAGE, Role.REPLY, 1, b'{"t":"nonsense"}'),
        encode_frame(FrameKind.MESSAGE, Role.REQUEST, 1, b'{"t":"power-off"}'),
        encode_frame(FrameKind.MESSAGE, 3, 1, b'{"t":"done"}'),
        encode_frame(FrameKind.MESSAGE, Role.REQUEST, 1, b'{"t":"exited","session":1,"status":0}'),
        encode_frame(FrameKind.RESET, 0, 0),
    ],
    ids=["frame", "json", "message", "request", "role", "exited", "reset"],
)
@with_agent
async def test_malformed_data_starts_the_link_anew(
    agent: FakeAgent, caplog: pytest.LogCaptureFixture, junk: bytes
) -> None:
    with caplog.at_level(logging.ERROR):
        await check_distrusted(agent, junk)
    assert "malformed data from the agent" in caplog.text


@with_agent
async def test_a_session_that_is_sent_too_much_starts_the_link_anew(agent: FakeAgent) -> None:
    session = Session(agent.link)
    session.error = FlowError("too much")
    await check_distrusted(
        agent, encode_frame(FrameKind.DATA, StreamId.STDOUT, session.number, b"x")
    )


@settings(max_examples=20, deadline=None)
@given(malformed)
def test_the_link_serves_again_after_any_bytes(junk: bytes) -> None:
    @with_agent
    async def check(agent: FakeAgent) -> None:
        agent.writer.write(junk)
        await until(lambda: not agent.link._synchronised.is_set())
        await agent.open_port()
        request = asyncio.ensure_future(agent.link.request(FIND, UserFound))
        number, _ = await agent.read_request()
        agent.reply(number, UserFound(uid=3))
        assert await request == UserFound(uid=3)

    check()


@with_agent
async def test_a_bug_in_a_handler_costs_one_frame(
    agent: FakeAgent, caplog: pytest.LogCaptureFixture
) -> None:
    session = Session(agent.link)
    session.error = ZeroDivisionError("a bug")
    agent.send(FrameKind.EOF, StreamId.STDOUT, session.number)
    agent.event(Done())
    await until(lambda: agent.events == [Done()])
    assert "ZeroDivisionError" in caplog.text
    assert session.losses == []


@with_agent
async def test_a_restart_loses_what_was_under_way(agent: FakeAgent) -> None:
    session = Session(agent.link)
    request = asyncio.ensure_future(agent.link.request(FIND, UserFound))
    await agent.read_request()
    await agent.open_port()
    with pytest.raises(LinkLost, match="restarted"):
        await request
    assert [error.partial for error in session.losses] == [True]
    agent.event(Exited(session=session.number, status=0))
    await settle()
    assert session.exits == []


@with_agent
async def test_the_end_of_the_machine_is_told(agent: FakeAgent) -> None:
    session = Session(agent.link)
    request = asyncio.ensure_future(agent.link.request(FIND, UserFound))
    await agent.read_request()
    await agent.close()
    with pytest.raises(LinkLost, match="ended"):
        await request
    assert len(session.losses) == 1
    with pytest.raises(LinkLost):
        await agent.link.request(FIND, UserFound)
    agent.link.send_event(Done())  # nowhere, and no error


@with_agent
async def test_a_cancelled_request_leaves_nothing(agent: FakeAgent) -> None:
    hello: Message = Hello(protocol=1, version="", time_ns=0)
    request = asyncio.ensure_future(agent.link.request(hello, Done))
    number, _ = await agent.read_request()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    agent.reply(number, Done())
    await settle()
    assert agent.link._replies == {}


@with_agent
async def test_the_agent_is_answered(agent: FakeAgent) -> None:
    async def answer(request: Message) -> Message:
        if request == FIND:
            return UserFound(uid=7)
        raise ServiceError(failures.PROTOCOL, "not this", hint="another")

    agent.answerers.update({FindUser: answer, PowerOff: answer})
    agent.send_message(Role.REQUEST, 5, FIND)
    assert await agent.read_message() == (Role.REPLY, 5, UserFound(uid=7))
    agent.send_message(Role.REQUEST, 6, PowerOff())
    role, number, reply = await agent.read_message()
    assert (role, number) == (Role.REPLY, 6)
    assert isinstance(reply, Failure)
    assert (reply.code, reply.hint) == (failures.PROTOCOL, "another")


@with_agent
async def test_what_the_agent_asked_for_is_given_up_with_the_link(agent: FakeAgent) -> None:
    began = asyncio.Event()
    ended: list[BaseException] = []

    async def answer(request: Message) -> Message:
        began.set()
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            ended.append(error)
            raise
        raise AssertionError("unreachable")

    agent.answerers[FindUser] = answer
    agent.send_message(Role.REQUEST, 5, FIND)
    await began.wait()
    await agent.open_port()
    await until(lambda: bool(ended))
    assert isinstance(ended[0], asyncio.CancelledError)
    assert not agent.link._answering
