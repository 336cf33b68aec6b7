"""The agent's end of the link: preamble, resets, congestion, a host that is away."""

from __future__ import annotations

import os
import socket
import sys

import pytest
from hypothesis import HealthCheck, given, settings

from guest.agent import link as link_module
from guest.agent.link import Link
from guest.agent.loop import Loop
from tests.unit.guest.agent_harness import Linked
from tests.unit.wire.strategies import PlainFrame, malformed
from wire.common import Done
from wire.errors import FlowError
from wire.frame import HEADER, FrameKind, Role, StreamId, encode_frame
from wire.preamble import MAGIC

assert sys.platform != "win32"

DATA = encode_frame(FrameKind.DATA, StreamId.STDIN, 1, b"x")


def test_the_preamble_is_answered_with_its_nonce(linked: Linked) -> None:
    linked.host.send_raw(b"the rest of an old frame" + MAGIC[:5])
    linked.synchronise()
    assert linked.host.junk == b""
    assert linked.received == []


def test_frames_may_follow_the_preamble_at_once(linked: Linked) -> None:
    linked.host.greet()
    linked.host.send_raw(DATA + DATA)
    linked.run_until(lambda: len(linked.received) == 2)
    assert linked.received[0] == PlainFrame(FrameKind.DATA, StreamId.STDIN, 1, b"x")


def test_nothing_is_sent_before_the_preamble(linked: Linked) -> None:
    linked.link.send_event(Done())
    linked.synchronise()
    linked.link.send_event(Done())
    linked.run_until(lambda: bool(linked.host.events()))
    assert linked.host.events() == [Done()]
    assert linked.host.junk == b""


@pytest.mark.parametrize("data", [encode_frame(FrameKind.RESET, 0, 0), b"\xff" * 12])
def test_a_reset_drops_the_state_and_opens_the_port_again(
    synchronised: Linked, data: bytes
) -> None:
    linked = synchronised
    generation = linked.link.generation
    linked.host.send_raw(DATA + data + DATA)
    linked.run_until(lambda: linked.resets == 1)
    assert linked.host.opened == 2
    assert linked.link.generation != generation
    assert len(linked.received) == 1, "what follows a reset waits for a preamble"
    linked.synchronise()
    linked.host.send_raw(DATA)
    linked.run_until(lambda: len(linked.received) == 2)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(malformed)
def test_a_link_serves_again_after_any_bytes(linked: Linked, junk: bytes) -> None:
    linked.synchronise()
    resets = linked.resets
    linked.host.send_raw(junk)
    linked.run_until(lambda: linked.resets > resets)
    linked.synchronise()
    linked.received.clear()
    linked.host.send_raw(DATA)
    linked.run_until(lambda: linked.received == [PlainFrame(FrameKind.DATA, 0, 1, b"x")])


def test_a_frame_that_cannot_be_handled_costs_only_itself(
    synchronised: Linked, capsys: pytest.CaptureFixture[str]
) -> None:
    linked = synchronised
    handle = linked.on_frame

    def fail_once(frame: object) -> None:
        linked.link._on_frame = handle
        raise RuntimeError("a bug")

    linked.link._on_frame = fail_once
    linked.host.send_raw(DATA * 3)
    linked.run_until(lambda: len(linked.received) == 2)
    assert linked.resets == 0
    assert "RuntimeError" in capsys.readouterr().err


def test_a_rule_broken_by_a_frame_resets_the_link(synchronised: Linked) -> None:
    def refuse(frame: object) -> None:
        raise FlowError("no credit")

    synchronised.link._on_frame = refuse
    synchronised.host.send_raw(DATA)
    synchronised.run_until(lambda: synchronised.resets == 1)


def test_an_agent_without_its_port_ends(synchronised: Linked) -> None:
    def refuse() -> int:
        raise PermissionError("busy")

    synchronised.link._open_port = refuse
    synchronised.host.send_raw(b"\xff" * HEADER.size)
    with pytest.raises(SystemExit, match="busy"):
        synchronised.run_until(lambda: False)
    synchronised.link._fd = os.open(os.devnull, os.O_RDONLY)  # for the fixture to close


def fill(linked: Linked) -> bytes:
    """Send until the link is congested and then some; returns all that was sent."""
    sent = b""
    while not linked.link.is_congested or len(sent) < 200_000:
        frame = encode_frame(FrameKind.DATA, StreamId.STDOUT, 1, os.urandom(5000))
        linked.link.send_frame(frame)
        sent += frame[HEADER.size :]
    return sent


def test_congestion_keeps_the_order_and_ends(linked: Linked) -> None:
    linked.host.shrink()
    linked.synchronise()
    called: list[bool] = []
    sent = fill(linked)
    linked.link.when_writable(lambda: called.append(linked.link.is_congested))
    assert called == []
    linked.run_until(lambda: linked.host.bytes_of(StreamId.STDOUT) == sent)
    assert called == [False]


def test_a_host_that_is_away_for_a_moment_misses_nothing(
    linked: Linked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As during a migration: reads end, nothing is taken; then the link must go on."""
    monkeypatch.setattr(link_module, "_HOST_GONE_POLL_S", 0.001)
    linked.synchronise()
    linked.host.socket.shutdown(socket.SHUT_WR)
    linked.run_until(lambda: linked.link._host_gone_s > 0)
    sent = fill(linked)
    linked.run_until(lambda: linked.host.bytes_of(StreamId.STDOUT) == sent)
    assert linked.gone == 0


def test_a_host_that_stays_away_is_gone(
    synchronised: Linked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "_HOST_GONE_POLL_S", 0.001)
    monkeypatch.setattr(link_module, "_HOST_GONE_LIMIT_S", 0.01)
    synchronised.host.socket.shutdown(socket.SHUT_WR)
    synchronised.run_until(lambda: synchronised.gone > 0)


def test_replies_and_events_say_what_they_are(synchronised: Linked) -> None:
    synchronised.link.send(Role.REPLY, 7, Done())
    synchronised.link.send_event(Done())
    synchronised.run_until(lambda: bool(synchronised.host.events()))
    assert synchronised.host.reply(7) == Done()
    assert synchronised.host.events() == [Done()]


def test_a_link_needs_its_port_from_the_start(loop: Loop) -> None:
    def refuse() -> int:
        raise FileNotFoundError("no such port")

    with pytest.raises(FileNotFoundError):
        Link(loop, refuse, lambda frame: None, lambda: None, lambda: None)
