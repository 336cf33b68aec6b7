"""Sessions of bsdtar: an archive goes in, its complaints are kept, and it is seen off."""

from __future__ import annotations

import asyncio
import io
from typing import BinaryIO

import pytest

from service import archiver
from service.archiver import ArchiveRelay, Complaints, FileFeed
from service.archives import Tar
from service.errors import LinkLost, ServiceError
from tests.unit.service.link_harness import FakeAgent, settle, until, with_agent
from tests.unit.service.test_service_relay import FakeClient
from tests.unit.wire.strategies import PlainFrame
from wire.common import Exited, Hangup
from wire.errors import FlowError
from wire.flow import WINDOW_BYTES
from wire.frame import Frame, FrameKind, StreamId, encode_credit

CONTENT = bytes(range(256)) * (3 * WINDOW_BYTES // 512)
"""One window and a half."""


def feed(agent: FakeAgent, content: BinaryIO | bytes) -> tuple[FileFeed, list[bool]]:
    told: list[bool] = []
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    tar = Tar(file, 0)
    return FileFeed(agent.link, tar, lambda: told.append(True)), told


async def read_content(agent: FakeAgent, count: int) -> bytes:
    """Data of stdin until `count` bytes have come."""
    content = b""
    while len(content) < count:
        frame = await agent.read_frame()
        assert (frame.kind, frame.stream) == (FrameKind.DATA, StreamId.STDIN)
        content += frame.payload
    return content


@with_agent
async def test_a_file_is_sent_as_credit_allows(agent: FakeAgent) -> None:
    sender, told = feed(agent, CONTENT)
    running = asyncio.ensure_future(sender.run())
    content = await read_content(agent, WINDOW_BYTES)
    await settle()
    assert len(content) == WINDOW_BYTES, "that is all it may send so far"
    agent.writer.write(encode_credit(StreamId.STDIN, sender.number, WINDOW_BYTES))
    content += await read_content(agent, len(CONTENT) - WINDOW_BYTES)
    assert content == CONTENT
    assert (await agent.read_frame()).kind == FrameKind.EOF
    assert told
    agent.event(Exited(session=sender.number, status=0))
    assert (await running).status == 0


@pytest.mark.parametrize("ending", ["stop", "exit"])
@with_agent
async def test_an_archiver_that_wants_no_more_gets_no_more(agent: FakeAgent, ending: str) -> None:
    sender, _ = feed(agent, CONTENT)
    running = asyncio.ensure_future(sender.run())
    await read_content(agent, WINDOW_BYTES)
    if ending == "stop":
        agent.send(FrameKind.STOP, StreamId.STDIN, sender.number)
        await settle()
    agent.event(Exited(session=sender.number, status=1))
    assert (await running).status == 1


@with_agent
async def test_a_lost_link_ends_the_sending(agent: FakeAgent) -> None:
    sender, _ = feed(agent, CONTENT)
    running = asyncio.ensure_future(sender.run())
    await read_content(agent, WINDOW_BYTES)
    await agent.close()
    with pytest.raises(LinkLost):
        await running


class Broken(io.BytesIO):
    """A file on a disk that fails after its first megabyte."""

    def readinto(self, buffer: object) -> int:
        if self.tell() >= WINDOW_BYTES // 2:
            raise OSError(5, "Input/output error")
        return super().readinto(buffer)  # type: ignore[arg-type]

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= WINDOW_BYTES // 2:
            raise OSError(5, "Input/output error")
        return super().read(size)


async def see_off(agent: FakeAgent, sender: FileFeed | ArchiveRelay) -> None:
    """bsdtar is hung up, and only then is it over."""
    while (await agent.read_frame()).kind == FrameKind.DATA:
        pass  # the last frame was the Hangup event; read_event would refuse the data
    await settle()
    agent.event(Exited(session=sender.number, status=0, signal=1))


@with_agent
async def test_a_file_that_cannot_be_read_ends_the_archiver_first(agent: FakeAgent) -> None:
    sender, _ = feed(agent, Broken(CONTENT))
    running = asyncio.ensure_future(sender.run())
    seen_off = asyncio.ensure_future(see_off(agent, sender))
    with pytest.raises(ServiceError, match="cannot be read"):
        await running
    assert seen_off.done(), "the disk is unmounted next, and bsdtar must have left it"


@pytest.mark.parametrize("when", ["sending", "waiting"])
@with_agent
async def test_a_cancelled_feed_ends_the_archiver_first(agent: FakeAgent, when: str) -> None:
    sender, _ = feed(agent, CONTENT if when == "sending" else b"short")
    running = asyncio.ensure_future(sender.run())
    if when == "sending":
        await read_content(agent, WINDOW_BYTES)
    else:
        await read_content(agent, 5)
        assert (await agent.read_frame()).kind == FrameKind.EOF
    running.cancel()
    assert await agent.read_event() == Hangup(session=sender.number)
    await settle()
    assert not running.done()
    agent.event(Exited(session=sender.number, status=0, signal=1))
    with pytest.raises(asyncio.CancelledError):
        await running


@with_agent
async def test_a_cancelled_relay_ends_the_archiver_first(agent: FakeAgent) -> None:
    relay = ArchiveRelay(FakeClient(), agent.link)
    waiting = asyncio.ensure_future(relay.wait_ended())
    await settle()
    waiting.cancel()
    assert await agent.read_event() == Hangup(session=relay.number)
    await settle()
    assert not waiting.done()
    agent.event(Exited(session=relay.number, status=0, signal=1))
    with pytest.raises(asyncio.CancelledError):
        await waiting


@with_agent
async def test_an_archiver_that_does_not_end_is_not_waited_for_for_ever(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiver, "_HANG_UP_TIMEOUT_S", 0.01)
    sender, _ = feed(agent, b"short")
    running = asyncio.ensure_future(sender.run())
    await read_content(agent, 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize("kind", ["feed", "relay"])
@with_agent
async def test_complaints_are_kept_and_their_credit_returned(agent: FakeAgent, kind: str) -> None:
    client = FakeClient()
    session: FileFeed | ArchiveRelay
    session = feed(agent, b"")[0] if kind == "feed" else ArchiveRelay(client, agent.link)
    agent.send(FrameKind.DATA, StreamId.STDERR, session.number, b"tar: no\xff space\n")
    for _ in range(5):
        agent.send(FrameKind.DATA, StreamId.STDERR, session.number, b"x" * 60_000)
    credit = await agent.read_frame()
    assert (credit.kind, credit.stream) == (FrameKind.CREDIT, StreamId.STDERR)
    assert client.frames == [], "they are not for the client"
    with pytest.raises(ServiceError, match="unpacked: tar: no\ufffd space") as caught:
        session.complaints.check_unpacked(Exited(session=1, status=1))
    assert len(caught.value.message) < 3000


@with_agent
async def test_a_relay_passes_the_rest_on(agent: FakeAgent) -> None:
    client = FakeClient()
    relay = ArchiveRelay(client, agent.link)
    agent.send(FrameKind.DATA, StreamId.STDOUT, relay.number, b"tar")
    await until(lambda: bool(client.frames))
    assert client.frames == [PlainFrame(FrameKind.DATA, StreamId.STDOUT, 1, b"tar")]


@with_agent
async def test_a_feed_expects_nothing_on_stdout(agent: FakeAgent) -> None:
    sender, _ = feed(agent, b"")
    with pytest.raises(FlowError):
        sender.on_frame(Frame(FrameKind.DATA, StreamId.STDOUT, 1, memoryview(b"x")))


@pytest.mark.parametrize(
    ("exited", "why"),
    [
        (Exited(session=1, status=3), "status 3"),
        (Exited(session=1, status=0, signal=9), "signal 9"),
    ],
)
def test_an_archiver_that_says_nothing_is_told_by_its_end(exited: Exited, why: str) -> None:
    with pytest.raises(ServiceError, match=why):
        Complaints().check_unpacked(exited)
    Complaints().check_unpacked(Exited(session=1, status=0))
