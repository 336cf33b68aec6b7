"""Windows's side of `vm.memory`: QEMU cannot be given memory there (memory-backend-file is not
built in), so nothing of this is ever called."""

from __future__ import annotations

from pathlib import Path

from vm.errors import SnapshotUnusable

_WHY = "QEMU cannot share the guest's memory on this host"


def host_memory_bytes() -> int:
    """What memory this computer has."""
    import psutil

    return psutil.virtual_memory().total


class GuestMemory:
    """See `vm.memory_posix`."""

    def __init__(self, size_bytes: int) -> None:
        """Raises SnapshotUnusable."""
        self.descriptor = -1
        self.path = ""
        raise SnapshotUnusable(_WHY)

    @property
    def allocated_bytes(self) -> int:
        """Nothing."""
        return 0

    def close(self) -> None:
        """There is nothing to close."""


def write_snapshot(directory: Path, state: bytes, memory: GuestMemory) -> None:
    """Raises SnapshotUnusable."""
    raise SnapshotUnusable(_WHY)


def read_state(directory: Path) -> bytes:
    """Raises SnapshotUnusable."""
    raise SnapshotUnusable(_WHY)


def read_memory(directory: Path, memory: GuestMemory) -> None:
    """Raises SnapshotUnusable."""
    raise SnapshotUnusable(_WHY)
