"""Standard streams: every byte, each stream apart, ends in both directions, bounded memory."""

from __future__ import annotations

import hashlib
import os
import random
import select
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.integration.cli_harness import (
    PROGRAM,
    Isthmus,
    wait_until,
)

pytestmark = pytest.mark.vm

MIB = 1024 * 1024
SERVICE_BYTES = 80 * MIB
"""What the service may take, whatever passes through it."""
AGENT_BYTES = 48 * MIB
"""As for the agent: each of its streams may hold a window."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- every byte ------------------------------------------------------------------------------------


def test_five_random_megabytes_each_way(cli: Isthmus) -> None:
    """Sums are taken on both sides, so that two errors cannot cancel each other out."""
    data = random.Random(2).randbytes(5 * MIB)
    script = "tee /tmp/sent | sha256sum >&2; cat /tmp/sent; rm /tmp/sent"
    done = cli.run("-e", "sh", "-c", script, input=data)
    assert done.returncode == 0
    assert done.stderr.split()[0].decode() == sha256(data)
    assert sha256(done.stdout) == sha256(data)


def test_streams_are_apart(cli: Isthmus) -> None:
    """Both at once, each more than a window: neither waits for the other or mixes with it."""
    script = (
        "dd if=/dev/zero bs=65536 count=48 2>/dev/null | tr '\\0' o & "
        "dd if=/dev/zero bs=65536 count=48 2>/dev/null | tr '\\0' e >&2 & wait"
    )
    done = cli.run("-e", "sh", "-c", script)
    assert done.returncode == 0
    assert done.stdout == b"o" * (3 * MIB)
    assert done.stderr == b"e" * (3 * MIB)


def test_a_stream_nobody_reads_stalls_no_other(cli: Isthmus) -> None:
    """stderr is full and unread while 4 MiB of stdout pass, to their end."""
    script = "yes e >&2 & dd if=/dev/zero bs=65536 count=64 2>/dev/null; kill $!"
    with cli.started("-e", "sh", "-c", script) as command:
        assert len(command.stdout.read()) == 4 * MIB
        assert set(command.stderr.read()) == {ord("e"), ord("\n")}
        assert command.status() == 0


def test_a_hundred_megabytes_pass_while_the_service_stays_small(cli: Isthmus) -> None:
    block = random.Random(5).randbytes(MIB)
    service = cli.service()
    before = service.memory_info().rss
    received = hashlib.sha256()
    peak = count = 0
    with cli.started("-e", "cat", stdin=subprocess.PIPE) as command:

        def feed() -> None:
            for _ in range(100):
                command.stdin.write(block)
            command.stdin.close()

        feeder = threading.Thread(target=feed)
        feeder.start()
        while data := command.stdout.read(MIB):
            received.update(data)
            count += len(data)
            peak = max(peak, service.memory_info().rss)
        feeder.join(30)
        assert command.status() == 0
    assert count == 100 * MIB
    assert received.hexdigest() == sha256(block * 100)
    assert peak - before < 16 * MIB, (before, peak)
    assert peak < SERVICE_BYTES, (before, peak)


def test_memory_stays_bounded_when_the_reader_stops(cli: Isthmus) -> None:
    """Back-pressure: `yes` fills the streams' windows and then waits, as does everybody between."""
    with cli.started("-e", "yes") as command:
        wait_until(lambda: "pipe" in _wait_channel(cli, "yes"), "`yes` to wait for its reader")
        assert psutil.Process(command.process.pid).memory_info().rss < 40 * MIB
        assert cli.service().memory_info().rss < SERVICE_BYTES
        assert _agents_bytes(cli) < AGENT_BYTES
        command.stdout.close()
        assert command.status() == 128 + signal.SIGPIPE


def test_memory_stays_bounded_when_the_program_reads_nothing(cli: Isthmus) -> None:
    """Back-pressure the other way: whoever feeds us has to wait, and nobody keeps it for him."""
    with cli.started("-e", "sh", "-c", "echo ready; exec sleep 300", stdin=subprocess.PIPE) as it:
        assert it.stdout.readline() == b"ready\n"
        feed = it.stdin.fileno()
        os.set_blocking(feed, False)
        sent = 0
        while select.select([], [feed], [], 2.0)[1]:
            sent += os.write(feed, bytes(65536))
            assert sent < 8 * MIB
        assert sent > MIB  # a window, and what the pipes hold
        assert psutil.Process(it.process.pid).memory_info().rss < 40 * MIB
        assert cli.service().memory_info().rss < SERVICE_BYTES
        assert _agents_bytes(cli) < AGENT_BYTES
        # Others are not held up by it.
        assert cli.ok("-e", "cat", input=b"by the way") == b"by the way"


def _agents_bytes(cli: Isthmus) -> int:
    """Memory of the agent, and of whatever else runs Python in the machine."""
    script = "for pid in $(pidof python3); do grep VmRSS /proc/$pid/status; done"
    return sum(int(line.split()[1]) * 1024 for line in cli.text("--system", script).splitlines())


def _wait_channel(cli: Isthmus, program: str) -> str:
    """What `program` waits for in its kernel; "" if it does not run."""
    done = cli.run("-e", "sh", "-c", f"cat /proc/$(pidof {program})/wchan")
    return done.stdout.decode()


# -- ends ------------------------------------------------------------------------------------------


def test_a_reader_that_has_enough_ends_its_writer(cli: Isthmus) -> None:
    """`lx -e yes | head -1` ends at once, and `yes` with it."""
    script = f'"{PROGRAM}" -e yes | head -1; echo "${{PIPESTATUS[0]}}"'
    assert _bash(cli, script) == (0, b"y\n141\n", b"")
    assert cli.run("-e", "pidof", "yes").returncode == 1


def test_a_program_that_has_enough_ends_its_feeder(cli: Isthmus) -> None:
    """`yes | lx -e head -1` ends at once, and the host's `yes` with it."""
    script = f'yes | "{PROGRAM}" -e head -1; echo "${{PIPESTATUS[*]}}"'
    assert _bash(cli, script) == (0, b"y\n141 0\n", b"")


def test_a_closed_stdin_reaches_the_feeder_before_the_program_ends(cli: Isthmus) -> None:
    script = "exec <&-; echo closed; sleep 300"
    with cli.started("-e", "sh", "-c", script, stdin=subprocess.PIPE) as command:
        assert command.stdout.readline() == b"closed\n"
        with pytest.raises(BrokenPipeError):
            while True:
                command.stdin.write(bytes(65536))
        assert command.process.poll() is None


def test_a_closed_stdout_reaches_the_reader_before_the_program_ends(cli: Isthmus) -> None:
    with cli.started("-e", "sh", "-c", "echo last; exec >&-; sleep 300") as command:
        assert command.stdout.read() == b"last\n"
        assert command.process.poll() is None


def test_end_of_input(cli: Isthmus) -> None:
    assert cli.ok("-e", "cat") == b""
    assert cli.ok("-e", "sh", "-c", "cat; echo over", input=b"x") == b"xover\n"


def test_half_close(cli: Isthmus) -> None:
    """After the end of its input a program still has all the time it wants for its output."""
    script = "cat; sleep 0.2; echo more; cat; echo over"
    assert cli.ok("-e", "sh", "-c", script, input=b"in\n") == b"in\nmore\nover\n"


def test_input_arrives_as_it_is_written(cli: Isthmus) -> None:
    """A dialogue over pipes: no byte waits for the next one."""
    with cli.started("-e", "cat", stdin=subprocess.PIPE) as command:
        for word in (b"one\n", b"two\n", b"three\n"):
            command.stdin.write(word)
            command.stdin.flush()
            assert command.stdout.readline() == word
        command.stdin.close()
        assert command.status() == 0


def test_a_background_child_does_not_hold_up_its_session(cli: Isthmus) -> None:
    """It keeps the pipes open; the command is over when its own process is."""
    child = cli.text("-e", "sh", "-c", "sleep 300 & echo $!", timeout=120)
    assert cli.text("-e", "cat", f"/proc/{child}/comm") == "sleep"
    cli.ok("-e", "kill", child)


@pytest.mark.parametrize(
    ("redirection", "command", "result"),
    [
        ("<&-", "cat; echo over", (0, b"over\n", b"")),
        (">&-", "echo lost; echo seen >&2", (0, b"", b"seen\n")),
        ("2>&-", "echo seen; echo lost >&2", (0, b"seen\n", b"")),
        ("<&- >&- 2>&-", "cat; echo lost; exit 7", (7, b"", b"")),
    ],
)
def test_closed_descriptors(
    cli: Isthmus, redirection: str, command: str, result: tuple[int, bytes, bytes]
) -> None:
    """What the client opens itself must never become its standard stream."""
    assert _bash(cli, f"exec '{PROGRAM}' -e sh -c '{command}' {redirection}") == result


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("option", "status"), [("--list", 0), ("--no-such-option", 254)])
def test_closed_descriptors_of_other_commands(
    cli: Isthmus, redirection: str, option: str, status: int
) -> None:
    done = _bash(cli, f"exec '{PROGRAM}' {option} {redirection}")
    assert done[0] == status
    assert b"Traceback" not in done[2]


def test_output_to_a_full_device(cli: Isthmus) -> None:
    """The program inside finds out (a closed pipe), and the user is told why."""
    script = f"'{PROGRAM}' -e sh -c 'while echo x; do :; done; exit 9' >/dev/full"
    status, _, complaint = _bash(cli, script)
    assert status == 128 + signal.SIGPIPE
    assert b"No space left on device" in complaint
    status, _, complaint = _bash(cli, f"'{PROGRAM}' --list >/dev/full")
    assert (status, complaint) == (255, b"standard output: No space left on device\n")


def test_files_as_streams(cli: Isthmus, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(os.urandom(3 * MIB))
    assert _bash(cli, f"'{PROGRAM}' -e cat <'{source}' >'{target}'") == (0, b"", b"")
    assert target.read_bytes() == source.read_bytes()


def _bash(cli: Isthmus, script: str) -> tuple[int, bytes, bytes]:
    """Run a script of the host's shell; its status, output and errors."""
    done = subprocess.run(
        ["bash", "-c", script],
        env=cli.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=180,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


# -- signals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "QUIT"])
def test_a_signal_to_the_command_reaches_the_program(cli: Isthmus, name: str) -> None:
    script = f"trap 'echo got {name}; exit 4' {name}; echo ready; while :; do sleep 0.05; done"
    with cli.started("-e", "sh", "-c", script) as command:
        assert command.stdout.readline() == b"ready\n"
        command.process.send_signal(signal.Signals[f"SIG{name}"])
        assert command.stdout.readline() == f"got {name}\n".encode()
        assert command.status() == 4


# -- many ------------------------------------------------------------------------------------------


def test_fifty_at_once(cli: Isthmus) -> None:
    def run(number: int) -> tuple[int, bytes, bytes]:
        done = cli.run("-e", "echo", str(number), timeout=280)
        return done.returncode, done.stdout, done.stderr

    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(run, range(50)))
    assert results == [(0, f"{number}\n".encode(), b"") for number in range(50)]
