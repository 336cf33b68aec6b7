"""Frames: any split decodes the same, anything else is a FrameError, memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.strategies import PlainFrame, cut, frames, plain
from wire.errors import FrameError
from wire.frame import (
    HEADER,
    HEADER_BYTES,
    MAX_CHANNEL,
    MAX_DATA_BYTES,
    MAX_MESSAGE_BYTES,
    FrameKind,
    FrameReader,
    Role,
    StreamId,
    decode_credit,
    encode_credit,
    encode_frame,
)

CAPACITY = HEADER_BYTES + MAX_DATA_BYTES
"""The smallest buffer a reader has."""


def receive(reader: FrameReader, data: bytes) -> list[PlainFrame]:
    """Hand `data` to the reader as a socket does: as much as there is space for at a time."""
    return list(receiving(reader, data))


def receiving(reader: FrameReader, data: bytes) -> Iterator[PlainFrame]:
    """As receive, one by one: those before a FrameError are seen."""
    while data:
        space = reader.space()
        count = min(len(space), len(data))
        space[:count] = data[:count]
        data = data[count:]
        reader.received(count)
        yield from (plain(frame) for frame in reader.frames())


@given(st.lists(frames, max_size=12), st.lists(st.integers(0, 2**32), max_size=12))
def test_any_split_of_valid_frames_decodes_the_same(
    sent: list[PlainFrame], cuts: list[int]
) -> None:
    reader = FrameReader(CAPACITY)
    data = b"".join(frame.encode() for frame in sent)
    received = [frame for piece in cut(data, cuts) for frame in receive(reader, piece)]
    assert received == sent
    assert reader.is_between_frames


@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 2**32), max_size=8))
def test_feed_is_the_same_as_receiving(sent: list[PlainFrame], cuts: list[int]) -> None:
    reader = FrameReader(CAPACITY)
    pieces = cut(b"".join(frame.encode() for frame in sent), cuts)
    assert [plain(frame) for piece in pieces for frame in reader.feed(piece)] == sent


@given(st.lists(frames, max_size=3), st.binary(max_size=200), st.lists(st.integers(0, 400)))
def test_arbitrary_bytes_raise_only_frame_errors(
    before: list[PlainFrame], junk: bytes, cuts: list[int]
) -> None:
    reader = FrameReader(CAPACITY)
    data = b"".join(frame.encode() for frame in before) + junk
    received: list[PlainFrame] = []
    try:
        for piece in cut(data, cuts):
            for frame in receiving(reader, piece):
                received.append(frame)
    except FrameError:
        pass
    assert received[: len(before)] == before


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 2**16 - 1),
    st.integers(0, MAX_CHANNEL),
)
def test_a_header_is_judged_before_its_payload_comes(
    length: int, kind: int, stream: int, reserved: int, channel: int
) -> None:
    reader = FrameReader(CAPACITY)
    try:
        assert receive(reader, HEADER.pack(length, kind, stream, reserved, channel)) in (
            [],
            [PlainFrame(kind, stream, channel, b"")],
        )
    except FrameError:
        return
    limits = {FrameKind.MESSAGE: MAX_MESSAGE_BYTES, FrameKind.DATA: MAX_DATA_BYTES}
    assert length <= limits.get(kind, 4)
    assert len(reader.space()) <= HEADER_BYTES + MAX_MESSAGE_BYTES


REFUSED = [
    (0, 0, 1, b""),
    (7, 0, 1, b""),
    (FrameKind.MESSAGE, Role.REQUEST, 1, b"{"),
    (FrameKind.MESSAGE, Role.REQUEST, 1, b" " * (MAX_MESSAGE_BYTES + 1)),
    (FrameKind.DATA, StreamId.STDIN, 1, b""),
    (FrameKind.DATA, StreamId.STDIN, 1, b"x" * (MAX_DATA_BYTES + 1)),
    (FrameKind.DATA, StreamId.STDIN, 0, b"x"),
    (FrameKind.DATA, 4, 1, b"x"),
    (FrameKind.CREDIT, StreamId.STDIN, 1, b"abc"),
    (FrameKind.EOF, StreamId.STDIN, 1, b"x"),
    (FrameKind.EOF, StreamId.STDIN, 0, b""),
    (FrameKind.STOP, StreamId.STDOUT, 1, b"x"),
    (FrameKind.RESET, 0, 0, b"x"),
]


@pytest.mark.parametrize(("kind", "stream", "channel", "payload"), REFUSED)
def test_sender_and_receiver_refuse_the_same(
    kind: int, stream: int, channel: int, payload: bytes
) -> None:
    with pytest.raises(FrameError):
        encode_frame(kind, stream, channel, payload)
    with pytest.raises(FrameError):
        receive(FrameReader(), HEADER.pack(len(payload), kind, stream, 0, channel))


@pytest.mark.parametrize("channel", [-1, MAX_CHANNEL + 1])
def test_a_channel_that_is_no_u32_is_refused(channel: int) -> None:
    with pytest.raises(FrameError):
        encode_frame(FrameKind.MESSAGE, Role.REQUEST, channel, b"{}")


def test_reserved_bits_are_refused() -> None:
    with pytest.raises(FrameError):
        receive(FrameReader(), HEADER.pack(0, FrameKind.EOF, 0, 1, 1))


def test_the_largest_frames_pass() -> None:
    message = PlainFrame(FrameKind.MESSAGE, Role.REQUEST, 0, b" " * MAX_MESSAGE_BYTES)
    data = PlainFrame(FrameKind.DATA, StreamId.TERMINAL, MAX_CHANNEL, b"x" * MAX_DATA_BYTES)
    reader = FrameReader(CAPACITY)
    assert receive(reader, message.encode() + data.encode()) == [message, data]


def test_the_buffer_grows_for_one_message_and_shrinks_after_it() -> None:
    reader = FrameReader(CAPACITY)
    message = PlainFrame(FrameKind.MESSAGE, Role.REQUEST, 0, b" " * MAX_MESSAGE_BYTES)
    encoded = message.encode()
    assert receive(reader, encoded[:-1]) == []
    assert len(reader._buffer) == HEADER_BYTES + MAX_MESSAGE_BYTES
    assert receive(reader, encoded[-1:]) == [message]
    assert len(reader.space()) == CAPACITY


@given(st.lists(frames, max_size=30), st.lists(st.integers(0, 2**32), max_size=30))
def test_memory_is_bounded_by_the_capacity(sent: list[PlainFrame], cuts: list[int]) -> None:
    reader = FrameReader(CAPACITY)
    for piece in cut(b"".join(frame.encode() for frame in sent), cuts):
        receive(reader, piece)
        assert len(reader._buffer) == CAPACITY


def test_space_is_never_empty_in_the_middle_of_a_frame() -> None:
    reader = FrameReader(CAPACITY)
    first = PlainFrame(FrameKind.DATA, 1, 1, b"x").encode()
    second = PlainFrame(FrameKind.DATA, 1, 1, b"y" * MAX_DATA_BYTES).encode()
    assert len(receive(reader, first + second[:-1])) == 1  # fills the buffer but for its start
    assert len(reader.space()) >= 1
    assert receive(reader, second[-1:]) == [PlainFrame(FrameKind.DATA, 1, 1, b"y" * MAX_DATA_BYTES)]


@given(st.integers(0, 2**32 - 1))
def test_credit_round_trip(count: int) -> None:
    (frame,) = FrameReader().feed(encode_credit(StreamId.STDOUT, 7, count))
    assert decode_credit(frame) == count
    assert (frame.kind, frame.stream, frame.channel) == (FrameKind.CREDIT, StreamId.STDOUT, 7)


def test_a_frame_shows_no_payload_in_logs() -> None:
    (frame,) = FrameReader().feed(encode_frame(FrameKind.DATA, 1, 2, b"secret"))
    assert repr(frame) == "Frame(kind=2, stream=1, channel=2, payload=<6 bytes>)"
