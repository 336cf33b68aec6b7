"""Credit: no receiver is sent more than it allowed, and none waits for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.errors import FlowError
from wire.flow import WINDOW_BYTES, ReceiveWindow, SendWindow

sizes = st.integers(1, WINDOW_BYTES)


@given(st.lists(st.tuples(sizes, sizes), max_size=60))
def test_a_sender_and_a_receiver_stay_within_one_window(steps: list[tuple[int, int]]) -> None:
    """Each step the sender sends what it may and the receiver takes some of what waits."""
    sender, receiver = SendWindow(), ReceiveWindow()
    waiting = 0
    for wanted, taken in steps:
        count = sender.take(wanted)
        receiver.receive(count)
        waiting += count
        assert 0 <= sender.available <= WINDOW_BYTES
        assert waiting <= WINDOW_BYTES
        taken = min(taken, waiting)
        waiting -= taken
        credit = receiver.consume(taken)
        if credit:
            sender.grant(credit)
    credit = receiver.consume(waiting)
    if credit:
        sender.grant(credit)
    assert sender.available > 0, "everything is taken and yet nothing may be sent"


def test_a_sender_waits_when_its_credit_is_used_up() -> None:
    sender = SendWindow()
    assert sender.take(WINDOW_BYTES + 1) == WINDOW_BYTES
    assert sender.take(1) == 0
    sender.grant(10)
    assert sender.take(20) == 10


def test_bytes_without_credit_are_refused() -> None:
    receiver = ReceiveWindow()
    receiver.receive(WINDOW_BYTES)
    with pytest.raises(FlowError):
        receiver.receive(1)


@given(st.integers(0, WINDOW_BYTES), st.integers(0, 2**32 - 1))
def test_credit_beyond_one_window_is_refused(sent: int, granted: int) -> None:
    sender = SendWindow()
    sender.take(sent)
    if granted <= sent:
        sender.grant(granted)
        return
    with pytest.raises(FlowError):
        sender.grant(granted)
    assert sender.available == WINDOW_BYTES - sent


def test_credit_comes_in_large_steps() -> None:
    receiver = ReceiveWindow()
    receiver.receive(WINDOW_BYTES)
    grants = [receiver.consume(1024) for _ in range(WINDOW_BYTES // 1024)]
    assert sum(grants) == WINDOW_BYTES
    assert sum(grant > 0 for grant in grants) == 4
