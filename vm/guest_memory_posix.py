"""The guest's memory, made before anything is known of the machine (`vm.ahead_posix`)."""

from __future__ import annotations

import os
import sys

assert sys.platform != "win32"


class GuestMemory:
    """Zeroed memory of `size_bytes`, which lives until both we and QEMU have let go of it."""

    def __init__(self, size_bytes: int) -> None:
        """Raises OSError, on hosts without memfd_create(2) too."""
        self.size_bytes = size_bytes
        self.descriptor = -1
        if sys.platform != "linux":
            raise OSError("this host has no files in memory")
        self.descriptor = os.memfd_create("guest-memory", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.descriptor, size_bytes)
        except BaseException:
            self.close()
            raise

    @property
    def path(self) -> str:
        """Where QEMU, which inherits the descriptor under its number, finds it."""
        return f"/proc/self/fd/{self.descriptor}"

    @property
    def allocated_bytes(self) -> int:
        """What it takes of the host's memory."""
        return os.fstat(self.descriptor).st_blocks * 512

    def close(self) -> None:
        """Let go of it. May be repeated."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
