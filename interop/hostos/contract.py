"""What every host can do for a Windows program. Implementations: posix.py, wine.py, windows.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

KILLED_STATUS = 137
"""The exit code of a program that kill() has ended: 128 + SIGKILL, as Linux shells say it."""

INTERRUPTED_STATUS = 0x3A
"""The low 8 bits of the exit code of a program that Ctrl-C has ended: STATUS_CONTROL_C_EXIT."""


@dataclass(frozen=True)
class ConsoleSize:
    """A console's size in character cells."""

    rows: int
    columns: int


@dataclass(frozen=True)
class Program:
    r"""A Windows program to start.

    `path` is its absolute Windows path; `name` is its argv[0] where that can be told ("" is
    `path`), `arguments` are the others. `directory` is the absolute Windows path it starts in,
    "" for drive C's root. `environment` changes the host's variables: an empty value deletes
    (docs/paths.md §6). `console` is the size of the console it gets; None: it gets pipes.
    """

    path: str
    arguments: Sequence[str] = ()
    directory: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    console: ConsoleSize | None = None


class Input(Protocol):
    """Where to write what a program reads. asyncio.StreamWriter is one."""

    def write(self, data: bytes) -> None:
        """Send `data`, soon."""

    async def drain(self) -> None:
        """Wait until the program has taken most of it. Raises OSError when it never will."""

    def close(self) -> None:
        """The end: the program reads end of file."""


class Output(Protocol):
    """Where to read what a program writes. asyncio.StreamReader is one."""

    async def read(self, n: int = -1, /) -> bytes:
        """At most `n` bytes, b"" at the end; may be cancelled. Raises OSError as the end."""


class WindowsProcess(Protocol):
    """A started program, with three pipes that are separate and byte-clean, or a console."""

    @property
    def is_gui(self) -> bool:
        """Whether it has windows of its own; then it goes on when whoever started it ends."""

    @property
    def stdin(self) -> Input:
        """Its input; with a console, the keys typed there, as a terminal sends them."""

    @property
    def stdout(self) -> Output:
        """Its output; with a console, what is to be shown, for a terminal of xterm's kind."""

    @property
    def stderr(self) -> Output | None:
        """None with a console."""

    async def wait(self) -> int:
        """The exit code."""

    def resize(self, size: ConsoleSize) -> None:
        """The console has a new size; nothing happens without one."""

    def interrupt(self) -> None:
        """Ctrl-C, which the program may handle; no error if it has ended."""

    def kill(self) -> None:
        """End the program and the console programs it has started; no error if it has ended."""

    def close_output(self, output: Output) -> None:
        """Nobody reads `output`, one of the two, any more: the program is to notice."""

    def close(self) -> None:
        """Give the ends of its pipes up; it may still run."""


class Host(Protocol):
    """The host as far as Windows programs are concerned."""

    async def start(self, program: Program) -> WindowsProcess:
        """Start `program`. Raises HostError, wire's PathError and ArgumentError."""

    def drives(self) -> Mapping[str, str]:
        """Drive letters ("C") and the host's directories that they show. Raises HostError."""

    def windows_path(self, path: str) -> str:
        """The Windows path of this host's absolute `path`. Raises PathError, HostError."""

    def search_path(self) -> str:
        """The PATH of Windows programs, in Windows' form. Raises HostError."""
