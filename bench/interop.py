"""Windows programs from Linux, against the same programs started on the host directly.

    python -m bench.interop

Takes Wine and mingw-w64 (the tests' packages). What is timed inside the machine is a loop there, so
that `lx` itself is no part of it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.harness import Isthmus, Row, isthmus, median_s, print_table
from tests.wine_harness import compile_probe, end_prefix, make_prefix, wine_environment

_ROUNDS = 20
_BYTES = 20_000_000
_CMD = "/mnt/c/windows/system32/cmd.exe"
_PROBE = "/mnt/c/probe.exe"


@contextlib.contextmanager
def _wine(subject: Isthmus) -> Iterator[dict[str, str]]:
    """A prefix with the tests' program on its drive C; the environment that stands for it."""
    with tempfile.TemporaryDirectory(prefix="isthmus-wine-") as directory:
        prefix = Path(directory) / "prefix"
        make_prefix(prefix)
        try:
            compile_probe(prefix / "drive_c" / "probe.exe")
            subject.environment |= {"WINEPREFIX": str(prefix), "WINEDEBUG": "-all"}
            yield wine_environment(prefix)
        finally:
            end_prefix(prefix)


def _inside_s(subject: Isthmus, script: str) -> float:
    """Seconds that a shell script takes, without the time of starting it."""
    started = subject.run("--", "sh", "-c", f"date +%s%N; {script}; date +%s%N").stdout.split()
    return (int(started[-1]) - int(started[0])) / 1e9


def _host_s(environment: dict[str, str], *argv: str) -> float:
    def run() -> None:
        subprocess.run(
            ["wine", *argv], env=environment, stdin=-3, stdout=-3, stderr=-3, cwd="/", check=False
        )

    return median_s(run, _ROUNDS)


def bench_interop() -> None:
    """Print the table."""
    with isthmus() as subject, _wine(subject) as environment:
        subject.run("--install", "--no-launch")
        loop = f"for i in $(seq {_ROUNDS}); do %s >/dev/null </dev/null; done"
        subject.run("--", "sh", "-c", f"{_CMD} /c exit; wslpath /; true")
        direct = _host_s(environment, "cmd.exe", "/c", "exit")
        linux = _inside_s(subject, loop % f"{_CMD} /c exit") / _ROUNDS
        true = _inside_s(subject, loop % "/bin/true") / _ROUNDS
        wslpath = _inside_s(subject, loop % "wslpath -w /mnt/c/windows") / _ROUNDS
        out = _BYTES / _inside_s(subject, f"{_PROBE} write {_BYTES} >/dev/null")
        zeros = f"dd if=/dev/zero bs=1000000 count={_BYTES // 1_000_000} 2>/dev/null"
        both = _BYTES / _inside_s(subject, f"{zeros} | {_PROBE} cat >/dev/null 2>&1")
    print_table(
        "Windows programs from Linux",
        [
            Row(
                "`cmd.exe /c exit`",
                f"{linux * 1000:.0f} ms",
                f"on the host {direct * 1000:.0f} ms",
                linux / direct,
                "≤ 1.5",
            ),
            Row(
                "`wslpath -w`",
                f"{wslpath * 1000:.1f} ms",
                f"`/bin/true` {true * 1000:.1f} ms",
                wslpath / true,
                "≤ 3",
            ),
            Row("20 MB written by a program", f"{out / 1e6:.0f} MB/s", goal="≥ 20 MB/s"),
            Row("20 MB through a program", f"{both / 1e6:.0f} MB/s", goal="≥ 20 MB/s"),
        ],
    )


if __name__ == "__main__":
    print(f"load {os.getloadavg()[0]:.1f}, {time.strftime('%H:%M')}")
    bench_interop()
