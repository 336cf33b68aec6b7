"""Streams of a session over real pipes and terminals."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import sys
import tty
from collections.abc import Iterator

import pytest

from guest.agent.streams import InputStream, OutputStream
from tests.unit.guest.agent_harness import Linked
from wire.errors import FlowError
from wire.flow import WINDOW_BYTES
from wire.frame import MAX_DATA_BYTES, FrameKind, StreamId

assert sys.platform != "win32"

SESSION = 1


class Pipe:
    """A pipe of which the stream has one end and the test, as the process, the other."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)

    def close_reader(self) -> None:
        os.close(self.reader)
        self.reader = -1

    def close_writer(self) -> None:
        os.close(self.writer)
        self.writer = -1

    def close(self) -> None:
        for fd in (self.reader, self.writer):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


class Output:
    """An OutputStream, fed from `pipe`."""

    def __init__(self, linked: Linked, pipe: Pipe) -> None:
        self.linked, self.pipe = linked, pipe
        self.ends = 0
        self.stream = OutputStream(
            linked.loop, linked.link, SESSION, StreamId.STDOUT, os.dup(pipe.reader), self._on_end
        )
        pipe.close_reader()
        os.set_blocking(pipe.writer, False)

    def _on_end(self) -> None:
        self.ends += 1

    @property
    def data(self) -> bytes:
        return self.linked.host.bytes_of(StreamId.STDOUT)

    @property
    def is_over(self) -> bool:
        return self.linked.host.has(FrameKind.EOF, StreamId.STDOUT)

    def write_all(self, data: bytes) -> None:
        """Write as a process would that the pipe holds up, while the agent runs."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.pipe.writer, view) :]
            except BlockingIOError:
                before = len(self.data)
                self.linked.run_until(lambda before=before: len(self.data) > before)  # type: ignore[misc]


@pytest.fixture
def output(synchronised: Linked, pipe: Pipe) -> Iterator[Output]:
    output = Output(synchronised, pipe)
    yield output
    output.stream.end()


def test_output_is_sent_as_it_is_and_then_its_end(output: Output) -> None:
    data = bytes(range(256)) * 500
    output.write_all(data)
    output.pipe.close_writer()
    output.linked.run_until(lambda: output.is_over)
    assert output.data == data
    assert output.ends == 1
    assert all(len(frame.payload) <= MAX_DATA_BYTES for frame in output.linked.host.frames)


def test_output_stops_at_the_window_and_goes_on_with_credit(output: Output) -> None:
    data = os.urandom(3 * WINDOW_BYTES // 2)
    try:
        while True:
            os.write(output.pipe.writer, data[:65536])
            output.linked.settle()
    except BlockingIOError:
        pass
    output.linked.settle()
    assert len(output.data) == WINDOW_BYTES
    output.linked.host.grant(StreamId.STDOUT, SESSION, 10)
    output.linked.settle()
    assert len(output.data) == WINDOW_BYTES, "credit is for the session, and not yet passed on"
    output.stream.grant(10)
    output.linked.run_until(lambda: len(output.data) == WINDOW_BYTES + 10)
    output.linked.settle()
    assert len(output.data) == WINDOW_BYTES + 10


def test_too_much_credit_is_refused(output: Output) -> None:
    with pytest.raises(FlowError):
        output.stream.grant(1)


def test_stop_closes_the_pipe_under_the_process(output: Output) -> None:
    output.stream.end()
    with pytest.raises(BrokenPipeError):
        os.write(output.pipe.writer, b"x")
    assert output.is_over
    output.stream.grant(0)
    output.stream.end()
    assert output.ends == 1


def test_a_finished_process_sends_what_is_in_the_pipe(output: Output) -> None:
    os.write(output.pipe.writer, b"last words")
    output.stream.finish()  # while `writer` is open, as in a background child
    output.linked.run_until(lambda: output.is_over)
    assert output.data == b"last words"


def test_what_a_background_child_adds_later_is_not_waited_for(output: Output) -> None:
    output.stream.finish()
    output.linked.run_until(lambda: output.is_over)
    assert output.data == b""
    with pytest.raises(BrokenPipeError):
        os.write(output.pipe.writer, b"later")


def test_a_finished_process_waits_for_credit(output: Output) -> None:
    output.stream._window.take(WINDOW_BYTES - 3)
    os.write(output.pipe.writer, b"last words")
    output.stream.finish()
    output.linked.run_until(lambda: output.data == b"las")
    output.linked.settle()
    assert not output.is_over
    output.stream.grant(20)
    output.linked.run_until(lambda: output.is_over)
    assert output.data == b"last words"


@pytest.mark.parametrize("left", [0, 10, 262_048])
def test_a_process_that_ends_while_the_link_is_congested(
    linked: Linked, pipe: Pipe, left: int
) -> None:
    """`left` bytes are in the pipe; 262048 is just what one turn sends."""
    os.set_blocking(pipe.writer, False)
    fcntl.fcntl(pipe.writer, fcntl.F_SETPIPE_SZ, 1024 * 1024)
    linked.host.shrink()
    linked.synchronise()
    output = Output(linked, pipe)
    filler = b""
    while not linked.link.is_congested:
        linked.link.send_frame(b"\1\0\0\0\2\2\0\0\1\0\0\0x")  # a byte on another stream
        filler += b"x"
    assert os.write(pipe.writer, b"l" * left) == left if left else True
    output.stream.finish()
    linked.run_until(lambda: output.is_over)
    assert output.data == b"l" * left
    assert linked.host.bytes_of(StreamId.STDERR) == filler


def test_credit_that_comes_while_the_link_is_congested_is_used_later(
    linked: Linked, pipe: Pipe
) -> None:
    """It was what the stream waited for, and other streams have filled the link meanwhile."""
    linked.host.shrink()
    linked.synchronise()
    output = Output(linked, pipe)
    output.stream._window.take(WINDOW_BYTES)
    os.write(pipe.writer, b"later")
    linked.settle()
    while not linked.link.is_congested:
        linked.link.send_frame(b"\1\0\0\0\2\2\0\0\1\0\0\0x")  # a byte on another stream
    output.stream.grant(3)
    output.stream.grant(2)
    linked.run_until(lambda: output.data == b"later")


def test_a_terminal_whose_other_side_is_gone_is_at_its_end(synchronised: Linked) -> None:
    master, slave = pty.openpty()
    ends: list[bool] = []
    OutputStream(
        synchronised.loop,
        synchronised.link,
        SESSION,
        StreamId.TERMINAL,
        master,
        lambda: ends.append(True),
    )
    tty.setraw(slave)
    os.write(slave, b"bye")
    os.close(slave)
    synchronised.run_until(lambda: bool(ends))
    assert synchronised.host.bytes_of(StreamId.TERMINAL) == b"bye"


def test_the_end_of_a_terminal_may_come_before_its_last_words(
    synchronised: Linked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's race, played: EIO, though the process has written before it closed."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    readv = os.readv
    early = [OSError(errno.EIO, "Input/output error")]

    def racing(fd: int, buffers: list[memoryview]) -> int:
        if fd == master and early:
            raise early.pop()
        return readv(fd, buffers)

    monkeypatch.setattr(os, "readv", racing)
    ends: list[bool] = []
    linked = synchronised
    OutputStream(
        linked.loop, linked.link, SESSION, StreamId.TERMINAL, master, lambda: ends.append(True)
    )
    os.write(slave, b"bye")
    os.close(slave)
    linked.run_until(lambda: bool(ends))
    assert linked.host.bytes_of(StreamId.TERMINAL) == b"bye"


def test_a_terminal_kept_open_in_the_background_ends_with_its_process(
    synchronised: Linked,
) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    ends: list[bool] = []
    stream = OutputStream(
        synchronised.loop,
        synchronised.link,
        SESSION,
        StreamId.TERMINAL,
        master,
        lambda: ends.append(True),
    )
    os.write(slave, b"bye")
    stream.finish()
    synchronised.run_until(lambda: bool(ends))
    assert synchronised.host.bytes_of(StreamId.TERMINAL) == b"bye"
    os.close(slave)


class Input:
    """An InputStream that writes to `pipe`."""

    def __init__(self, linked: Linked, pipe: Pipe) -> None:
        self.linked, self.pipe = linked, pipe
        self.stream = InputStream(
            linked.loop, linked.link, SESSION, StreamId.STDIN, os.dup(pipe.writer)
        )
        pipe.close_writer()
        os.set_blocking(pipe.reader, False)

    def receive(self, data: bytes) -> None:
        """DATA from the host, in frames of their largest size."""
        for start in range(0, len(data), MAX_DATA_BYTES):
            self.stream.receive(memoryview(data)[start : start + MAX_DATA_BYTES])

    def read(self, count: int) -> bytes:
        """What the process gets when it reads for `count` bytes, or to the end."""
        data = b""

        def is_enough() -> bool:
            nonlocal data
            try:
                part = os.read(self.pipe.reader, count - len(data))
            except BlockingIOError:
                return False
            data += part
            return not part or len(data) == count

        self.linked.run_until(is_enough)
        return data


@pytest.fixture
def input_(synchronised: Linked, pipe: Pipe) -> Iterator[Input]:
    found = Input(synchronised, pipe)
    yield found
    found.stream.close()


def test_input_is_written_as_it_is_and_then_closed(input_: Input) -> None:
    data = bytes(range(256)) * 2000
    input_.receive(data)
    input_.stream.end()
    assert input_.read(len(data) + 1) == data
    assert input_.stream.has_ended


def test_credit_is_granted_as_the_process_reads(input_: Input) -> None:
    input_.receive(b"x" * WINDOW_BYTES)
    input_.linked.settle()
    granted = input_.linked.host.credit(StreamId.STDIN)
    assert granted <= 256 * 1024, "no more than the pipe has taken"
    assert input_.read(WINDOW_BYTES) == b"x" * WINDOW_BYTES
    input_.linked.run_until(lambda: input_.linked.host.credit(StreamId.STDIN) == WINDOW_BYTES)


def test_a_process_that_does_not_read_costs_one_window(input_: Input) -> None:
    input_.receive(b"x" * WINDOW_BYTES)
    assert len(input_.stream._waiting) <= WINDOW_BYTES
    with pytest.raises(FlowError):
        input_.receive(b"x")


def test_single_bytes_cost_no_more_memory_than_many(input_: Input) -> None:
    input_.receive(b"x" * 500_000)  # the pipe is full
    waiting = len(input_.stream._waiting)
    for _ in range(1000):
        input_.receive(b"y")
    assert len(input_.stream._waiting) == waiting + 1000
    assert input_.stream._waiting.__sizeof__() < 2 * (waiting + 1000)


def test_an_end_waits_for_what_came_before(input_: Input) -> None:
    input_.receive(b"x" * 500_000)
    input_.stream.end()
    assert not input_.stream.has_ended
    assert len(input_.read(500_001)) == 500_000
    assert input_.stream.has_ended


def test_data_after_the_end_is_dropped(input_: Input) -> None:
    input_.receive(b"x" * 500_000)
    input_.stream.end()
    input_.receive(b"y")
    assert input_.read(500_001) == b"x" * 500_000
    input_.receive(b"y")


def test_a_closed_reader_stops_the_host_though_nothing_is_sent(input_: Input) -> None:
    input_.pipe.close_reader()
    host = input_.linked.host
    input_.linked.run_until(lambda: host.has(FrameKind.STOP, StreamId.STDIN))
    assert input_.stream.has_ended
    input_.receive(b"x")
    input_.stream.stop()
    input_.linked.settle()
    stops = [frame for frame in host.frames if frame.kind == FrameKind.STOP]
    assert len(stops) == 1


def test_a_reader_that_closes_in_the_middle_stops_the_host(input_: Input) -> None:
    input_.receive(b"x" * WINDOW_BYTES)
    input_.pipe.close_reader()
    host = input_.linked.host
    input_.linked.run_until(lambda: host.has(FrameKind.STOP, StreamId.STDIN))
    assert not input_.stream._waiting


def test_a_writer_to_a_closed_pipe_stops_before_the_loop_notices(input_: Input) -> None:
    input_.pipe.close_reader()
    input_.receive(b"x")
    assert input_.stream.has_ended
    input_.linked.run_until(lambda: input_.linked.host.has(FrameKind.STOP, StreamId.STDIN))
