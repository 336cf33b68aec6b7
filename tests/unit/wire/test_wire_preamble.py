"""The preamble is found in any split, after anything, and in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.wire.strategies import cut
from wire.preamble import ECHO, MAGIC, NONCE_BYTES, PreambleScanner

nonces = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)
garbage = st.lists(
    st.binary(max_size=40)
    | st.integers(1, len(MAGIC) - 1).map(lambda length: MAGIC[:length])
    | st.integers(1, len(MAGIC) - 1).map(lambda length: MAGIC[length:])
    | st.just(ECHO)
    | st.binary(max_size=5).map(lambda tail: MAGIC[:-1] + tail),
    max_size=6,
).map(b"".join)
"""Bytes that may come before a preamble: remains of frames, and false starts."""


def scan(scanner: PreambleScanner, pieces: list[bytes]) -> bytes | None:
    """What follows the preamble in the pieces; None if it has not come."""
    for index, piece in enumerate(pieces):
        rest = scanner.feed(piece)
        if rest is not None:
            return rest + b"".join(pieces[index + 1 :])
    return None


@given(garbage, nonces, st.binary(max_size=40), st.lists(st.integers(0, 2**20), max_size=10))
def test_the_agent_finds_the_preamble_in_any_split(
    before: bytes, nonce: bytes, after: bytes, cuts: list[int]
) -> None:
    assume(MAGIC not in before + MAGIC[:-1])  # else that one counts
    scanner = PreambleScanner(MAGIC)
    assert scan(scanner, cut(before + MAGIC + nonce + after, cuts)) == after
    assert scanner.nonce == nonce


@given(garbage, nonces, st.binary(max_size=40), st.lists(st.integers(0, 2**20), max_size=10))
def test_the_host_finds_its_own_nonce_only(
    before: bytes, nonce: bytes, after: bytes, cuts: list[int]
) -> None:
    other = bytes(byte ^ 0xFF for byte in nonce)
    stale = before + ECHO + other + before
    assume(ECHO + nonce not in stale + (ECHO + nonce)[:-1])
    stream = stale + ECHO + nonce + after
    assert scan(PreambleScanner(ECHO, nonce), cut(stream, cuts)) == after


@given(garbage, nonces, st.lists(st.integers(0, 2**20), max_size=10))
def test_nothing_is_found_before_the_last_byte(
    before: bytes, nonce: bytes, cuts: list[int]
) -> None:
    assume(MAGIC not in before + MAGIC[:-1])
    scanner = PreambleScanner(MAGIC)
    assert scan(scanner, cut(before + MAGIC + nonce[:-1], cuts)) is None
    assert scanner.feed(nonce[-1:]) == b""


@given(st.lists(st.binary(min_size=1, max_size=100), max_size=50))
def test_memory_is_bounded(pieces: list[bytes]) -> None:
    scanner = PreambleScanner(MAGIC)
    for piece in pieces:
        if scanner.feed(piece) is not None:
            return
        assert len(scanner._pending) < len(MAGIC) + NONCE_BYTES


@pytest.mark.parametrize("count", [1, len(MAGIC) - 1])
def test_a_false_start_may_be_the_true_ones_beginning(count: int) -> None:
    nonce = b"n" * NONCE_BYTES
    stream = MAGIC[:count] + MAGIC + nonce + b"rest"
    assert scan(PreambleScanner(MAGIC), [bytes([byte]) for byte in stream]) == b"rest"


def test_no_preamble_is_a_valid_frame() -> None:
    """So a peer that takes one for frames notices at once, instead of waiting for a payload."""
    from wire.errors import FrameError
    from wire.frame import FrameReader

    for marker in (MAGIC, ECHO):
        with pytest.raises(FrameError):
            list(FrameReader().feed(marker + bytes(NONCE_BYTES)))
