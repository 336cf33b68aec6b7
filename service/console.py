"""The kernel's console for those who look for a fault: a copy in a file, and shown as it boots."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

from vm.files import printable

_INTERVAL_S = 0.1


def writable_console(path: Path | None, warn: Callable[[str], None]) -> Path | None:
    """The file that .wslconfig names for the console; None, with a warning, if it cannot be one.

    QEMU would not start with a file that it cannot write.
    """
    if path is None:
        return None
    try:
        if path.exists() and not path.is_file():
            why: str | None = "it is not an ordinary file"  # opening a pipe might never end
        else:
            with path.open("ab"):
                return path.absolute()
    except OSError as error:
        why = error.strerror
    warn(f"wsl2.debugConsoleLogFile: {path} cannot be written: {why}")
    return None


@contextlib.asynccontextmanager
async def shown_console(path: Path, show: Callable[[str], None] | None) -> AsyncIterator[None]:
    """Meanwhile show each line that is written to a log, from its start on; None: do not."""
    if show is None:
        yield
        return
    with path.open("rb") as file:
        lines = _Lines(file, show)
        following = asyncio.create_task(lines.follow())
        try:
            yield
        finally:
            following.cancel()
            lines.read()


class _Lines:
    """Whole lines of a file that grows."""

    def __init__(self, file: BinaryIO, show: Callable[[str], None]) -> None:
        self._file = file
        self._show = show
        self._rest = b""

    async def follow(self) -> None:
        while True:
            self.read()
            await asyncio.sleep(_INTERVAL_S)

    def read(self) -> None:
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        for line in lines:
            self._show(printable(line.decode("utf-8", "replace")).strip("\n"))
