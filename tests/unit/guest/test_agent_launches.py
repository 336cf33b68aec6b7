"""Windows programs as the agent carries them: between a launcher and the service."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from guest.agent import distributions
from guest.agent.distributions import Distribution
from guest.agent.distroconf import parse_distro_conf
from guest.agent.helpers import Helpers
from guest.agent.launches import Launches, parse_launch
from guest.agent.service import Service
from guest.helperprotocol import (
    HEAD,
    LAUNCH_CONSOLE,
    LAUNCH_FDS,
    LAUNCH_GUI,
    REFUSED,
    REPLY_BIT,
    Body,
    HelperProtocolError,
    LaunchMessage,
    Op,
    encode_message,
    i32,
    string,
    strings,
    u32,
)
from tests.unit.guest.agent_harness import Linked, open_descriptors
from wire.agent import Launch, Launched
from wire.codec import Message
from wire.common import Done, Exited, Failure, Hangup, Resize, Signal, Terminal
from wire.errors import FlowError
from wire.flow import WINDOW_BYTES
from wire.frame import FIRST_AGENT_SESSION, Frame, FrameKind, Role, StreamId

assert sys.platform != "win32"

SESSION = FIRST_AGENT_SESSION


def launch_body(
    *, flags: int = 0, rows: int = 0, program_bytes: int = 0, program: str = "C:\\x.exe"
) -> bytes:
    return (
        b"".join(map(u32, (flags, rows, 80, program_bytes)))
        + b"".join(map(string, ("/mnt/c/x.exe", program, "C:\\")))
        + strings(["x", "a b"])
        + strings(["WSLENV=A", "A=b=c"])
    )


class World:
    """A launcher, the agent's part, and the service."""

    def __init__(self, linked: Linked, conf: str = "") -> None:
        self.linked = linked
        self.host = linked.host
        self.service = Service(linked.link)
        self.launches = Launches(linked.loop, linked.link, self.service)
        files = SimpleNamespace(conf=parse_distro_conf(conf))
        self.distribution = cast(
            Distribution, SimpleNamespace(identity="d", name="test", files=files)
        )
        os.makedirs(distributions.helper_directory("d"))
        self.helpers = Helpers(linked.loop, {Op.LAUNCH: self.launches.handle})
        self.helpers.listen(self.distribution)
        self.launcher = socket.socket(socket.AF_UNIX)
        directory = distributions.helper_directory("d")
        self.launcher.connect(f"{directory}/{distributions.SOCKET_NAME}")
        self.launcher.setblocking(False)
        self.received = bytearray()
        self.fds: list[int] = []
        self.has_closed = False

    def pump(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self.launcher, 65536, 8)
        except BlockingIOError:
            return
        self.received += data
        self.fds += fds
        self.has_closed |= not data

    def is_closed(self) -> bool:
        self.pump()
        return self.has_closed

    def messages(self) -> list[tuple[int, bytes]]:
        """What the launcher has been sent."""
        self.pump()
        found, at = [], 0
        while at + HEAD.size <= len(self.received):
            length, op, _ = HEAD.unpack_from(self.received, at)
            body = bytes(self.received[at + HEAD.size : at + HEAD.size + length])
            found.append((op, body))
            at += HEAD.size + length
        return found

    def run_until(self, condition: Any) -> None:
        self.linked.run_until(condition)

    def ask(self, body: bytes) -> None:
        self.launcher.send(encode_message(Op.LAUNCH, body))

    def start(self, **fields: Any) -> None:
        """Up to the point where the service takes streams."""
        self.ask(launch_body(**fields))
        self.run_until(lambda: self.requests())
        ((number, _),) = self.requests()
        self.service.on_reply(number, Done())
        self.run_until(lambda: len(self.messages()) == 1 and len(self.fds) == LAUNCH_FDS)

    def requests(self) -> list[tuple[int, Message]]:
        return self.host.messages(Role.REQUEST)

    def frame(self, kind: int, stream: int, payload: bytes = b"") -> None:
        self.launches.on_frame(Frame(kind, stream, SESSION, memoryview(payload)))

    def close(self) -> None:
        self.helpers.forget(self.distribution)
        self.launcher.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def world(synchronised: Linked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(distributions, "RUN_DIRECTORY", str(tmp_path))
    before = open_descriptors()
    world = World(synchronised)
    yield world
    world.close()
    synchronised.settle()
    assert open_descriptors() == before


def test_the_service_is_asked(world: World) -> None:
    world.start()
    ((_, request),) = world.requests()
    assert request == Launch(
        session=SESSION,
        distribution="d",
        file="/mnt/c/x.exe",
        argv=("x", "a b"),
        program="C:\\x.exe",
        directory="C:\\",
        environment={"WSLENV": "A", "A": "b=c"},
    )
    assert world.messages() == [(Op.LAUNCH | REPLY_BIT, b"")]


def test_streams_are_carried_and_the_end_comes_last(world: World) -> None:
    world.start()
    stdin, stdout, stderr = world.fds
    os.write(stdin, b"input")
    world.run_until(lambda: world.host.bytes_of(StreamId.STDIN, SESSION) == b"input")
    world.frame(FrameKind.DATA, StreamId.STDOUT, b"output")
    world.frame(FrameKind.DATA, StreamId.STDERR, b"errors")
    for stream in (StreamId.STDOUT, StreamId.STDERR):
        world.frame(FrameKind.EOF, stream)
    world.launches.launched(Launched(session=SESSION))
    world.launches.exited(Exited(session=SESSION, status=300))
    assert world.messages()[1:] == [
        (LaunchMessage.STARTED, u32(0)),
        (LaunchMessage.EXITED, i32(300)),
    ]
    assert [os.read(fd, 100) for fd in (stdout, stderr)] == [b"output", b"errors"]
    assert [os.read(fd, 100) for fd in (stdout, stderr)] == [b"", b""]
    world.run_until(world.is_closed)
    assert len(world.launches) == 0
    assert Hangup(session=SESSION) not in world.host.events()


def test_output_waits_for_a_launcher_that_is_slow(world: World) -> None:
    """Its own pipe's worth is written at once, the rest as it reads, after the end too."""
    world.start()
    for _ in range(WINDOW_BYTES // 65536):
        world.frame(FrameKind.DATA, StreamId.STDOUT, bytes(65536))
    world.run_until(lambda: world.host.credit(StreamId.STDOUT, SESSION) > 0)
    assert world.host.credit(StreamId.STDOUT, SESSION) < WINDOW_BYTES
    world.launches.exited(Exited(session=SESSION, status=0))
    os.set_blocking(world.fds[1], False)
    got = 0

    def is_whole() -> bool:
        nonlocal got
        with contextlib.suppress(BlockingIOError):
            got += len(os.read(world.fds[1], 1 << 20))
        return got == WINDOW_BYTES

    world.run_until(is_whole)


def test_a_console_has_keys_and_a_screen(world: World) -> None:
    world.start(flags=LAUNCH_CONSOLE, rows=24)
    ((_, request),) = world.requests()
    assert isinstance(request, Launch)
    assert request.terminal == Terminal(rows=24, columns=80)
    program, screen, keys = world.fds
    os.write(keys, b"k")
    os.write(program, b"MZ")
    world.run_until(lambda: world.host.bytes_of(StreamId.TERMINAL, SESSION) == b"k")
    world.run_until(lambda: world.host.bytes_of(StreamId.STDIN, SESSION) == b"MZ")
    world.frame(FrameKind.DATA, StreamId.TERMINAL, b"shown")
    assert os.read(screen, 100) == b"shown"
    world.launcher.send(encode_message(LaunchMessage.RESIZE, u32(30) + u32(100)))
    world.launcher.send(encode_message(LaunchMessage.SIGNAL, u32(2)))
    expected = [Resize(session=SESSION, rows=30, columns=100), Signal(session=SESSION, number=2)]
    world.run_until(lambda: world.host.events()[-2:] == expected)


def test_a_launcher_that_ends_is_told(world: World) -> None:
    world.start()
    world.launcher.close()
    world.run_until(lambda: Hangup(session=SESSION) in world.host.events())
    world.launches.exited(Exited(session=SESSION, status=0))
    assert len(world.launches) == 0


def test_a_launcher_that_ends_before_the_service_has_answered(world: World) -> None:
    world.ask(launch_body())
    world.run_until(lambda: world.requests())
    world.launcher.close()
    world.linked.settle()
    assert world.host.events() == []
    ((number, _),) = world.requests()
    world.service.on_reply(number, Done())
    world.run_until(lambda: world.host.events() == [Hangup(session=SESSION)])


@pytest.mark.parametrize("is_refused_at_once", [True, False])
def test_refusals(world: World, is_refused_at_once: bool) -> None:
    world.ask(launch_body())
    world.run_until(lambda: world.requests())
    ((number, _),) = world.requests()
    if is_refused_at_once:
        world.service.on_reply(number, Failure(code="X", message="no", hint="h"))
    else:
        world.service.on_reply(number, Done())
        event = Launched(session=SESSION, error=errno.EIO, message="no", hint="h")
        world.launches.launched(event)
    world.run_until(world.is_closed)
    op, body = world.messages()[-1]
    read = Body(body)
    assert (op, read.i32(), read.string(), read.string()) == (REFUSED, errno.EIO, "no", "h")
    assert len(world.launches) == 0


def test_windows_are_told_of(world: World) -> None:
    world.start()
    world.launches.launched(Launched(session=SESSION, is_gui=True))
    assert world.messages()[-1] == (LaunchMessage.STARTED, u32(LAUNCH_GUI))


def test_a_lost_link_ends_it(world: World) -> None:
    world.start()
    world.launches.drop_all()
    world.run_until(world.is_closed)
    assert world.messages()[-1][0] == REFUSED


def test_a_distribution_without_interop(
    synchronised: Linked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributions, "RUN_DIRECTORY", str(tmp_path))
    world = World(synchronised, "[interop]\nenabled=false\n")
    world.ask(launch_body())
    world.run_until(world.is_closed)
    op, body = world.messages()[0]
    assert (op, Body(body).i32()) == (REFUSED, errno.ENOEXEC)
    assert world.requests() == []
    world.close()


def test_what_only_a_launcher_may_send(world: World) -> None:
    world.start()
    with pytest.raises(FlowError):
        world.frame(FrameKind.DATA, StreamId.STDIN, b"x")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        launch_body() + b"x",
        launch_body(flags=2),
        launch_body(flags=LAUNCH_CONSOLE, rows=0),
        launch_body(flags=LAUNCH_CONSOLE, rows=65536),
        launch_body(program=""),
        launch_body(program_bytes=7),
        launch_body(program="", program_bytes=2**30),
    ],
)
def test_malformed_requests(body: bytes) -> None:
    with pytest.raises(HelperProtocolError):
        parse_launch(body, SESSION, "d")
