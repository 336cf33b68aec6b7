"""Hypothesis strategies for frames and messages."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

from wire import agent, client, codec, common
from wire.codec import Message
from wire.errors import FrameError
from wire.frame import (
    MAX_CHANNEL,
    MAX_DATA_BYTES,
    Frame,
    FrameKind,
    FrameReader,
    StreamId,
    encode_frame,
)


class PlainFrame(NamedTuple):
    """A frame's content, with a payload of its own."""

    kind: int
    stream: int
    channel: int
    payload: bytes

    def encode(self) -> bytes:
        return encode_frame(*self)


def plain(frame: Frame) -> PlainFrame:
    """A copy of a frame that outlives the reader's buffer."""
    return PlainFrame(frame.kind, frame.stream, frame.channel, bytes(frame.payload))


_streams = st.integers(0, StreamId.TERMINAL)
_sessions = st.integers(1, MAX_CHANNEL)

frames: st.SearchStrategy[PlainFrame] = st.one_of(
    st.builds(
        PlainFrame,
        st.just(FrameKind.MESSAGE),
        _streams,
        st.integers(0, MAX_CHANNEL),
        st.binary(min_size=2, max_size=300),
    ),
    st.builds(
        PlainFrame,
        st.just(FrameKind.DATA),
        _streams,
        _sessions,
        st.binary(min_size=1, max_size=300)
        | st.integers(1, MAX_DATA_BYTES).map(lambda size: b"d" * size),
    ),
    st.builds(
        PlainFrame,
        st.just(FrameKind.CREDIT),
        _streams,
        _sessions,
        st.binary(min_size=4, max_size=4),
    ),
    st.builds(
        PlainFrame,
        st.sampled_from([FrameKind.EOF, FrameKind.STOP]),
        _streams,
        _sessions,
        st.just(b""),
    ),
    st.just(PlainFrame(FrameKind.RESET, 0, 0, b"")),
)
"""Every valid frame; message payloads are arbitrary bytes."""


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` in pieces, cut at positions that wrap around; empty pieces are left out."""
    ends = sorted({at % (len(data) + 1) for at in cuts} | {len(data)})
    starts = [0, *ends]
    return [data[a:b] for a, b in zip(starts, ends, strict=False) if a < b]


FOLLOWING = b"\xff" * 70_000
"""Ends whatever frame may have begun before it but a long message, and is itself no frame."""


def is_refused(data: bytes) -> bool:
    """Whether a reader of frames refuses these bytes, and does not wait for more."""
    try:
        for _ in FrameReader().feed(data):
            pass
    except FrameError:
        return True
    return False


malformed = st.binary(min_size=1, max_size=200).map(lambda junk: junk + FOLLOWING)
malformed = malformed.filter(is_refused)
"""Bytes that are not frames, whatever they begin with."""


def fold_surrogates(data: bytes) -> str:
    """Bytes as the text that stands for them on the wire."""
    return data.decode("utf-8", "surrogateescape")


byte_text: st.SearchStrategy[str] = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.binary(max_size=20).map(fold_surrogates),
)
"""Text as messages may hold it: any bytes, as `surrogateescape` shows them."""

_BASES: dict[str, st.SearchStrategy[Any]] = {
    "str": byte_text,
    "int": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "dict[str, str]": st.dictionaries(byte_text, byte_text, max_size=4),
}


def _values(kind: str) -> st.SearchStrategy[Any]:
    """What a field annotated with `kind` may hold."""
    if kind.endswith(" | None"):
        return st.none() | _values(kind.removesuffix(" | None"))
    if kind.startswith("tuple["):
        item = kind.removeprefix("tuple[").removesuffix(", ...]")
        return st.lists(_values(item), max_size=4).map(tuple)
    if kind in _BASES:
        return _BASES[kind]
    return instances(codec._parts[kind])


def instances(cls: type[Message]) -> st.SearchStrategy[Message]:
    """Messages of one class, fields with a default sometimes left out."""
    required = {name: _values(kind) for name, kind in cls._fields.items()}
    optional = {name: required.pop(name) for name in cls._defaults}
    return st.fixed_dictionaries(required, optional=optional).map(lambda fields: cls(**fields))


LINKS = {"agent": agent, "client": client, "both": common}
"""The modules that declare messages."""
MESSAGES: tuple[type[Message], ...] = tuple(
    cls
    for module in LINKS.values()
    for cls in vars(module).values()
    if isinstance(cls, type) and issubclass(cls, Message) and cls.__module__ == module.__name__
    if cls.NAME
)
"""Every message of both links."""

messages: st.SearchStrategy[Message] = st.sampled_from(MESSAGES).flatmap(instances)
