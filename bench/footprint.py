"""What the machine takes of the host: to start from nothing, at rest, and after use."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from bench.harness import BIN, Isthmus, Row, isthmus, print_table, tiny_rootfs

MIB = 2**20
_ROUNDS = 5
_SNAPSHOT_TIMEOUT_S = 120.0
_REST_S = 45.0
"""Longer than it takes to be found idle, and for what is given up to reach the host."""
_FREED_S, _SHRUNK_S = 30.0, 60.0
_MEBIBYTES = 1024

_FILL = (
    f"import mmap; m = mmap.mmap(-1, {_MEBIBYTES} << 20)\n"
    f"for i in range(0, {_MEBIBYTES} << 20, 4096): m[i] = 1\n"
    "print('full', flush=True); input()"
)


def install_tiny(subject: Isthmus) -> Path:
    """Import the small distribution; its disk image."""
    home = Path(subject.environment["ISTHMUS_HOME"])
    subject.run("--import", "tiny", str(home / "tiny"), "-", input=tiny_rootfs())
    return home / "tiny" / "ext4.qcow2"


def start_from_nothing_s() -> float:
    """Median of `lx -e true` with neither service nor machine running, but a snapshot."""
    with isthmus() as subject:
        install_tiny(subject)
        log = Path(subject.environment["ISTHMUS_HOME"]) / "logs" / "service.log"
        deadline = time.monotonic() + _SNAPSHOT_TIMEOUT_S
        while not any(word in log.read_text() for word in ("has been made", "goes on from")):
            if time.monotonic() > deadline:
                raise TimeoutError("no snapshot was made")
            time.sleep(0.5)
        durations = []
        for _ in range(_ROUNDS):
            subject.end()
            started = time.perf_counter()
            subject.run("-e", "true")
            durations.append(time.perf_counter() - started)
        return statistics.median(durations)


def _resident_mib(subject: Isthmus) -> float:
    return psutil.Process(int(str(subject.status()["qemu_pid"]))).memory_info().rss / MIB


def _reached(value: Callable[[], float], wanted: float, limit_s: float) -> tuple[float, float]:
    """Wait until `value` is at most `wanted`, or for `limit_s`; the value, and after how long."""
    started = time.monotonic()
    while (now := value()) > wanted and time.monotonic() - started < limit_s:
        time.sleep(0.5)
    return now, time.monotonic() - started


def _freed_memory(subject: Isthmus) -> Row:
    """A gigabyte that a program of Linux has used and given up."""
    command = subprocess.Popen(
        [BIN / "lx", "--system", "-e", "python3", "-c", _FILL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=subject.environment,
    )
    assert command.stdout is not None
    command.stdout.readline()
    full = _resident_mib(subject)
    command.communicate(b"\n")
    left, after_s = _reached(lambda: _resident_mib(subject), full - 0.9 * _MEBIBYTES, _FREED_S)
    share = (full - left) / _MEBIBYTES
    figure = f"{share:.0%} after {after_s:.0f} s"
    return Row("1 GiB freed in Linux: back on the host", figure, "", share, "≥ 0.9 in 30 s")


def _shrunk_disk(subject: Isthmus, disk: Path) -> Row:
    """A gigabyte written to a distribution's disk and deleted."""

    def allocated_mib() -> float:
        return disk.stat().st_blocks * 512 / MIB

    before = allocated_mib()
    data = os.urandom(MIB) * _MEBIBYTES
    subject.run("-e", "sh", "-c", "cat > /big; /bin/busybox sync", input=data)
    full = allocated_mib()
    subject.run("-e", "/bin/busybox", "rm", "/big")
    left, after_s = _reached(allocated_mib, full - 0.9 * (full - before), _SHRUNK_S)
    share = (full - left) / (full - before)
    figure = f"{share:.0%} after {after_s:.0f} s"
    return Row("1 GiB deleted in Linux: image smaller by", figure, "", share, "≥ 0.9 in 60 s")


def bench_footprint() -> None:
    """Memory and disk space of a machine of 4 GiB, or less where the host has little."""
    rows = []
    with isthmus() as subject:
        disk = install_tiny(subject)
        subject.run("--shutdown")
        for what, arguments in (
            ("QEMU's memory at rest, no distribution", ("--system", "-e", "true")),
            ("the same with one", ("-e", "true")),
        ):
            subject.run(*arguments)
            time.sleep(_REST_S)
            rows.append(Row(what, f"{_resident_mib(subject):.0f} MiB RSS", "", None, "< 120 MiB"))
        rows.append(_freed_memory(subject))
        rows.append(_shrunk_disk(subject, disk))
    print_table("Memory and disk space", rows)
