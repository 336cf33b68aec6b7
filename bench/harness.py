"""What all benchmarks share: an Isthmus of their own, timing, the table they print."""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Row:
    """One line of a table: a figure, what it is compared with, and the goal for their ratio."""

    what: str
    figure: str
    peer: str = ""
    ratio: float | None = None
    goal: str = ""


def print_table(title: str, rows: Sequence[Row]) -> None:
    """Print rows as a Markdown table."""
    print(f"\n### {title}\n\n| what | figure | compared with | ratio | goal |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        print(f"| {row.what} | {row.figure} | {row.peer} | {ratio} | {row.goal} |")


def median_s(action: Callable[[], object], rounds: int) -> float:
    """Median duration of `action` in seconds."""
    durations = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


WAKEFUL = "[general]\ninstanceIdleTimeout=-1\n[wsl2]\nvmIdleTimeout=-1\n"
"""A .wslconfig with which nothing ends for want of use."""


class Isthmus:
    """An Isthmus with a home of its own; the image cache is the user's."""

    def __init__(self, home: str) -> None:
        self._wslconfig = Path(home) / "wslconfig"
        self.configure(WAKEFUL)
        # As after an installation: the interpreter finds, or leaves, its byte code.
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        self.environment = {
            **inherited,
            "ISTHMUS_HOME": home,
            "ISTHMUS_WSLCONFIG": str(self._wslconfig),
        }

    def configure(self, text: str) -> None:
        """Make `text` its .wslconfig."""
        self._wslconfig.write_text(text)

    def run(
        self, *arguments: str, input: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `isthmus` with these arguments, its output captured."""
        return subprocess.run(
            [BIN / "lx", *arguments],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            check=check,
            env=self.environment,
        )

    def popen(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `isthmus` without waiting; its output is discarded."""
        return subprocess.Popen(
            [BIN / "lx", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment,
        )

    def status(self) -> dict[str, object]:
        """`--status --json`."""
        import json

        report: dict[str, object] = json.loads(self.run("--status", "--json").stdout)
        return report

    def end(self) -> None:
        """Shut the machine down and end the service."""
        report = self.status()
        self.run("--shutdown")
        service = psutil.Process(int(str(report["service_pid"])))
        service.terminate()
        service.wait(30)


@contextlib.contextmanager
def isthmus() -> Iterator[Isthmus]:
    """An Isthmus that is ended and removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as home:
        subject = Isthmus(home)
        try:
            yield subject
        finally:
            subject.end()


def tiny_rootfs() -> bytes:
    """The tar of a distribution that is busybox and nothing else."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for name in ("sh", "true", "cat"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        passwd = tarfile.TarInfo("etc/passwd")
        content = b"root:x:0:0::/root:/bin/sh\n"
        passwd.size = len(content)
        tar.addfile(passwd, io.BytesIO(content))
    return buffer.getvalue()
