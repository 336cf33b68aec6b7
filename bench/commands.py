"""Running commands: what `lx` adds to what the guest itself needs; pipes; many at once."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time

import psutil

from bench.harness import BIN, Isthmus, Row, median_s, print_table

_LOOP = "i=0; while [ $i -lt {count} ]; do /bin/true; i=$((i+1)); done"
_ROUNDS = 15
_MEBIBYTES = 100
_TERMINAL_MEBIBYTES = 10


def guest_spawn_s(subject: Isthmus) -> float:
    """What the guest needs to fork, execute and reap /bin/true, from a small shell's loop."""
    count = 30

    def loop(rounds: int) -> float:
        line = _LOOP.format(count=rounds)
        return median_s(lambda: subject.run("-e", "/bin/sh", "-c", line), 1)

    return (loop(count + 1) - loop(1)) / count


def bench_exec(subject: Isthmus) -> None:
    """A warm `lx -e /bin/true`, and fifty of them."""
    interpreter = median_s(
        lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), _ROUNDS
    )
    warms, guests = [], []
    for _ in range(_ROUNDS):  # by turns: what else the machine does weighs on both alike
        warms.append(median_s(lambda: subject.run("-e", "/bin/true"), 3))
        guests.append(guest_spawn_s(subject))
    warm, guest = statistics.median(warms), statistics.median(guests)
    started = time.perf_counter()
    for _ in range(50):
        subject.run("-e", "/bin/true")
    in_turn = time.perf_counter() - started
    started = time.perf_counter()
    clients = [subject.popen("-e", "/bin/true") for _ in range(50)]
    failed = sum(client.wait() != 0 for client in clients)
    at_once = time.perf_counter() - started
    print_table(
        "Commands",
        [
            Row(
                "`lx -e /bin/true`, warm, beyond the interpreter's start",
                f"{(warm - interpreter) * 1000:.0f} ms",
                f"fork, exec, reap in the guest: {guest * 1000:.0f} ms",
                (warm - interpreter) / guest,
                "≤ 2.5",
            ),
            Row("the interpreter's start", f"{interpreter * 1000:.0f} ms"),
            Row(
                f"50 `lx -e /bin/true` at once ({failed} failed)",
                f"{at_once:.1f} s",
                f"one after another: {in_turn:.1f} s",
                at_once / in_turn,
                "< 1",
            ),
        ],
    )


def bench_pipes(subject: Isthmus) -> None:
    """Bytes through `lx -e cat`, in and out at the same time."""
    data = bytes(1024) * 1024 * _MEBIBYTES
    through = median_s(lambda: subject.run("-e", "/bin/cat", input=data), 3)
    out_line = f"head -c {len(data)} /dev/zero"
    out = median_s(lambda: subject.run(out_line), 3)
    into = median_s(lambda: subject.run("cat > /dev/null", input=data), 3)
    service = psutil.Process(int(str(subject.status()["service_pid"])))
    rate = _MEBIBYTES * 1.048576
    print_table(
        "Pipes and memory",
        [
            Row("100 MiB through `lx -e cat`, both ways", f"{rate / through:.0f} MB/s", "", None,
                "≥ 30 MB/s"),
            Row("out of the guest only", f"{rate / out:.0f} MB/s"),
            Row("into the guest only", f"{rate / into:.0f} MB/s"),
            Row("the service's memory", f"{service.memory_info().rss / 1e6:.0f} MB RSS", "", None,
                "< 80 MB"),
        ],
    )  # fmt: skip


def _read_terminal(subject: Isthmus, *arguments: str) -> int:
    """Run `lx` at a terminal that takes what comes; returns how many bytes that was."""
    master, slave = os.openpty()
    client = subprocess.Popen(
        [BIN / "lx", *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=subject.environment,
        start_new_session=True,
    )
    os.close(slave)
    count = 0
    with contextlib.suppress(OSError):  # EIO: nobody has the other side open any more
        while data := os.read(master, 1 << 16):
            count += len(data)
    os.close(master)
    assert client.wait() == 0
    return count


def bench_terminal(subject: Isthmus) -> None:
    """A long file shown on a terminal, `stty raw` so that its bytes can be counted."""
    size = _TERMINAL_MEBIBYTES * 2**20
    subject.run(f"yes 0123456789abcde | head -c {size} > /root/long")
    shown = "stty raw; cat /root/long"

    def show() -> None:
        assert _read_terminal(subject, "-e", "sh", "-c", shown) == size

    rate = size / 1e6 / median_s(show, 3)
    row = Row("10 MiB of `cat` on a terminal", f"{rate:.0f} MB/s", "", None, "≥ 5 MB/s")
    print_table("Terminal", [row])
