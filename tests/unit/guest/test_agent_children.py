"""Processes that the agent starts itself."""

from __future__ import annotations

import os
import pty
import signal
import sys

import pytest

from guest.agent import children
from guest.agent.children import SYSTEM_ENVIRONMENT, run, spawn, wait_until, watch_exit
from guest.agent.errors import AgentError
from guest.agent.loop import Loop
from tests.unit.guest.agent_harness import open_descriptors, run_until

assert sys.platform != "win32"


def output_of(argv: list[str], **options: object) -> str:
    """What a program writes to its standard output; it must succeed."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    with open(os.devnull, "rb") as nothing:
        pid = spawn(argv, (nothing.fileno(), writer, 2), **options)  # type: ignore[arg-type]
    os.close(writer)
    with open(reader, "rb") as pipe:
        text = pipe.read().decode()
    assert os.waitpid(pid, 0)[1] == 0, text
    return text


def test_a_process_inherits_nothing_of_the_agent() -> None:
    files = {number: os.memfd_create("agents-own") for number in (3, 4)}
    assert "agents-own" not in output_of(["ls", "-l", "/proc/self/fd"])
    assert output_of(["ls", "-l", "/proc/self/fd"], extra_fds=files).count("agents-own") == 2
    for fd in files.values():
        os.close(fd)


def test_extra_descriptors_get_their_numbers() -> None:
    one, other = os.memfd_create("one"), os.memfd_create("other")
    os.write(one, b"one")
    os.write(other, b"other")
    for fd in (one, other):
        os.lseek(fd, 0, os.SEEK_SET)
    text = output_of(["sh", "-c", "cat <&3; cat <&4"], extra_fds={3: other, 4: one})
    assert text == "otherone"
    os.close(one)
    os.close(other)


def test_a_process_leads_a_session_with_default_signals() -> None:
    before = open_descriptors()
    script = "grep -E 'Sig(Ign|Blk)' /proc/self/status; echo $$; cut -d' ' -f6 /proc/$$/stat"
    lines = output_of(["sh", "-c", script]).split()
    assert lines[:3] == ["SigBlk:", "0" * 16, "SigIgn:"]
    # glibc's posix_spawn(3) ignores 32 and 33, its own, which are the bits 31 and 32.
    assert int(lines[3], 16) & ~(1 << 31 | 1 << 32) == 0
    assert lines[4] == lines[5], "it is the leader of its session"
    assert open_descriptors() == before


@pytest.mark.parametrize("lowest", [3, 200])
def test_a_terminal_becomes_the_controlling_one(lowest: int) -> None:
    """Whatever numbers the terminal's descriptors have in the agent."""
    import fcntl

    master, slave = pty.openpty()
    name = os.ttyname(slave)
    high = [fcntl.fcntl(slave, fcntl.F_DUPFD_CLOEXEC, lowest) for _ in range(3)]
    pid = spawn(
        ["sh", "-c", "tty; echo here > /dev/tty"], (high[0], high[1], high[2]), terminal=name
    )
    for fd in (slave, *high):
        os.close(fd)
    text = b""
    try:
        while part := os.read(master, 4096):
            text += part
    except OSError:  # EIO: the end
        pass
    os.close(master)
    assert os.waitpid(pid, 0)[1] == 0
    assert text.decode().split() == [name, "here"]


def test_the_environment_is_given_and_not_inherited() -> None:
    os.environ["ISTHMUS_TEST_LEAK"] = "1"
    try:
        assert "ISTHMUS_TEST_LEAK" not in output_of(["env"])
    finally:
        del os.environ["ISTHMUS_TEST_LEAK"]
    assert output_of(["env"], environment={**SYSTEM_ENVIRONMENT, "X": "é"}).count("X=é") == 1


def test_a_missing_program_is_told() -> None:
    before = open_descriptors()
    with pytest.raises(FileNotFoundError):
        spawn(["/no/such/program"], (0, 1, 2), extra_fds={3: 0})
    assert open_descriptors() == before


def test_an_exit_is_watched_and_reaped(loop: Loop) -> None:
    before = open_descriptors()
    ends: dict[int, int] = {}
    with open(os.devnull, "r+b") as null:
        for line, expected in (("exit 7", 7), ("kill -9 $$", -signal.SIGKILL)):
            pid = spawn(["sh", "-c", line], (null.fileno(),) * 3)
            watch_exit(loop, pid, lambda status, pid=pid: ends.update({pid: status}))  # type: ignore[misc]
            run_until(loop, lambda pid=pid: pid in ends)  # type: ignore[misc]
            with pytest.raises(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            assert os.waitstatus_to_exitcode(ends[pid]) == expected
    assert open_descriptors() == before


def test_run_returns_allowed_statuses() -> None:
    assert run(["true"]) == 0
    assert run(["sh", "-c", "exit 2"], allowed=(0, 1, 2)) == 2


def test_run_tells_what_a_failing_program_said() -> None:
    before = open_descriptors()
    with pytest.raises(AgentError, match=r"sh failed \(status 3\): first\nsecond"):
        run(["sh", "-c", "echo first; echo second >&2; exit 3"])
    with pytest.raises(AgentError, match=r"false failed \(status 1\): it said nothing"):
        run(["false"])
    assert open_descriptors() == before


def test_run_ends_a_program_at_its_deadline() -> None:
    with pytest.raises(AgentError, match="no end after 0 s"):
        run(["sleep", "1000"], timeout_s=0.01)


def test_waiting_ends_at_the_condition_or_the_deadline() -> None:
    answers = iter([False, False, True])
    wait_until(lambda: next(answers), 10, "three questions")
    with pytest.raises(AgentError, match="the moon: still not so"):
        wait_until(lambda: False, 0.005, "the moon")


def test_the_spare_descriptor_is_none_of_the_three() -> None:
    assert children._SPARE_FD > 2
