"""Sessions: real processes over a real link; the order and the ways of their end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from guest.agent import children
from guest.agent.session import Session, make_channels
from guest.agent.spawning import adopt
from tests.unit.guest.agent_harness import Linked, open_descriptors
from wire.common import Exited, Terminal
from wire.errors import FlowError
from wire.flow import WINDOW_BYTES
from wire.frame import Frame, FrameKind, Role, StreamId

assert sys.platform != "win32"

SIZE = Terminal(rows=24, columns=80)


class Run:
    """A process in session 1 of a link."""

    def __init__(self, linked: Linked, script: str, terminal: Terminal | None = None) -> None:
        self.linked = linked
        master = -1 if terminal is None else os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
        channels = make_channels(terminal, master, ())
        self.ended: list[Session] = []
        self.session = Session(linked.loop, linked.link, 1, channels, self.ended.append)
        name = "" if terminal is None else os.ttyname(channels.theirs[0])
        self.pid = children.spawn(["sh", "-c", script], channels.theirs, terminal=name)
        channels.close_theirs()

    def adopt(self) -> None:
        adopt(self.linked.loop, self.pid, self.session)

    @property
    def exits(self) -> list[Exited]:
        return [event for event in self.linked.host.events() if isinstance(event, Exited)]

    def wait(self) -> Exited:
        """How it ends."""
        self.linked.run_until(lambda: bool(self.exits))
        assert self.ended == [self.session]
        return self.exits[0]

    def frame(self, kind: int, stream: int, payload: bytes = b"") -> None:
        self.session.on_frame(Frame(kind, stream, 1, memoryview(payload)))

    def wait_output(self, stream: int, text: bytes) -> None:
        self.linked.run_until(lambda: text in self.linked.host.bytes_of(stream))


@pytest.fixture(autouse=True)
def no_descriptor_is_left(linked: Linked) -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() == before


def test_exited_comes_after_all_output(synchronised: Linked) -> None:
    run = Run(synchronised, "echo out; echo err >&2; exit 3")
    run.adopt()
    assert run.wait() == Exited(session=1, status=3)
    last = synchronised.host.frames[-1]
    assert (last.kind, last.stream) == (FrameKind.MESSAGE, Role.EVENT)
    assert synchronised.host.bytes_of(StreamId.STDOUT) == b"out\n"
    assert synchronised.host.bytes_of(StreamId.STDERR) == b"err\n"
    for stream in (StreamId.STDOUT, StreamId.STDERR):
        assert synchronised.host.has(FrameKind.EOF, stream)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGRTMIN + 5])
def test_signals_reach_the_group_and_are_told(synchronised: Linked, number: int) -> None:
    run = Run(synchronised, "echo up; sleep 1000; echo never")
    run.adopt()
    run.wait_output(StreamId.STDOUT, b"up")
    run.session.signal(number)
    assert run.wait() == Exited(session=1, status=0, signal=number)
    run.session.signal(number)


def test_a_hang_up_ends_the_process_and_closes_its_pipes(synchronised: Linked) -> None:
    run = Run(synchronised, "echo up; cat")
    run.adopt()
    run.wait_output(StreamId.STDOUT, b"up")
    run.session.hang_up()
    assert run.wait().signal == signal.SIGHUP


def test_a_hang_up_before_the_process_is_known_reaches_it(synchronised: Linked) -> None:
    run = Run(synchronised, "sleep 1000")
    run.session.hang_up()
    run.adopt()
    assert run.wait().signal == signal.SIGHUP


def test_a_dropped_session_ends_without_a_word(synchronised: Linked) -> None:
    run = Run(synchronised, "echo up; sleep 1000")
    run.adopt()
    run.wait_output(StreamId.STDOUT, b"up")
    run.session.drop()
    synchronised.run_until(lambda: bool(run.ended))
    synchronised.settle()
    assert run.exits == []


def test_a_client_that_does_not_read_holds_the_exit_up(synchronised: Linked) -> None:
    run = Run(synchronised, f"head -c {WINDOW_BYTES + 100} /dev/zero")
    run.adopt()
    host = synchronised.host
    synchronised.run_until(lambda: len(host.bytes_of(StreamId.STDOUT)) == WINDOW_BYTES)
    synchronised.settle()
    assert run.exits == []
    run.frame(FrameKind.CREDIT, StreamId.STDOUT, (1000).to_bytes(4, "little"))
    assert run.wait().status == 0
    assert len(host.bytes_of(StreamId.STDOUT)) == WINDOW_BYTES + 100


@pytest.mark.parametrize(
    ("kind", "stream"),
    [
        (FrameKind.DATA, StreamId.STDOUT),
        (FrameKind.EOF, StreamId.STDERR),
        (FrameKind.CREDIT, StreamId.STDIN),
        (FrameKind.STOP, StreamId.STDIN),
    ],
)
def test_frames_the_wrong_way_are_refused(synchronised: Linked, kind: int, stream: int) -> None:
    run = Run(synchronised, "cat")
    run.adopt()
    with pytest.raises(FlowError):
        run.frame(kind, stream, b"\0\0\0\0" if kind in (FrameKind.DATA, FrameKind.CREDIT) else b"")
    run.frame(FrameKind.EOF, StreamId.STDIN)
    run.wait()


def test_frames_for_a_stream_that_is_not_there_are_ignored(synchronised: Linked) -> None:
    run = Run(synchronised, "cat")
    run.adopt()
    run.frame(FrameKind.DATA, StreamId.TERMINAL, b"x")
    run.frame(FrameKind.EOF, StreamId.TERMINAL)
    run.frame(FrameKind.CREDIT, StreamId.TERMINAL, b"\xff\0\0\0")
    run.frame(FrameKind.STOP, StreamId.TERMINAL)
    run.session.resize(10, 10)
    run.frame(FrameKind.DATA, StreamId.STDIN, b"hello")
    run.frame(FrameKind.EOF, StreamId.STDIN)
    assert run.wait().status == 0
    assert synchronised.host.bytes_of(StreamId.STDOUT) == b"hello"


def test_a_terminal_has_its_size_and_takes_another(synchronised: Linked) -> None:
    script = "trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.01; done"
    run = Run(synchronised, script, SIZE)
    run.adopt()
    run.wait_output(StreamId.TERMINAL, b"24 80")
    run.session.resize(-1, 70000)  # what no terminal can have becomes what it can
    run.wait_output(StreamId.TERMINAL, b"65535 4464")
    assert run.wait().status == 0
    run.session.resize(1, 1)


def test_keys_reach_the_terminal(synchronised: Linked) -> None:
    run = Run(synchronised, "read line; echo got $line", SIZE)
    run.adopt()
    run.frame(FrameKind.DATA, StreamId.TERMINAL, "tür\x7fr\r".encode())
    run.wait_output(StreamId.TERMINAL, "got tür".encode())
    run.wait()


def test_backspace_erases_a_character(synchronised: Linked) -> None:
    run = Run(synchronised, "read line; echo got $line", SIZE)
    run.adopt()
    run.frame(FrameKind.DATA, StreamId.TERMINAL, "aü\x7fb\r".encode())
    run.wait_output(StreamId.TERMINAL, b"got ab")
    run.wait()


def test_channels_that_cannot_be_made_leave_nothing_open() -> None:
    before = open_descriptors()
    with pytest.raises(OSError, match=r"Inappropriate ioctl|ENOTTY|Bad"):
        make_channels(SIZE, os.open(os.devnull, os.O_RDWR), ())
    assert open_descriptors() == before


def test_redirected_descriptors_are_pipes_beside_the_terminal() -> None:
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    channels = make_channels(SIZE, master, (1,))
    assert [os.isatty(fd) for fd in channels.theirs] == [True, False, True]
    assert set(channels.inputs) == {StreamId.TERMINAL}
    assert set(channels.outputs) == {StreamId.TERMINAL, StreamId.STDOUT}
    channels.close_theirs()
    for fd in (*channels.inputs.values(), *channels.outputs.values()):
        os.close(fd)
