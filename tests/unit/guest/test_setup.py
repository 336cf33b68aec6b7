"""Boot command and first run: what is asked of a distribution's init, and what follows."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from guest import initclient
from guest.agent.distributions import Distribution
from guest.agent.distroconf import Oobe
from guest.agent.errors import AgentError
from guest.agent.roots import RootFiles
from guest.agent.session import Channels, Session
from guest.agent.setup import FirstRun, first_run_done, run_boot_command
from wire.agent import FirstRunDone, Log, Spawn
from wire.codec import Message
from wire.common import Terminal

SIGNALLED = 9
"""A wait status: killed."""


class FakeDistribution:
    """Stands for a running distribution: keeps what is asked, answers when told to."""

    def __init__(self, root: Path) -> None:
        self.identity = "d1"
        self.name = "Arch"
        self.files = RootFiles(str(root))
        self.is_in_first_run = False
        self.refuses = False
        self.asked: list[initclient.Spawn] = []
        self.replies: list[Callable[[Any], None]] = []
        self.exits: dict[int, Callable[[int], None]] = {}
        self.killed: list[tuple[int, int]] = []

    def request(self, message: Any, fds: Sequence[int], on_reply: Callable[[Any], None]) -> None:
        if self.refuses:
            raise AgentError("the init is gone")
        if isinstance(message, initclient.Kill):
            self.killed.append((message.pid, message.signal))
            return
        for fd in fds:
            os.fstat(fd)  # they are open
        self.asked.append(message)
        self.replies.append(on_reply)

    def expect_exit(self, pid: int, callback: Callable[[int], None]) -> None:
        self.exits[pid] = callback

    def answer(self, pid: int, error: int = 0) -> None:
        """Answer the latest request."""
        stage = initclient.SpawnStage.EXEC if error else initclient.SpawnStage.NONE
        self.replies[-1](initclient.SpawnReply(1, error, stage, pid, 0))

    def exit(self, pid: int, status: int) -> None:
        self.exits.pop(pid)(status)


class FakeSession:
    """Stands for a session of the link."""

    def __init__(self) -> None:
        self.groups: list[Callable[[int], None]] = []
        self.statuses: list[int] = []

    def started(self, kill_group: Callable[[int], None]) -> None:
        self.groups.append(kill_group)

    def exited(self, raw_status: int) -> None:
        self.statuses.append(raw_status)


@pytest.fixture
def distribution(tmp_path: Path) -> FakeDistribution:
    (tmp_path / "etc").mkdir()
    passwd = "root:x:0:0::/root:/bin/bash\nme:x:1000:1000::/home/me:/bin/zsh\n"
    (tmp_path / "etc/passwd").write_text(passwd)
    return FakeDistribution(tmp_path)


# -- boot.command ----------------------------------------------------------------------------------


def boot(distribution: FakeDistribution, conf: str) -> list[Message]:
    """Start a distribution with this wsl.conf; returns the events sent, now and later."""
    (Path(distribution.files._root) / "etc/wsl.conf").write_text(conf)
    sent: list[Message] = []
    run_boot_command(cast(Distribution, distribution), sent.append)
    return sent


def test_the_boot_command_is_roots_and_its_end_is_silent(distribution: FakeDistribution) -> None:
    sent = boot(distribution, "[boot]\ncommand=service a start\n")
    (spawn,) = distribution.asked
    assert spawn.argv == (b"/bin/sh", b"-c", b"service a start")
    assert (spawn.uid, spawn.gid, spawn.terminal) == (0, 0, False)
    assert b"USER=root" in spawn.environment
    distribution.answer(5)
    distribution.exit(5, 0)
    assert sent == []


@pytest.mark.parametrize("status", [1 << 8, SIGNALLED])
def test_its_failure_is_logged(distribution: FakeDistribution, status: int) -> None:
    sent = boot(distribution, "[boot]\ncommand=false\n")
    distribution.answer(5)
    distribution.exit(5, status)
    (event,) = sent
    assert isinstance(event, Log)
    assert "boot.command" in event.text and "'false'" in event.text


def test_so_is_that_it_cannot_be_started(distribution: FakeDistribution) -> None:
    sent = boot(distribution, "[boot]\ncommand=x\n")
    distribution.answer(0, error=2)
    distribution.refuses = True
    sent += boot(distribution, "[boot]\ncommand=x\n")
    assert [type(event) for event in sent] == [Log, Log]


def test_without_a_command_nothing_is_asked(distribution: FakeDistribution) -> None:
    assert boot(distribution, "[user]\ndefault=me\n") == []
    assert distribution.asked == []


# -- the first run ---------------------------------------------------------------------------------


class World:
    """A first run on a real terminal."""

    def __init__(self, distribution: FakeDistribution) -> None:
        self.distribution = distribution
        self.session = FakeSession()
        self.master, slave = pty.openpty()
        self.channels = Channels((slave, slave, slave), {}, {})
        self.sent: list[Message] = []
        self.spawned: list[initclient.SpawnReply] = []
        request = Spawn(
            session=1,
            distribution="d1",
            directories=("/srv", "~"),
            environment={"TERM": "vt100"},
            terminal=Terminal(rows=24, columns=80),
            first_run=True,
        )
        self.run = FirstRun(
            cast(Distribution, distribution),
            Oobe("/etc/oobe.sh \x1b", "Arch", 1000),
            request,
            cast(Session, self.session),
            self.channels,
            self.sent.append,
        )

    def start(self) -> None:
        self.run.start(lambda spawn, reply: self.spawned.append(reply))

    def screen(self) -> bytes:
        """What has been written to the terminal."""
        os.set_blocking(self.master, False)
        return os.read(self.master, 4096)

    def terminal_is_open(self) -> bool:
        """Whether the process's end of the terminal is still held."""
        try:
            os.fstat(self.channels.theirs[0])
        except OSError:
            return False
        return True


@pytest.fixture
def world(distribution: FakeDistribution) -> Iterator[World]:
    world = World(distribution)
    yield world
    os.close(world.master)
    if world.terminal_is_open():
        world.channels.close_theirs()


def test_the_setup_runs_as_root_on_the_sessions_terminal(world: World) -> None:
    world.start()
    (spawn,) = world.distribution.asked
    assert spawn.argv == (b"/bin/sh", b"-c", b"/etc/oobe.sh \x1b")
    assert (spawn.uid, spawn.terminal) == (0, True)
    assert spawn.directories[:2] == (b"/srv", b"/root")
    assert b"TERM=vt100" in spawn.environment
    assert world.distribution.is_in_first_run
    world.distribution.answer(5)
    assert [reply.pid for reply in world.spawned] == [5]
    world.session.groups[0](15)
    assert world.distribution.killed == [(5, 15)]


def test_after_it_the_shell_starts_as_the_new_user_on_the_same_terminal(world: World) -> None:
    world.start()
    world.distribution.answer(5)
    world.distribution.exit(5, 0)
    assert world.sent == [FirstRunDone(identity="d1", default_uid=1000)]
    assert not world.distribution.is_in_first_run
    shell = world.distribution.asked[1]
    assert (shell.uid, shell.file, shell.argv) == (1000, b"/bin/zsh", (b"-zsh",))
    assert shell.directories[:2] == (b"/srv", b"/home/me")
    assert world.terminal_is_open()
    world.distribution.answer(6)
    assert not world.terminal_is_open()
    assert world.session.statuses == []
    world.session.groups[1](1)
    assert world.distribution.killed == [(6, 1)]
    world.distribution.exit(6, 3 << 8)
    assert world.session.statuses == [3 << 8]


@pytest.mark.parametrize("status", [1 << 8, SIGNALLED])
def test_a_failed_setup_ends_the_session_and_will_be_run_again(world: World, status: int) -> None:
    world.start()
    world.distribution.answer(5)
    world.distribution.exit(5, status)
    assert world.screen() == b'OOBE command "/etc/oobe.sh ?" failed, exiting\r\n'
    assert world.session.statuses == [1 << 8]
    assert world.sent == []
    assert not world.terminal_is_open()
    assert not world.distribution.is_in_first_run
    assert len(world.distribution.asked) == 1


def test_a_setup_that_cannot_be_started_is_the_callers_to_tell(world: World) -> None:
    world.start()
    world.distribution.answer(0, error=12)
    assert [reply.error for reply in world.spawned] == [12]
    assert not world.distribution.is_in_first_run
    assert world.session.statuses == [] and world.sent == []


def test_a_shell_that_cannot_be_started_ends_the_session(world: World) -> None:
    world.start()
    world.distribution.answer(5)
    world.distribution.exit(5, 0)
    world.distribution.answer(0, error=2)
    assert b"/bin/zsh: command not found" in world.screen()
    assert world.session.statuses == [1 << 8]
    assert not world.terminal_is_open()


def test_an_init_that_dies_meanwhile_ends_the_session(world: World) -> None:
    world.start()
    world.distribution.answer(5)
    world.distribution.refuses = True
    world.distribution.exit(5, 0)
    assert b"the init is gone" in world.screen()
    assert world.session.statuses == [1 << 8]


def test_a_terminal_that_takes_nothing_does_not_hold_the_agent_up(world: World) -> None:
    slave = world.channels.theirs[2]
    os.set_blocking(slave, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(slave, b"x" * 4096)
    os.set_blocking(slave, True)
    world.start()
    world.distribution.answer(5)
    world.distribution.exit(5, 1 << 8)
    assert world.session.statuses == [1 << 8]


def test_the_event_names_the_distribution_and_its_user(distribution: FakeDistribution) -> None:
    event = first_run_done(cast(Distribution, distribution), Oobe("", "", 1000))
    assert event == FirstRunDone(identity="d1", default_uid=1000)
