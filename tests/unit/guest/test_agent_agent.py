"""The agent's answers, as a process of this host in a machine that is not one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guest.agent import disks, distributions
from guest.agent.agent import Agent
from guest.agent.errors import AgentError
from guest.agent.loop import Loop
from guest.agent.system import System
from tests.unit.guest.agent_harness import Host, close_loop, open_descriptors, run_until
from wire import failures
from wire.agent import (
    FindUser,
    Hello,
    InspectRoot,
    PowerOff,
    Spawn,
    Spawned,
    StartDistribution,
    StopDistribution,
    Welcome,
)
from wire.client import Run
from wire.codec import Message
from wire.common import PROTOCOL_VERSION, Done, Exited, Failure, Hangup, Resize, Signal
from wire.frame import FrameKind, Role, StreamId

assert sys.platform != "win32"


class FakeSystem(System):
    """A machine that only remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.error: OSError | None = None

    def set_clock(self, time_ns: int) -> None:
        if self.error:
            raise self.error
        self.told.append(time_ns)

    def set_hostname(self, hostname: str) -> None:
        self.told.append(hostname)

    def power_off(self) -> None:
        self.told.append("off")


class World:
    """An agent and its host, greeted."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.host = Host()
        self.system = FakeSystem()
        self.agent = Agent(self.loop, self.host.open_port, "0.0.test", self.system)
        self._number = 0
        self.synchronise()

    def synchronise(self) -> None:
        self.host.greet()
        self.run_until(lambda: self.host.is_synchronised)

    def run_until(self, condition: Callable[[], bool]) -> None:
        run_until(self.loop, condition)

    def ask(self, message: Message) -> int:
        self._number += 1
        self.host.request(self._number, message)
        return self._number

    def request(self, message: Message) -> Message:
        """The answer to a request."""
        number = self.ask(message)
        self.run_until(lambda: self.host.reply(number) is not None)
        answer = self.host.reply(number)
        assert answer is not None
        return answer

    def wait_reset(self) -> None:
        opened = self.host.opened
        self.run_until(lambda: self.host.opened > opened)

    def wait_exit(self, session: int) -> Exited:
        def found() -> list[Exited]:
            events = self.host.events()
            return [e for e in events if isinstance(e, Exited) and e.session == session]

        self.run_until(lambda: bool(found()))
        assert len(found()) == 1
        return found()[0]

    def close(self) -> None:
        os.close(self.agent._link._fd)
        close_loop(self.loop)
        self.host.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(distributions, "RUN_DIRECTORY", str(tmp_path / "run"))
    world = World()
    yield world
    world.close()


def test_hello_is_answered_and_obeyed(world: World) -> None:
    hello = Hello(protocol=99, version="other", time_ns=123, hostname="name")
    answer = world.request(hello)
    assert isinstance(answer, Welcome)
    assert (answer.protocol, answer.version) == (PROTOCOL_VERSION, "0.0.test")
    assert answer.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert answer.kernel == os.uname().release
    assert world.system.told == [123, "name"]


def test_a_failure_is_an_answer(world: World) -> None:
    world.system.error = PermissionError(1, "no clock")
    answer = world.request(Hello(protocol=1, version="", time_ns=0))
    assert isinstance(answer, Failure)
    assert "no clock" in answer.message


@pytest.mark.parametrize(
    "message",
    [
        Spawn(session=1, distribution="", argv=("nul\0byte",)),
        Spawn(session=1, distribution="", argv=("/no/such/program",)),
        Spawn(session=1, distribution="", argv=(os.devnull,)),
        Spawn(session=1, distribution="", argv=("true",), environment={"A=B": "x"}),
        Spawn(session=1, distribution="not running", argv=("true",)),
        FindUser(distribution="not running", name="root"),
    ],
    ids=lambda message: repr(message)[:60],
)
def test_what_cannot_be_done_is_refused_and_leaves_nothing(world: World, message: Message) -> None:
    before = open_descriptors()
    assert isinstance(world.request(message), Failure)
    assert open_descriptors() == before
    assert len(world.agent._sessions) == 0
    if isinstance(message, Spawn):  # the number is free again
        assert isinstance(world.request(Spawn(session=1, distribution="", argv=("true",))), Spawned)
        assert world.wait_exit(1).status == 0
    assert open_descriptors() == before


def test_a_missing_program_is_told_apart(world: World) -> None:
    answer = world.request(Spawn(session=1, distribution="", argv=("no-such-program",)))
    assert isinstance(answer, Failure)
    assert answer.code == failures.EXEC_NOT_FOUND


def test_a_handlers_bug_is_an_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.system, "boot_id", lambda: 1 / 0)
    answer = world.request(Hello(protocol=1, version="", time_ns=0))
    assert isinstance(answer, Failure)
    assert answer.code == failures.INTERNAL
    assert "ZeroDivisionError" in answer.message


def test_an_answer_that_fits_no_frame_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.system, "boot_id", lambda: "x" * 5_000_000)
    answer = world.request(Hello(protocol=1, version="", time_ns=0))
    assert isinstance(answer, Failure)


@pytest.mark.parametrize(
    ("role", "message"),
    [
        (Role.REQUEST, Done()),
        (Role.REQUEST, Run()),
        (Role.REQUEST, Resize(session=1, rows=1, columns=1)),
        (Role.REPLY, Done()),
        (Role.REPLY, PowerOff()),
        (Role.EVENT, PowerOff()),
        (3, PowerOff()),
        (Role.REQUEST, Spawn(session=0, distribution="")),
        (Role.REQUEST, Spawn(session=2**32, distribution="")),
    ],
    ids=repr,
)
def test_messages_out_of_place_reset_the_link(world: World, role: int, message: Message) -> None:
    world.host.send_message(role, 1, message)
    world.wait_reset()
    world.synchronise()
    assert world.system.told == []
    assert isinstance(world.request(Hello(protocol=1, version="", time_ns=0)), Welcome)


def test_a_session_number_in_use_resets_the_link(world: World) -> None:
    world.request(Spawn(session=1, distribution="", argv=("cat",)))
    world.ask(Spawn(session=1, distribution="", argv=("cat",)))
    world.wait_reset()


def test_events_and_frames_for_unknown_sessions_are_ignored(world: World) -> None:
    for event in (
        Resize(session=7, rows=1, columns=1),
        Signal(session=7, number=15),
        Hangup(session=7),
    ):
        world.host.send_message(Role.EVENT, 0, event)
    world.host.send(FrameKind.DATA, StreamId.STDIN, 7, b"x")
    world.host.send(FrameKind.STOP, StreamId.STDOUT, 7)
    assert isinstance(world.request(Hello(protocol=1, version="", time_ns=0)), Welcome)
    assert world.host.opened == 1


@pytest.mark.parametrize("number", [0, -1, 65, 10_000])
def test_numbers_that_are_no_signals_are_ignored(world: World, number: int) -> None:
    world.request(Spawn(session=1, distribution="", argv=("cat",)))
    world.host.send_message(Role.EVENT, 0, Signal(session=1, number=number))
    world.host.send(FrameKind.EOF, StreamId.STDIN, 1)
    assert world.wait_exit(1) == Exited(session=1, status=0)


def test_sessions_of_an_old_link_state_are_silent_in_the_new_one(world: World) -> None:
    world.request(Spawn(session=1, distribution="", line="trap '' HUP; read x; exit 3"))
    old = world.agent._sessions._sessions[1]
    world.host.send(FrameKind.RESET, 0, 0)
    world.wait_reset()
    world.synchronise()
    world.host.frames.clear()
    world._number = 10
    world.request(Spawn(session=1, distribution="", line="exit 4"))
    assert world.wait_exit(1).status == 4
    world.run_until(lambda: old._has_ended)
    assert world.wait_exit(1).status == 4


def test_a_late_answer_does_not_reach_the_next_link_state(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from guest.agent import agent as module

    go_on = threading.Event()
    done = threading.Event()

    def slow(root: str) -> Message:
        go_on.wait(20)
        done.set()
        return Done()

    monkeypatch.setattr(module, "describe_root", slow)
    number = world.ask(InspectRoot(disk="x"))
    world.host.send(FrameKind.RESET, 0, 0)
    world.wait_reset()
    world.synchronise()
    go_on.set()
    world.run_until(done.is_set)
    assert isinstance(world.request(Hello(protocol=1, version="", time_ns=0)), Welcome)
    assert world.host.reply(number) is None


def test_stopping_what_does_not_run_is_done(world: World) -> None:
    assert world.request(StopDistribution(identity="x")) == Done()


def test_a_distribution_that_cannot_start_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(disk: str) -> None:
        raise AgentError("no such disk", hint="plug it in")

    monkeypatch.setattr(disks, "mount_disk", refuse)
    answer = world.request(StartDistribution(identity="x", name="x", disk="d", hostname="h"))
    assert answer == Failure(code=failures.AGENT_FAILED, message="no such disk", hint="plug it in")


def test_power_off_answers_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sync", lambda: None)  # this host's disks are nobody's business here
    assert world.request(PowerOff()) == Done()
    world.run_until(lambda: "off" in world.system.told)


def test_the_clock_is_left_alone_when_it_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(time, "clock_settime_ns", lambda clock, value: calls.append(value))
    System().set_clock(time.time_ns() + 1_000_000)
    assert calls == []
    System().set_clock(7)
    assert calls == [7]
