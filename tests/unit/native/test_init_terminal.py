"""Terminals and signals: controlling terminal, foreground group, KILL."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Iterator

import pytest

from guest.initclient import Kill, KillTarget, Spawn, SpawnStage
from tests.unit.native.harness import DEADLINE_S, PATH, Client, Init, read_to_end, shell, wait_until

assert sys.platform != "win32"

TIOCGPTPEER = 0x5441  # asm-generic/ioctls.h
TIOCSPTLCK = 0x40045431


class Terminal:
    """A pseudoterminal of the distribution's, made as the agent makes it."""

    def __init__(self, client: Client) -> None:
        reply = client.open("/dev/ptmx", os.O_RDWR)
        assert reply.error == 0
        self.master = reply.fd
        fcntl.ioctl(self.master, TIOCSPTLCK, struct.pack("i", 0))
        self.slave: int = fcntl.ioctl(self.master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
        self.seen = b""

    def start(self, client: Client, request: Spawn) -> int:
        reply = client.spawn(request._replace(terminal=True), [self.slave] * 3)
        assert reply.error == 0, reply
        os.close(self.slave)
        self.slave = -1
        return reply.pid

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def read_until(self, text: bytes) -> bytes:
        """Everything up to `text`, which must come."""
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.seen:
            left = max(deadline - time.monotonic(), 0)
            assert select.select([self.master], [], [], left)[0], self.seen
            self.seen += os.read(self.master, 4096)
        before, _, self.seen = self.seen.partition(text)
        return before

    def close(self) -> None:
        for fd in (self.master, self.slave):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def terminal(client: Client) -> Iterator[Terminal]:
    terminal = Terminal(client)
    yield terminal
    terminal.close()


def interactive() -> Spawn:
    return Spawn((b"-sh",), (PATH, b"PS1=> "), b"/bin/sh")


def test_an_interactive_shell_has_job_control(client: Client, terminal: Terminal) -> None:
    pid = terminal.start(client, interactive())
    terminal.read_until(b"> ")
    terminal.type(b"tty; sleep 1000 & echo job; kill %1; stty -echo; exit 7\n")
    output = terminal.read_until(b"job\r\n") + terminal.seen
    ended = client.wait_exit(pid)
    assert os.waitstatus_to_exitcode(ended.status) == 7
    assert b"/dev/pts/0\r\n" in output
    assert b"can't access tty" not in output
    assert b"job control" not in output


def test_control_c_reaches_the_foreground_job_only(client: Client, terminal: Terminal) -> None:
    pid = terminal.start(client, interactive())
    terminal.read_until(b"> ")
    terminal.type(b"sh -c 'echo begun; sleep 1000'\n")
    terminal.read_until(b"\r\nbegun\r\n")
    terminal.type(b"\x03")
    terminal.read_until(b"> ")
    terminal.type(b"exit $?\n")
    assert client.wait_exit(pid).status == 130 << 8


def test_kill_of_the_foreground_group(client: Client, terminal: Terminal) -> None:
    pid = terminal.start(client, interactive())
    terminal.read_until(b"> ")
    terminal.type(
        b"sh -c 'trap \"echo got winch\" WINCH; echo begun; while :; do sleep 0.01; done'\n"
    )
    terminal.read_until(b"\r\nbegun\r\n")
    assert client.call(Kill(pid, signal.SIGWINCH, KillTarget.FOREGROUND)) == 0
    terminal.read_until(b"got winch\r\n")
    assert client.call(Kill(pid, signal.SIGTERM, KillTarget.FOREGROUND)) == 0
    terminal.read_until(b"> ")  # the shell itself is alive
    terminal.type(b"exit 3\n")
    assert client.wait_exit(pid).status == 3 << 8


def test_closing_the_master_hangs_up_the_session(client: Client, terminal: Terminal) -> None:
    pid = terminal.start(client, Spawn((b"sleep", b"1000"), (PATH,), b"sleep"))
    os.close(terminal.master)
    terminal.master = -1
    assert client.wait_exit(pid).status == signal.SIGHUP


def test_a_controlling_terminal_that_is_none(client: Client) -> None:
    with open(os.devnull, "r+b") as null:
        reply = client.spawn(shell("true")._replace(terminal=True), [null.fileno()] * 3)
    assert (reply.error, reply.stage) == (errno.ENOTTY, SpawnStage.TERMINAL)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_first_descriptor_that_is_a_terminal(
    client: Client, terminal: Terminal, at: int
) -> None:
    with open(os.devnull, "r+b") as null:
        fds = [null.fileno()] * 3
        fds[at] = terminal.slave
        script = shell('read -r line < /dev/tty; echo "got $line" > /dev/tty')
        reply = client.spawn(script._replace(terminal=True), fds)
    assert reply.error == 0
    terminal.type(b"text\n")
    terminal.read_until(b"got text\r\n")
    assert client.wait_exit(reply.pid).status == 0


def test_a_terminal_that_another_session_has(client: Client, terminal: Terminal) -> None:
    slave = os.dup(terminal.slave)
    pid = terminal.start(client, Spawn((b"sleep", b"1000"), (PATH,), b"sleep"))
    reply = client.spawn(shell("true")._replace(terminal=True), [slave] * 3)
    os.close(slave)
    assert (reply.error, reply.stage) == (errno.EPERM, SpawnStage.TERMINAL)
    assert client.call(Kill(pid, signal.SIGKILL)) == 0
    client.wait_exit(pid)


def test_without_the_flag_the_terminal_is_only_an_open_file(
    client: Client, terminal: Terminal
) -> None:
    script = shell("cat /proc/self/stat; test -t 0")
    reply = client.spawn(script, [terminal.slave] * 3)
    assert terminal.read_until(b"\r\n").split()[6] == b"0"  # tty_nr
    assert client.wait_exit(reply.pid).status == 0


@pytest.mark.parametrize("target", list(KillTarget))
def test_kill_without_a_terminal(client: Client, target: KillTarget) -> None:
    read, write = os.pipe()
    with open(os.devnull, "rb") as null:
        reply = client.spawn(
            shell("sleep 1000 & echo $!; wait"), (null.fileno(), write, null.fileno())
        )
    os.close(write)
    background = int(os.read(read, 100))
    assert client.call(Kill(reply.pid, signal.SIGTERM, target)) == 0
    assert client.wait_exit(reply.pid).status == signal.SIGTERM
    # Its child holds the pipe until it ends, too.
    if target == KillTarget.PROCESS:
        assert not select.select([read], [], [], 0)[0]
        assert client.sh(f"kill {background}").status == 0
    assert read_to_end(read) == b""
    os.close(read)


def test_kill_refuses_what_it_has_not_spawned(client: Client) -> None:
    for pid in (0, 1, -1, 2**31 - 1, -(2**31)):
        for target in KillTarget:
            assert client.call(Kill(pid, signal.SIGKILL, target)) == errno.ESRCH
    child = client.sh("echo $$")
    assert client.call(Kill(child.reply.pid, signal.SIGKILL)) == errno.ESRCH


def test_kill_refuses_another_connections_process(init: Init, client: Client) -> None:
    pid = client.start(Spawn((b"sleep", b"1000"), (PATH,), b"sleep"))
    other = init.connect()
    assert other.call(Kill(pid, signal.SIGKILL)) == errno.ESRCH
    other.close()
    assert client.call(Kill(pid, 0)) == 0
    assert client.call(Kill(pid, signal.SIGKILL)) == 0
    assert client.wait_exit(pid).status == signal.SIGKILL


@pytest.mark.parametrize("number", [65, -1, 2**31 - 1])
def test_signals_that_do_not_exist(client: Client, number: int) -> None:
    pid = client.start(Spawn((b"sleep", b"1000"), (PATH,), b"sleep"))
    assert client.call(Kill(pid, number)) == errno.EINVAL
    assert client.call(Kill(pid, signal.SIGKILL)) == 0
    client.wait_exit(pid)


def test_stop_and_continue(init: Init, client: Client) -> None:
    pid = client.start(Spawn((b"sleep", b"1000"), (PATH,), b"sleep"))

    def state() -> str:
        with open(f"/proc/{init.pid}/root/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]

    assert client.call(Kill(pid, signal.SIGSTOP, KillTarget.GROUP)) == 0
    wait_until(lambda: state() == "T", "stopped")
    assert client.call(Kill(pid, signal.SIGCONT, KillTarget.GROUP)) == 0
    wait_until(lambda: state() == "S", "running again")
    assert client.call(Kill(pid, signal.SIGKILL)) == 0
    assert client.wait_exit(pid).status == signal.SIGKILL
