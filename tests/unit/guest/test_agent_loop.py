"""The agent's loop: one callback's failure is its own, and no event or post gets lost."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable

import pytest

from guest.agent.loop import READABLE, WRITABLE, Loop, has_ended
from tests.unit.guest.agent_harness import run_until

assert sys.platform != "win32"


def fail(*_arguments: object) -> None:
    raise RuntimeError("a bug in a callback")


def test_readable_writable_and_nothing(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        events: list[int] = []
        loop.watch(ours.fileno(), WRITABLE, events.append)
        run_until(loop, lambda: WRITABLE in events)
        loop.change(ours.fileno(), READABLE)
        theirs.send(b"x")
        run_until(loop, lambda: READABLE in events)
        loop.change(ours.fileno(), 0)
        events.clear()
        theirs.close()
        run_until(loop, lambda: any(map(has_ended, events)))
        loop.forget(ours.fileno())


def test_what_is_forgotten_is_not_called(loop: Loop) -> None:
    with open_pipe() as pipe:
        calls: list[int] = []
        loop.watch(pipe.reader, READABLE, calls.append)
        pipe.write(b"x")
        loop.forget(pipe.reader)
        loop.forget(pipe.reader)
        loop.post(loop.stop)
        loop.run()
        assert calls == []


def test_failures_cost_only_their_own_callback(
    loop: Loop, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []
    with open_pipe() as failing, open_pipe() as working:
        for pipe, callback in ((failing, fail), (working, lambda _events: done.append("fd"))):
            loop.watch(pipe.reader, READABLE, callback)
            pipe.write(b"x")
        loop.call_later(0, fail)
        loop.call_later(0, lambda: done.append("timer"))
        loop.post(fail)
        loop.post(lambda: done.append("post"))
        run_until(loop, lambda: {"fd", "timer", "post"} <= set(done))
        assert capsys.readouterr().err.count("RuntimeError") >= 3
        loop.forget(failing.reader)
        loop.forget(working.reader)


def test_timers_are_called_in_their_order(loop: Loop) -> None:
    order: list[int] = []
    for delay in (3, 1, 2):
        loop.call_later(delay / 1000, lambda delay=delay: order.append(delay))  # type: ignore[misc]
    run_until(loop, lambda: len(order) == 3)
    assert order == [1, 2, 3]


def test_posts_from_threads_are_all_called(loop: Loop) -> None:
    count = 500
    called: list[tuple[int, int]] = []

    def post_all(thread: int) -> None:
        for number in range(count):
            loop.post(lambda thread=thread, number=number: called.append((thread, number)))  # type: ignore[misc]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=post_all, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        run_until(loop, lambda: len(called) == count * len(threads))
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    for number in range(len(threads)):
        assert [at for thread, at in called if thread == number] == list(range(count))


def test_events_of_a_closed_file_do_not_reach_its_successor(loop: Loop) -> None:
    """Both pipes are ready in one round; whichever comes first replaces the other's file."""
    first, second = open_pipe(), open_pipe()
    third = open_pipe()
    reached: list[int] = []

    def replace(other: Pipe) -> Callable[[int], None]:
        def callback(_events: int) -> None:
            for pipe in (first, second):
                loop.forget(pipe.reader)
            os.dup2(third.reader, other.reader)  # as if newly opened under that number
            loop.watch(other.reader, READABLE, reached.append)

        return callback

    with first, second, third:
        loop.watch(first.reader, READABLE, replace(second))
        loop.watch(second.reader, READABLE, replace(first))
        first.write(b"x")
        second.write(b"x")
        for _ in range(3):
            loop.post(loop.stop)
            loop.run()
        assert reached == [], "nothing was ever written to the third pipe"
        third.write(b"x")
        run_until(loop, lambda: bool(reached))
        for pipe in (first, second):
            loop.forget(pipe.reader)


def test_work_in_a_thread_reports_on_the_loops(loop: Loop) -> None:
    results: list[tuple[int | None, Exception | None, bool]] = []
    here = threading.current_thread()

    def done(result: int | None, error: Exception | None) -> None:
        results.append((result, error, threading.current_thread() is here))

    def broken() -> int:
        raise ValueError("no")

    loop.run_in_thread(lambda: 7, done)
    run_until(loop, lambda: len(results) == 1)
    assert results[0] == (7, None, True)
    loop.run_in_thread(broken, done)
    run_until(loop, lambda: len(results) == 2)
    assert results[1][0] is None
    assert isinstance(results[1][1], ValueError)
    assert results[1][2]


class Pipe:
    """Both ends of a pipe, closed at the end of a `with` block."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def write(self, data: bytes) -> None:
        os.write(self._writer, data)

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self.reader)
        os.close(self._writer)


def open_pipe() -> Pipe:
    return Pipe()
