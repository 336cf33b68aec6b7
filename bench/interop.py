"""Windows programs from Linux, against the same programs started on the host directly.

    python -m bench.interop

Takes Wine and mingw-w64 (the tests' packages). What is timed inside the machine is a loop there, so
that `lx` itself is no part of it.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
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


def _inside_s(subject: Isthmus, scripts: Sequence[str], rounds: int) -> list[float]:
    """Median seconds that each of these shell scripts takes, by turns, without starting a shell."""
    timed = "".join(f"date +%s%N; {script}; date +%s%N; " for script in scripts)
    loop = f"for round in $(seq {rounds}); do {timed}done"
    stamps = [int(line) for line in subject.run("--", "sh", "-c", loop).stdout.split()]
    taken = [end - start for start, end in zip(stamps[::2], stamps[1::2], strict=True)]
    return [statistics.median(taken[at :: len(scripts)]) / 1e9 for at in range(len(scripts))]


def _host_s(environment: dict[str, str], *argv: str) -> float:
    def run() -> None:
        subprocess.run(
            ["wine", *argv], env=environment, stdin=-3, stdout=-3, stderr=-3, cwd="/", check=False
        )

    return median_s(run, _ROUNDS)


def _through_cat_s(subject: Isthmus) -> float:
    """Seconds that the same bytes take through a Linux program, from the host and back."""
    data = bytes(_BYTES)
    return median_s(lambda: subject.run("-e", "cat", input=data), 3)


def bench_interop() -> None:
    """Print the table."""
    with isthmus() as subject, _wine(subject) as environment:
        subject.run("--install", "--no-launch")
        subject.run("--", "sh", "-c", f"{_CMD} /c exit; wslpath /; true")
        direct = _host_s(environment, "cmd.exe", "/c", "exit")
        few = "for i in 1 2 3 4 5; do %s >/dev/null </dev/null; done"
        commands = [
            f"cd /mnt/c; {few % f'{_CMD} /c exit'}",
            f"cd /tmp; {few % f'{_CMD} /c exit'}",
            few % "/bin/true",
            few % "wslpath -w /mnt/c/windows",
        ]
        linux, elsewhere, true, wslpath = (s / 5 for s in _inside_s(subject, commands, 5))
        zeros = f"dd if=/dev/zero bs=65536 count={_BYTES // 65536} 2>/dev/null"
        pipes = [
            f"{_PROBE} write {_BYTES} >/dev/null",
            f"{zeros} | {_PROBE} cat >/dev/null 2>&1",
        ]
        out, both = _inside_s(subject, pipes, 5)
        plain = _through_cat_s(subject)
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
                "the same, in a directory that Windows cannot open",
                f"{elsewhere * 1000:.0f} ms",
                f"on a drive {linux * 1000:.0f} ms",
                elsewhere / linux,
                "≤ 1.2",
            ),
            Row(
                "`wslpath -w`",
                f"{wslpath * 1000:.1f} ms",
                f"`/bin/true` {true * 1000:.1f} ms",
                wslpath / true,
                "≤ 3",
            ),
            Row("20 MB written by a program", f"{_BYTES / out / 1e6:.0f} MB/s", goal="≥ 20 MB/s"),
            Row(
                "20 MB through a program and back",
                f"{_BYTES / both / 1e6:.0f} MB/s",
                f"`lx -e cat` {_BYTES / plain / 1e6:.0f} MB/s",
                both / plain,
                "≥ 20 MB/s",
            ),
        ],
    )


if __name__ == "__main__":
    print(f"load {os.getloadavg()[0]:.1f}, {time.strftime('%H:%M')}")
    bench_interop()
