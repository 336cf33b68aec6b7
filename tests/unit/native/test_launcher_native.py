"""The launcher (guest/native/launcher*.c), with an agent that a test plays at the other end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guest.agent.launches import parse_launch
from guest.helperprotocol import (
    HEAD,
    LAUNCH_GUI,
    REFUSED,
    REPLY_BIT,
    LaunchMessage,
    Op,
    encode_message,
    encode_refusal,
    i32,
    u32,
)
from tests.unit.native.harness import build_native
from wire.agent import Launch
from wire.common import Terminal

assert sys.platform != "win32"

DEADLINE_S = 20.0
PROGRAM_BYTES = b"MZ" + bytes(range(256)) * 1000


@pytest.fixture(scope="session", params=["build/launcher", "build/sanitize/launcher"])
def launcher(request: pytest.FixtureRequest) -> Path:
    return build_native(request.param)


def unread_bytes(connection: socket.socket) -> int:
    """What the peer of a unix socket has yet to read (SIOCOUTQ, unix(7))."""
    return int.from_bytes(fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


class Agent:
    """The agent's end of one launch."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "agent"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._listener.settimeout(DEADLINE_S)
        self.connection: socket.socket
        self.request: Launch
        self.fds: list[int] = []

    def accept(self) -> Launch:
        """Take the request, and answer with pipes; ours are `fds`."""
        self.connection, _ = self._listener.accept()
        self.connection.settimeout(DEADLINE_S)
        op, body = self.read()
        assert op == Op.LAUNCH
        self.request = parse_launch(body, 1, "d")
        has_console = self.request.terminal is not None
        theirs = []
        for is_input in (True, False, has_console):
            reader, writer = os.pipe()
            self.fds.append(reader if is_input else writer)
            theirs.append(writer if is_input else reader)
        socket.send_fds(self.connection, [encode_message(Op.LAUNCH | REPLY_BIT)], theirs)
        for fd in theirs:
            os.close(fd)
        return self.request

    def read(self) -> tuple[int, bytes]:
        """The next message from the launcher."""
        head = self.connection.recv(HEAD.size, socket.MSG_WAITALL)
        assert len(head) == HEAD.size, "the launcher is gone"
        length, op, _ = HEAD.unpack(head)
        return op, self.connection.recv(length, socket.MSG_WAITALL) if length else b""

    def say(self, op: int, body: bytes) -> None:
        self.connection.send(encode_message(op, body))

    def started(self, *, is_gui: bool = False) -> None:
        """The program runs, and the launcher has taken note."""
        self.say(LaunchMessage.STARTED, u32(LAUNCH_GUI if is_gui else 0))
        deadline = time.monotonic() + DEADLINE_S
        while unread_bytes(self.connection):
            assert time.monotonic() < deadline, "the launcher does not read"
            time.sleep(0.001)

    def end(self, status: int = 0) -> None:
        """The program has written all it will, and has ended."""
        self.close_pipes(1, 2)
        self.say(LaunchMessage.EXITED, i32(status))

    def close_pipes(self, *indices: int) -> None:
        for index in indices:
            if self.fds[index] >= 0:
                os.close(self.fds[index])
                self.fds[index] = -1

    def is_left(self) -> bool:
        """Wait until the launcher has closed the connection."""
        return self.connection.recv(1) == b""

    def close(self) -> None:
        self._listener.close()
        if hasattr(self, "connection"):
            self.connection.close()
        if self.fds:
            self.close_pipes(0, 1, 2)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(tmp_path)
    yield agent
    agent.close()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "tool.exe"
    path.write_bytes(PROGRAM_BYTES)
    return path


def start(
    launcher: Path, agent: Agent, program: Path, *args: str, **options: Any
) -> subprocess.Popen[bytes]:
    """Run the launcher as the kernel does: file, argv[0], arguments."""
    return subprocess.Popen(
        [str(launcher), str(program), "argv0", *args],
        env={"WSL_INTEROP": str(agent.path), **options.pop("env", {})},
        **{"stdin": -1, "stdout": -1, "stderr": -1, **options},
    )


def read_exactly(fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += os.read(fd, count - len(data))
    return data


def test_what_is_asked_for(launcher: Path, agent: Agent, program: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.exe"
    link.symlink_to(program)
    env = {"WSLENV": "A/p:B", "A": "/home/x:/y;z", "WSL_DISTRO_NAME": "Debian"}
    with start(launcher, agent, link, "a b", "", env=env) as process:
        request = agent.accept()
        assert request.file == str(link)
        assert request.argv == ("argv0", "a b", "")
        # Nothing here lies on a drive.
        assert (request.program, request.program_bytes) == ("", len(PROGRAM_BYTES))
        assert (request.directory, request.terminal) == ("", None)
        translated = "\\\\wsl.localhost\\Debian\\home\\x"
        assert request.environment == {"WSLENV": "A/p:B", "A": translated, "B": ""}
        process.kill()
        assert process.stderr is not None
        assert process.stderr.read() == b"isthmus: Failed to translate '/y;z'\n"
        process.communicate()


def test_the_program_comes_before_its_input(launcher: Path, agent: Agent, program: Path) -> None:
    with start(launcher, agent, program) as process:
        agent.accept()
        assert process.stdin is not None
        process.stdin.write(b"input")
        process.stdin.close()
        assert read_exactly(agent.fds[0], len(PROGRAM_BYTES)) == PROGRAM_BYTES
        agent.started()
        assert read_exactly(agent.fds[0], 5) == b"input"
        assert os.read(agent.fds[0], 1) == b""
        agent.end()
        assert process.wait(DEADLINE_S) == 0
        process.stdin = None
        process.communicate()


@pytest.mark.parametrize(("status", "seen"), [(0, 0), (7, 7), (300, 44), (-1, 255)])
def test_all_output_comes_before_the_status(
    launcher: Path, agent: Agent, program: Path, status: int, seen: int
) -> None:
    with start(launcher, agent, program) as process:
        agent.accept()
        read_exactly(agent.fds[0], len(PROGRAM_BYTES))
        agent.started()
        agent.say(LaunchMessage.EXITED, i32(status))
        os.write(agent.fds[1], b"out" * 1000)
        os.write(agent.fds[2], b"err")
        agent.close_pipes(1, 2)
        out, err = process.communicate(timeout=DEADLINE_S)
        assert (out, err, process.returncode) == (b"out" * 1000, b"err", seen)


def test_output_to_a_file_that_is_appended_to(
    launcher: Path, agent: Agent, program: Path, tmp_path: Path
) -> None:
    """Which cannot be spliced."""
    target = tmp_path / "log"
    target.write_bytes(b"old ")
    with target.open("ab") as log, start(launcher, agent, program, stdout=log) as process:
        agent.accept()
        read_exactly(agent.fds[0], len(PROGRAM_BYTES))
        agent.started()
        os.write(agent.fds[1], b"new")
        agent.end()
        assert process.wait(DEADLINE_S) == 0
        process.communicate()
    assert target.read_bytes() == b"old new"


def test_a_reader_that_is_gone(launcher: Path, agent: Agent, program: Path) -> None:
    """The agent sees the pipe's other end close, as the program is to."""
    with start(launcher, agent, program) as process:
        agent.accept()
        read_exactly(agent.fds[0], len(PROGRAM_BYTES))
        agent.started()
        assert process.stdout is not None
        process.stdout.close()
        with pytest.raises(BrokenPipeError):
            for _ in range(1000):
                os.write(agent.fds[1], bytes(65536))
        agent.end(3)
        assert process.wait(DEADLINE_S) == 3
        process.stdout = None
        process.communicate()


def test_descriptors_keep_their_flags(launcher: Path, agent: Agent, program: Path) -> None:
    """Those of the user are shared with others: O_NONBLOCK is neither set nor minded."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with start(launcher, agent, program, stdin=reader) as process:
        agent.accept()
        read_exactly(agent.fds[0], len(PROGRAM_BYTES))
        agent.started()
        os.write(writer, b"late")
        assert read_exactly(agent.fds[0], 4) == b"late"
        agent.end()
        process.communicate(timeout=DEADLINE_S)
    assert not os.get_blocking(reader)
    assert os.get_blocking(writer)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("number", "text", "hint", "said"),
    [
        (errno.ENOENT, "", "", "No such file or directory\n"),
        (
            errno.ENOEXEC,
            "no Windows here",
            "Install it.",
            "Exec format error\nno Windows here. Install it.\n",
        ),
    ],
)
def test_refusals(
    launcher: Path, agent: Agent, program: Path, number: int, text: str, hint: str, said: str
) -> None:
    with start(launcher, agent, program) as process:
        agent.accept()
        agent.say(REFUSED, encode_refusal(number, text, hint))
        agent.close_pipes(0)
        _, err = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, err.decode()) == (1, f"{program}: {said}")


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file or directory"), (b"", "Exec format error")]
)
def test_programs_that_are_not_there(
    launcher: Path, agent: Agent, tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "x.exe"
    if content is not None:
        path.write_bytes(content)
    with start(launcher, agent, path) as process:
        _, err = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, err.decode()) == (1, f"{path}: {said}\n")


def test_descriptors_that_are_closed(launcher: Path, agent: Agent, program: Path) -> None:
    """Their numbers are not taken by the launcher's own."""
    script = 'exec "$0" "$@" <&- >&- 2>&-'
    argv = ["sh", "-c", script, str(launcher), str(program), "argv0"]
    with subprocess.Popen(argv, env={"WSL_INTEROP": str(agent.path)}) as process:
        agent.accept()
        read_exactly(agent.fds[0], len(PROGRAM_BYTES))
        agent.started()
        assert os.read(agent.fds[0], 1) == b""
        for output in agent.fds[1:]:
            with pytest.raises(BrokenPipeError):
                for _ in range(1000):
                    os.write(output, bytes(65536))
        agent.end(3)
        assert process.wait(DEADLINE_S) == 3


def test_who_waits_for_a_terminal_does_not_hold_up_the_agent(
    launcher: Path, agent: Agent, program: Path
) -> None:
    """The kernel locks a pipe that is spliced to a terminal until that has taken the bytes."""
    master, slave = pty.openpty()
    with start(launcher, agent, program, stdout=slave) as process:
        agent.accept()
        read_exactly(agent.fds[0], len(PROGRAM_BYTES))
        agent.started()
        os.set_blocking(agent.fds[1], False)
        # Until neither the terminal nor the pipe has room; each write returns at once.
        while select.select([], [agent.fds[1]], [], 0.5)[1]:
            with contextlib.suppress(BlockingIOError):
                os.write(agent.fds[1], b"." * 4096)
        agent.close_pipes(1)
        while os.read(master, 65536).count(b".") < 1:
            continue
        process.kill()
    os.close(master)
    os.close(slave)


def test_an_agent_that_goes_away(launcher: Path, agent: Agent, program: Path) -> None:
    with start(launcher, agent, program) as process:
        agent.accept()
        read_exactly(agent.fds[0], len(PROGRAM_BYTES))
        agent.started()
        agent.connection.close()
        _, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 1
        assert b"Connection reset by peer\nthe connection to Windows was lost\n" in err


def test_ctrl_c_is_the_programs_first(launcher: Path, agent: Agent, program: Path) -> None:
    with start(launcher, agent, program) as process:
        agent.accept()
        read_exactly(agent.fds[0], len(PROGRAM_BYTES))
        agent.started()
        os.write(agent.fds[1], b".")
        assert process.stdout is not None
        assert process.stdout.read(1) == b"."  # so it has started
        process.send_signal(signal.SIGINT)
        assert agent.read() == (LaunchMessage.SIGNAL, u32(signal.SIGINT))
        agent.end(0xC000013A - 2**32)
        process.communicate(timeout=DEADLINE_S)
        assert process.returncode == -signal.SIGINT


def test_a_second_ctrl_c_is_in_earnest(launcher: Path, agent: Agent, program: Path) -> None:
    with start(launcher, agent, program) as process:
        agent.accept()
        read_exactly(agent.fds[0], len(PROGRAM_BYTES))
        agent.started()
        os.write(agent.fds[1], b".")
        assert process.stdout is not None
        assert process.stdout.read(1) == b"."
        process.send_signal(signal.SIGINT)
        agent.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == -signal.SIGINT
        assert agent.is_left()
        process.communicate()


class Console:
    """A launcher in a session of its own on a terminal."""

    def __init__(self, launcher: Path, agent: Agent, program: Path) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            size = struct.pack("HHHH", 24, 80, 0, 0)
            import fcntl

            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            argv = [str(launcher), str(program), "argv0"]
            os.execve(launcher, argv, {"WSL_INTEROP": str(agent.path)})

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.master)[3] & (termios.ICANON | termios.ISIG)

    def wait_for(self, is_raw: bool) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while self.is_raw() is not is_raw:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def read(self) -> bytes:
        assert select.select([self.master], [], [], DEADLINE_S)[0]
        return os.read(self.master, 4096)

    def read_until(self, wanted: bytes) -> bytes:
        """All that is shown up to `wanted`, which may come in pieces."""
        shown = b""
        while wanted not in shown:
            shown += self.read()
        return shown

    def status(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def console(launcher: Path, agent: Agent, program: Path) -> Iterator[Console]:
    console = Console(launcher, agent, program)
    yield console
    os.close(console.master)


def test_a_console(agent: Agent, console: Console) -> None:
    request = agent.accept()
    assert request.terminal == Terminal(rows=24, columns=80)
    console.wait_for(is_raw=True)
    read_exactly(agent.fds[0], len(PROGRAM_BYTES))
    agent.started()
    assert os.read(agent.fds[0], 1) == b""  # its input is its keys
    os.write(console.master, b"k\x03")
    assert read_exactly(agent.fds[2], 2) == b"k\x03"
    os.write(agent.fds[1], b"\x1b[1mshown\r\n")
    assert console.read() == b"\x1b[1mshown\r\n"
    import fcntl

    fcntl.ioctl(console.master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    assert agent.read() == (LaunchMessage.RESIZE, u32(30) + u32(100))
    agent.close_pipes(1)
    agent.say(LaunchMessage.EXITED, i32(5))
    console.wait_for(is_raw=False)
    assert console.status() == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_console_is_given_back_whatever_ends_it(
    agent: Agent, console: Console, number: signal.Signals
) -> None:
    agent.accept()
    console.wait_for(is_raw=True)
    read_exactly(agent.fds[0], len(PROGRAM_BYTES))
    agent.started()
    assert os.read(agent.fds[0], 1) == b""
    os.kill(console.pid, number)
    assert agent.is_left()
    console.wait_for(is_raw=False)
    assert console.status() == -number


def test_a_refused_console_is_given_back(agent: Agent, console: Console) -> None:
    agent.accept()
    console.wait_for(is_raw=True)
    agent.say(REFUSED, encode_refusal(errno.EACCES, "", ""))
    agent.close_pipes(0)
    console.read_until(b"Permission denied\r\n")
    assert not console.is_raw()
    assert console.status() == 1


def test_windows_give_the_prompt_back(agent: Agent, console: Console) -> None:
    """The launcher leads its job: whoever typed it has the prompt again at once."""
    agent.accept()
    read_exactly(agent.fds[0], len(PROGRAM_BYTES))
    agent.started(is_gui=True)
    assert console.status() == 0
    assert not console.is_raw()
