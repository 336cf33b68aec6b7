"""The host's memory, and the guest's as a file of ours: who knows of them on this host."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from vm.memory_windows import (
        GuestMemory,
        host_memory_bytes,
        read_memory,
        read_state,
        write_snapshot,
    )
else:
    from vm.memory_posix import (
        GuestMemory,
        host_memory_bytes,
        read_memory,
        read_state,
        write_snapshot,
    )

__all__ = ["GuestMemory", "host_memory_bytes", "read_memory", "read_state", "write_snapshot"]
