"""A running distribution as the agent sees it: requests, exits and death of its pid 1."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guest import initclient
from guest.agent import distributions
from guest.agent.distributions import Distribution, left_running
from guest.agent.errors import AgentError
from guest.agent.loop import Loop
from guest.initprotocol import HEAD, REPLY_BIT, ZERO, Op
from tests.unit.guest.agent_harness import DEADLINE_S, open_descriptors, run_until

assert sys.platform != "win32"

SPAWN = initclient.Spawn(argv=(b"x",), environment=(), file=b"x")


class FakeInit:
    """The socket of a pid 1 whose process is one that only sleeps."""

    def __init__(self, directory: Path, identity: str = "1234") -> None:
        self.identity = identity
        (directory / identity).mkdir()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / identity / "init.sock"))
        self._listener.listen()
        self.process = subprocess.Popen(["sleep", "1000"])
        self.connection: socket.socket | None = None

    def accept(self) -> socket.socket:
        self.connection, _ = self._listener.accept()
        self.connection.settimeout(20)
        return self.connection

    def read_token(self) -> int:
        """Read a request; its descriptors are closed, as they are when they are not wanted."""
        assert self.connection is not None
        head, fds, _, _ = socket.recv_fds(self.connection, HEAD.size, 8)
        for fd in fds:
            os.close(fd)
        length, _op, _zero, token = HEAD.unpack(head)
        if length:
            self.connection.recv(length, socket.MSG_WAITALL)
        return int(token)

    def send(self, op: int, token: int, body: bytes) -> None:
        assert self.connection is not None
        self.connection.sendall(HEAD.pack(len(body), op, ZERO, token) + body)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self._listener.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(distributions, "RUN_DIRECTORY", str(tmp_path))
    return tmp_path


@pytest.fixture
def init(directory: Path) -> Iterator[FakeInit]:
    init = FakeInit(directory)
    yield init
    init.close()


class World:
    """A Distribution on a fake init, and what it has told."""

    def __init__(self, loop: Loop, init: FakeInit) -> None:
        self.loop, self.init = loop, init
        self.stopped: list[Distribution] = []
        self.replies: list[Any] = []
        self.exits: list[int] = []
        self.distribution = Distribution(
            loop, init.identity, "test", "disk", init.process.pid, self.stopped.append
        )
        init.accept()

    def request(self, message: initclient.Request, fds: tuple[int, ...] = ()) -> int:
        self.distribution.request(message, fds, self.replies.append)
        return self.init.read_token()


@pytest.fixture
def world(loop: Loop, init: FakeInit) -> Iterator[World]:
    world = World(loop, init)
    yield world
    init.process.kill()
    run_until(loop, lambda: bool(world.stopped))


def test_requests_are_answered_in_any_order(world: World) -> None:
    first = world.request(initclient.Stop())
    second = world.request(initclient.Kill(pid=7, signal=15))
    world.init.send(Op.KILL | REPLY_BIT, second, struct.pack("<i", 3))
    world.init.send(Op.STOP | REPLY_BIT, first, struct.pack("<i", 0))
    run_until(world.loop, lambda: len(world.replies) == 2)
    assert world.replies == [initclient.Done(second, 3), initclient.Done(first, 0)]


def test_an_exit_is_told_to_whom_it_concerns_once(world: World) -> None:
    world.distribution.expect_exit(7, world.exits.append)
    for pid in (8, 7, 7):
        world.init.send(Op.EXIT, 0, struct.pack("<iiQQQ", pid, 256, 0, 0, 0))
    run_until(world.loop, lambda: bool(world.exits))
    world.loop.post(world.loop.stop)
    world.loop.run()
    assert world.exits == [256]


def test_death_answers_what_was_asked_and_ends_what_ran(world: World) -> None:
    before = open_descriptors()
    with open(os.devnull, "r+b") as null:
        spawn = world.request(SPAWN, (null.fileno(),) * 3)
    master = world.request(initclient.Open(path=b"/dev/ptmx"))
    kill = world.request(initclient.Kill(pid=7, signal=1))
    world.distribution.expect_exit(7, world.exits.append)
    world.init.process.kill()
    run_until(world.loop, lambda: bool(world.stopped))
    assert world.exits == [signal.SIGKILL], "a wait status: killed by that signal"
    answers = {answer.token: answer for answer in world.replies}
    assert isinstance(answers[spawn], initclient.SpawnReply)
    assert isinstance(answers[master], initclient.OpenReply)
    assert answers[master].fd == -1
    assert isinstance(answers[kill], initclient.Done)
    assert all(answer.error for answer in answers.values())
    assert len(before - open_descriptors()) == 3, "connection, pidfd, mountinfo"
    with pytest.raises(AgentError):
        world.distribution.request(initclient.Stop(), (), world.replies.append)
    world.distribution.kill()
    assert world.distribution.wait_stopped(0)


def test_last_words_are_heard(world: World) -> None:
    """An exit that was told just before the end is that exit, whatever is noticed first."""
    assert world.init.connection is not None
    pids = range(7, 107)
    words = bytearray()
    for pid in pids:
        world.distribution.expect_exit(pid, world.exits.append)
        body = struct.pack("<iiQQQ", pid, 256, 0, 0, 0)
        words += HEAD.pack(len(body), Op.EXIT, ZERO, 0) + body
    world.init.connection.sendall(words)
    world.init.process.kill()
    world.init.process.wait()
    world.init.connection.close()
    run_until(world.loop, lambda: bool(world.stopped))
    assert world.exits == [256] * len(pids)


def test_a_thread_may_wait_for_the_end_and_kill(world: World) -> None:
    results: list[object] = []

    def end() -> bool:
        assert not world.distribution.wait_stopped(0)
        world.distribution.kill()
        return world.distribution.wait_stopped(DEADLINE_S)

    world.loop.run_in_thread(end, lambda result, error: results.append(error or result))
    run_until(world.loop, lambda: bool(results))
    assert results == [True]


@pytest.mark.parametrize("junk", [b"\xff" * HEAD.size, b""])
def test_an_init_that_breaks_its_protocol_is_killed(world: World, junk: bytes) -> None:
    """So is one that closes the connection: nothing can be asked of it any more."""
    world.request(initclient.Stop())
    assert world.init.connection is not None
    if junk:
        world.init.connection.sendall(junk)
    else:
        world.init.connection.close()
    run_until(world.loop, lambda: bool(world.stopped))
    assert world.init.process.wait() == -signal.SIGKILL
    assert len(world.replies) == 1


def test_nothing_can_be_asked_between_the_break_and_the_death(world: World) -> None:
    assert world.init.connection is not None
    world.distribution.kill = lambda: None  # type: ignore[method-assign]
    world.init.connection.sendall(b"\xff" * HEAD.size)
    run_until(world.loop, lambda: world.distribution._is_lost)
    with pytest.raises(AgentError, match="has ended"):
        world.distribution.request(initclient.Stop(), (), world.replies.append)


def test_requests_wait_for_room_in_the_socket(world: World) -> None:
    large = SPAWN._replace(argv=(b"x" * 100_000,))
    count = 20
    with open(os.devnull, "r+b") as null:
        for _ in range(count):
            world.distribution.request(large, (null.fileno(),) * 3, world.replies.append)
    tokens: list[int] = []

    def read_one() -> bool:
        import select

        assert world.init.connection is not None
        if select.select([world.init.connection], [], [], 0)[0]:
            head, fds, _, _ = socket.recv_fds(world.init.connection, HEAD.size, 8)
            for fd in fds:
                os.close(fd)
            length, _op, _zero, token = HEAD.unpack(head)
            body = b""
            while len(body) < length:
                world.loop.post(world.loop.stop)
                world.loop.run()
                body += world.init.connection.recv(length - len(body))
            tokens.append(token)
        return len(tokens) == count

    run_until(world.loop, read_one)
    assert tokens == sorted(tokens)


def test_a_next_agent_takes_over_what_runs(loop: Loop, init: FakeInit, directory: Path) -> None:
    stopped: list[Distribution] = []
    (directory / init.identity / "state").write_text(f"{init.process.pid}\ndisk\ntest\n")
    (directory / "damaged").mkdir()
    (directory / "damaged" / "state").write_text("garbage")
    (directory / "gone").mkdir()
    (directory / "gone" / "state").write_text("4194304\ndisk\nname\n")
    before = open_descriptors()
    (found,) = left_running(loop, stopped.append)
    assert (found.identity, found.name, found.disk) == (init.identity, "test", "disk")
    init.process.kill()
    run_until(loop, lambda: stopped == [found])
    assert open_descriptors() == before


def test_a_foreign_process_under_an_old_number_is_not_taken_over(
    loop: Loop, directory: Path
) -> None:
    (directory / "1234").mkdir()
    (directory / "1234" / "state").write_text(f"{os.getpid()}\ndisk\ntest\n")
    before = open_descriptors()
    assert left_running(loop, lambda distribution: None) == []
    assert open_descriptors() == before
