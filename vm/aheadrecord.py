"""The record of how QEMU was started, for it to be started so again (`vm.ahead_posix`). Pure.

Read before anything else is loaded, so it imports little.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAXIMUM_BYTES = 1 << 20
MEMORY_PATH = "@memory@"
"""Stands for the path of the guest's memory in a record's command line."""


def placeholder(name: str) -> str:
    """Stands for the channel `name` in a record's command line."""
    return f"@channel:{name}@"


class Record:
    """One start.

    argv: with `placeholder`s for the channels `names`, and MEMORY_PATH. snapshot: the directory
    that the memory is copied from. log: the file that QEMU writes the guest's console to.
    """

    def __init__(
        self, argv: Sequence[str], names: Sequence[str], memory_bytes: int, snapshot: str, log: str
    ) -> None:
        self.argv = list(argv)
        self.names = list(names)
        self.memory_bytes = memory_bytes
        self.snapshot = snapshot
        self.log = log

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(vars(self)).encode()

    @classmethod
    def decode(cls, text: bytes) -> Record | None:
        """From `encode`'s JSON; None for anything else."""
        try:
            fields = json.loads(text)
            if not isinstance(fields["argv"], list) or not isinstance(fields["names"], list):
                return None
            return cls(
                [str(word) for word in fields["argv"]],
                [str(name) for name in fields["names"]],
                int(fields["memory_bytes"]),
                str(fields["snapshot"]),
                str(fields["log"]),
            )
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None

    def filled_in(self, backends: Mapping[str, str], memory_path: str) -> list[str]:
        """The command line with real channels, `backends` by name, and the memory's real path."""
        real = {placeholder(name): backend for name, backend in backends.items()}
        real[MEMORY_PATH] = memory_path
        argv = []
        for word in self.argv:
            if "@" in word:
                for stand_in, value in real.items():
                    word = word.replace(stand_in, value)
            argv.append(word)
        return argv
