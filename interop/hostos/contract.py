"""What every host can do for a Windows program. Implementations: posix.py, wine.py."""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Program:
    r"""A Windows program to start.

    `path` is its absolute Windows path, `arguments` are those after argv[0]; `directory` is
    the absolute Windows path it starts in, "" for drive C's root. `environment` changes the
    host's variables: an empty value deletes (docs/paths.md §6).
    """

    path: str
    arguments: Sequence[str] = ()
    directory: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


class WindowsProcess(Protocol):
    """A started program; its three pipes are separate and byte-clean."""

    @property
    def stdin(self) -> StreamWriter:
        """Closing it is the program's end of file."""

    @property
    def stdout(self) -> StreamReader:
        """Ends when nobody holds the pipe any more."""

    @property
    def stderr(self) -> StreamReader:
        """Ends when nobody holds the pipe any more."""

    async def wait(self) -> int:
        """The exit code."""

    def kill(self) -> None:
        """End the program and the console programs it has started; no error if it has ended."""


class Host(Protocol):
    """The host as far as Windows programs are concerned."""

    async def start(self, program: Program) -> WindowsProcess:
        """Start `program`. Raises HostError, wire's PathError and ArgumentError."""

    def drives(self) -> Mapping[str, str]:
        """Drive letters ("C") and the host's directories that they show. Raises HostError."""
