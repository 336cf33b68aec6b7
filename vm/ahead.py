"""Whether the QEMU that was started ahead is the one that is wanted, and what the next is to be.

`vm.ahead_posix` starts it; nobody does on Windows, where no machine goes on from a snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from vm.aheadrecord import MEMORY_PATH, Record, placeholder
from vm.argv import QMP_CHANNEL, qemu_argv, spare_chardev
from vm.channels import Channel
from vm.files import write_atomically
from vm.memory import GuestMemory
from vm.openable import with_openable_files
from vm.process import Child
from vm.spec import MachineSpec


class Begun(Protocol):
    """A QEMU that was started ahead (`vm.ahead_posix.Ahead`)."""

    @property
    def argv(self) -> Sequence[str]:
        """What it was started with."""

    @property
    def channels(self) -> Mapping[str, Channel]:
        """Its channels, by name."""

    @property
    def memory(self) -> GuestMemory:
        """Its guest's memory."""

    @property
    def snapshot(self) -> str:
        """The directory that the memory is copied from."""

    def adopt(self) -> Child:
        """Take its process; for the event loop's thread. Raises OSError."""

    def wait_filled(self) -> bool:
        """Whether the memory has been copied. Blocks, and may be called once."""

    def discard(self) -> None:
        """End it, and give up what it has. Blocks for a moment; may be repeated."""


def channel_names(spec: MachineSpec) -> tuple[str, ...]:
    """The channels that a machine has. Pure."""
    return (QMP_CHANNEL, *spec.ports, *map(spare_chardev, range(spec.spare_ports)))


def fits(begun: Begun, spec: MachineSpec, snapshot: Path) -> bool:
    """Whether QEMU was started just as for `spec`, with that snapshot's memory."""
    if begun.snapshot != str(snapshot) or set(begun.channels) != set(channel_names(spec)):
        return False
    backends = {name: channel.backend for name, channel in begun.channels.items()}
    return list(begun.argv) == _argv(spec, backends, begun.memory.path)


def _argv(spec: MachineSpec, backends: Mapping[str, str], memory_path: str) -> list[str]:
    return qemu_argv(with_openable_files(spec), backends, memory_path=memory_path, is_incoming=True)


def keep_record(path: Path, spec: MachineSpec, snapshot: Path, memory_bytes: int) -> None:
    """Have the next service start QEMU ahead as for `spec`. Raises OSError."""
    names = channel_names(spec)
    argv = _argv(spec, {name: placeholder(name) for name in names}, MEMORY_PATH)
    text = Record(argv, names, memory_bytes, str(snapshot), str(spec.serial_log)).encode()
    if not path.exists() or path.read_bytes() != text:
        write_atomically(path, text)
