"""Windows programs for the tests: Python's own, told what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from interop.hostos.contract import ConsoleSize, Output, Program

REASON = "only a real Windows shows it: run by the job `windows` of CI (docs/testing.md)"
SIZE = ConsoleSize(rows=30, columns=100)


def python(code: str, *arguments: str, console: ConsoleSize | None = None) -> Program:
    """A Python program; -I keeps the checkout out of it."""
    return Program(
        path=sys.executable,
        arguments=("-I", "-u", "-c", code, *arguments),
        directory=os.path.abspath(os.sep),
        console=console,
    )


class Screen:
    """What has been read of an output so far."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.text = ""

    async def expect(self, condition: str | Callable[[str], bool]) -> None:
        """Read until the text holds `condition`, or fulfils it; at the end AssertionError."""
        while not (condition in self.text if isinstance(condition, str) else condition(self.text)):
            data = await self._output.read(65536)
            assert data, f"the end, after {self.text!r}"
            self.text += data.decode("utf-8", "replace")


def alive(note: Path) -> bool:
    """Whether the process that has written its number to `note` runs."""
    import psutil

    return psutil.pid_exists(int(note.read_text()))
