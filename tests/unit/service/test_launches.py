"""Windows programs as the service runs them, on a host that is a table of answers."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.hostos.contract import ConsoleSize, Output, Program, WindowsProcess
from interop.hostos.errors import HostError, NoWindowsError, ProgramNotFoundError
from service.launches import Launches
from service.staging import Staging, host_name
from tests.unit.service.link_harness import FakeAgent, until, with_agent
from wire.agent import Launch, Launched
from wire.codec import Message
from wire.common import Done, Exited, Hangup, Resize, Signal, Terminal
from wire.flow import WINDOW_BYTES
from wire.frame import FIRST_AGENT_SESSION, FrameKind, Role, StreamId

SESSION = FIRST_AGENT_SESSION


class Stdin:
    """Where a program's input goes; `is_gone` is a closed pipe."""

    def __init__(self) -> None:
        self.data = b""
        self.is_closed = False
        self.is_gone = False
        self.has_room = asyncio.Event()
        self.has_room.set()

    def write(self, data: bytes) -> None:
        if self.is_gone:
            raise BrokenPipeError
        self.data += data

    async def drain(self) -> None:
        await self.has_room.wait()

    def close(self) -> None:
        self.is_closed = True


class FakeProcess:
    """A program that a test plays."""

    def __init__(self, program: Program, *, is_gui: bool = False) -> None:
        self.program = program
        self.is_gui = is_gui
        self.stdin = Stdin()
        self.out, self.err = asyncio.StreamReader(), asyncio.StreamReader()
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.told: list[object] = []

    @property
    def stdout(self) -> Output:
        return self.out

    @property
    def stderr(self) -> Output | None:
        return None if self.program.console is not None else self.err

    async def wait(self) -> int:
        return await asyncio.shield(self.status)

    def resize(self, size: ConsoleSize) -> None:
        self.told.append(size)

    def interrupt(self) -> None:
        self.told.append("interrupt")

    def kill(self) -> None:
        self.told.append("kill")
        self.end(137)

    def close_output(self, output: Output) -> None:
        self.told.append("out closed" if output is self.out else "err closed")
        (self.out if output is self.out else self.err).feed_eof()

    def close(self) -> None:
        self.told.append("close")

    def end(self, status: int, *, leaves_pipes: bool = False) -> None:
        if not leaves_pipes:
            self.out.feed_eof()
            self.err.feed_eof()
        if not self.status.done():
            self.status.set_result(status)


class FakeHost:
    """Starts FakePrograms, or raises `error`."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.is_gui = False
        self.started: list[FakeProcess] = []
        self.staged: list[bytes] = []

    async def start(self, program: Program) -> WindowsProcess:
        if self.error is not None:
            raise self.error
        if program.path.startswith("Z:"):
            self.staged.append(Path(program.path[2:].replace("\\", "/")).read_bytes())
        self.started.append(FakeProcess(program, is_gui=self.is_gui))
        return self.started[-1]

    def drives(self) -> Mapping[str, str]:
        return {}

    def windows_path(self, path: str) -> str:
        return "Z:" + path.replace("/", "\\")

    def search_path(self) -> str:
        return ""


class World:
    """An agent, and launches on a fake host."""

    def __init__(self, agent: FakeAgent, directory: Path) -> None:
        self.agent = agent
        self.host = FakeHost()
        self.launches = Launches(lambda: agent.link, lambda: self.host, directory)
        agent.answerers[Launch] = self.launches.launch

    async def ask(self, **fields: object) -> None:
        """A request, to its reply."""
        values = {"file": "/mnt/c/x.exe", "argv": ("/mnt/c/x.exe", "a b"), "program": "C:\\x.exe"}
        request = Launch(session=SESSION, distribution="d", **{**values, **fields})  # type: ignore[arg-type]
        self.agent.send_message(Role.REQUEST, 1, request)
        assert await self.agent.read_message() == (Role.REPLY, 1, Done())

    async def start(self, **fields: object) -> FakeProcess:
        """A program that runs."""
        await self.ask(**fields)
        assert await self.agent.read_event() == Launched(session=SESSION, is_gui=self.host.is_gui)
        return self.host.started[-1]

    def send(self, kind: int, stream: int, payload: bytes = b"") -> None:
        self.agent.send(kind, stream, SESSION, payload)

    def tell(self, event: Resize | Signal | Hangup) -> None:
        """As service.main passes events on."""
        self.launches.on_event(event)

    async def frames(self, until_event: bool = True) -> tuple[dict[int, bytes], list[int], Message]:
        """Data by stream, ended streams, and the event after them."""
        data: dict[int, bytes] = {}
        ended: list[int] = []
        while True:
            frame = await self.agent.read_frame()
            if frame.kind == FrameKind.MESSAGE:
                from wire.codec import decode_message

                return data, sorted(ended), decode_message(frame.payload)
            assert frame.channel == SESSION
            if frame.kind == FrameKind.DATA:
                data[frame.stream] = data.get(frame.stream, b"") + frame.payload
            elif frame.kind == FrameKind.EOF:
                ended.append(frame.stream)


def with_world(
    test: Callable[[World], object],
) -> Callable[..., None]:
    """As with_agent; the test gets a World."""

    async def run(agent: FakeAgent, tmp_path: Path) -> None:
        await test(World(agent, tmp_path / "programs"))  # type: ignore[misc]

    run.__name__ = test.__name__
    return with_agent(run)


@with_world
async def test_a_program_from_start_to_end(world: World) -> None:
    process = await world.start(directory="C:\\d", environment={"A": "b"})
    assert process.program == Program(
        path="C:\\x.exe",
        arguments=["a b"],
        directory="C:\\d",
        environment={"A": "b"},
        name="x.exe",
    )
    world.send(FrameKind.DATA, StreamId.STDIN, b"input")
    world.send(FrameKind.EOF, StreamId.STDIN)
    await until(lambda: process.stdin.is_closed)
    assert process.stdin.data == b"input"
    process.out.feed_data(b"out")
    process.err.feed_data(b"err")
    process.end(7)
    data, ended, last = await world.frames()
    assert data == {StreamId.STDOUT: b"out", StreamId.STDERR: b"err"}
    assert ended == [StreamId.STDOUT, StreamId.STDERR]
    assert last == Exited(session=SESSION, status=7)
    await until(lambda: len(world.launches) == 0)
    assert process.told == ["close"]


@with_world
async def test_output_waits_for_credit(world: World) -> None:
    process = await world.start()
    process.out.feed_data(bytes(WINDOW_BYTES))
    got = 0
    while got < WINDOW_BYTES:
        frame = await world.agent.read_frame()
        if frame.stream == StreamId.STDOUT:
            got += len(frame.payload)
    assert got == WINDOW_BYTES
    process.out.feed_data(bytes(5))
    process.end(0)
    world.agent.send(FrameKind.CREDIT, StreamId.STDOUT, SESSION, (5).to_bytes(4, "little"))
    data, _, last = await world.frames()
    assert (data, last) == ({StreamId.STDOUT: bytes(5)}, Exited(session=SESSION, status=0))


@with_world
async def test_what_holds_a_pipe_open_holds_nothing_up(world: World) -> None:
    process = await world.start()
    process.out.feed_data(b"last words")
    process.end(0, leaves_pipes=True)
    data, _, last = await world.frames()
    assert (data, last) == ({StreamId.STDOUT: b"last words"}, Exited(session=SESSION, status=0))


@with_world
async def test_input_that_nobody_reads(world: World) -> None:
    process = await world.start()
    process.stdin.is_gone = True
    world.send(FrameKind.DATA, StreamId.STDIN, b"x")
    frame = await world.agent.read_frame()
    assert (frame.kind, frame.stream) == (FrameKind.STOP, StreamId.STDIN)
    process.end(1)
    assert (await world.frames())[2] == Exited(session=SESSION, status=1)


@with_world
async def test_output_that_nobody_reads(world: World) -> None:
    process = await world.start()
    world.send(FrameKind.STOP, StreamId.STDOUT)
    await until(lambda: "out closed" in process.told)
    frame = await world.agent.read_frame()
    if frame.kind != FrameKind.EOF:
        frame = await world.agent.read_frame()
    assert (frame.kind, frame.stream) == (FrameKind.EOF, StreamId.STDOUT)
    process.end(1)
    await world.frames()


@with_world
async def test_a_console(world: World) -> None:
    process = await world.start(terminal=Terminal(rows=24, columns=80))
    assert process.program.console == ConsoleSize(24, 80)
    world.send(FrameKind.DATA, StreamId.TERMINAL, b"keys")
    world.tell(Resize(session=SESSION, rows=30, columns=100))
    world.tell(Signal(session=SESSION, number=2))
    await until(lambda: process.stdin.data == b"keys")
    process.out.feed_data(b"screen")
    process.end(0)
    data, ended, _ = await world.frames()
    assert (data, ended) == ({StreamId.TERMINAL: b"screen"}, [StreamId.TERMINAL])
    assert process.told == [ConsoleSize(30, 100), "interrupt", "close"]


@with_world
async def test_a_launcher_that_is_gone_takes_a_console_program_along(world: World) -> None:
    process = await world.start()
    world.tell(Hangup(session=SESSION))
    assert (await world.frames())[2] == Exited(session=SESSION, status=137)
    assert process.told == ["kill", "close"]


@with_world
async def test_a_program_with_windows_goes_on(world: World) -> None:
    world.host.is_gui = True
    process = await world.start()
    world.tell(Hangup(session=SESSION))
    await asyncio.sleep(0.01)
    assert process.told == []
    process.end(0)
    assert (await world.frames())[2] == Exited(session=SESSION, status=0)


@with_world
async def test_a_lost_link_ends_console_programs(world: World) -> None:
    process = await world.start()
    await world.agent.open_port()
    await until(lambda: process.told == ["kill", "close"])


@pytest.mark.parametrize(
    ("error", "number", "message"),
    [
        (ProgramNotFoundError("C:\\x.exe"), errno.ENOENT, ""),
        (ProgramNotFoundError("C:\\x", errno.EACCES), errno.EACCES, ""),
        (NoWindowsError(), errno.ENOEXEC, "no Windows here"),
        (HostError("odd", number=errno.EPERM), errno.EPERM, "odd"),
        (PermissionError(errno.EACCES, "x"), errno.EACCES, ""),
        (RuntimeError("bug"), errno.EIO, "bug"),
    ],
)
def test_what_cannot_be_started(
    error: Exception, number: int, message: str, tmp_path: Path
) -> None:
    @with_agent
    async def run(agent: FakeAgent) -> None:
        world = World(agent, tmp_path)
        world.host.error = error
        await world.ask()
        event = await agent.read_event()
        assert isinstance(event, Launched)
        assert event.error == number
        assert message in event.message
        assert bool(message) == bool(event.message)
        assert len(world.launches) == 0

    run()


@with_world
async def test_a_program_from_inside_a_distribution_comes_along(world: World) -> None:
    await world.ask(program="", program_bytes=6, file="/home/my tool.exe")
    world.send(FrameKind.DATA, StreamId.STDIN, b"MZ12")
    world.send(FrameKind.DATA, StreamId.STDIN, b"34input")
    assert await world.agent.read_event() == Launched(session=SESSION)
    (process,) = world.host.started
    assert world.host.staged == [b"MZ1234"]
    path = Path(process.program.path[2:].replace("\\", "/"))
    assert path.name == "my tool.exe"
    await until(lambda: process.stdin.data == b"input")
    process.end(0)
    await world.frames()
    assert not path.parent.exists()


@with_world
async def test_a_program_that_does_not_arrive_whole(world: World) -> None:
    await world.ask(program="", program_bytes=6)
    world.send(FrameKind.DATA, StreamId.STDIN, b"MZ12")
    world.send(FrameKind.EOF, StreamId.STDIN)
    event = await world.agent.read_event()
    assert isinstance(event, Launched)
    assert event.error == errno.EIO
    assert world.host.started == []


@with_world
async def test_the_services_end_is_the_programs_end(world: World) -> None:
    process = await world.start()
    await world.launches.end()
    assert process.told == ["kill", "close"]


def test_copies_have_a_bound(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "programs")
    with staging.new("/a.exe", 2**31 - 1) as first:
        with pytest.raises(HostError, match="too many"):
            staging.new("/b.exe", 2)
        first.complete()
        assert first.path.exists()
    with staging.new("/b.exe", 2):
        pass
    assert list((tmp_path / "programs").iterdir()) == []


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/home/Tool.exe", "Tool.exe"),
        ("tool", "tool.exe"),
        ("/x/..", "program.exe"),
        ("/a:b*\x01.com", "a_b__.com"),
        ("/x/.exe", "exe.exe"),
    ],
)
def test_names_of_copies(file: str, name: str) -> None:
    assert host_name(file) == name


@given(st.text())
def test_any_name_is_one_that_every_host_has(file: str) -> None:
    name = host_name(file)
    assert 0 < len(name) <= 120
    assert name == Path(name).name
    assert not set(name) & set('\\/:*?"<>|\0')
    assert not name.startswith((" ", "."))
