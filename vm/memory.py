"""The guest's memory as a file of ours: who does it on this host."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from vm.memory_windows import GuestMemory, read_memory, read_state, write_snapshot
else:
    from vm.memory_posix import GuestMemory, read_memory, read_state, write_snapshot

__all__ = ["GuestMemory", "read_memory", "read_state", "write_snapshot"]
