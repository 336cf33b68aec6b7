"""Giving up cache, so that the host gets the memory (free page reporting hands it over).

Functions block and belong on a worker thread.
"""

from __future__ import annotations

from guest.agent.distributions import CGROUPS

FLOOR_KIB = 128 * 1024
"""Of cache, what is left alone by small steps: WSL's value."""
_LEAST_STEP_KIB = 256 * 1024
_LARGEST_STEP_KIB = 1024 * 1024
_STEPS = 32


def meminfo(text: str) -> dict[str, int]:
    """The rows of /proc/meminfo (proc(5)), in KiB."""
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1}


def step_kib(rows: dict[str, int]) -> int:
    """How much cache the next small step takes; 0 where there is little. Pure."""
    cached = rows.get("Cached", 0) + rows.get("Buffers", 0) - rows.get("Shmem", 0)
    step = max(_LEAST_STEP_KIB, min(rows.get("MemTotal", 0) // _STEPS, _LARGEST_STEP_KIB))
    return max(0, min(step, cached - FLOOR_KIB))


def drop() -> None:
    """Give up all cache that is clean: pages, and what the kernel remembers of files."""
    _write("/proc/sys/vm/drop_caches", "3")
    _compact()


def shrink() -> None:
    """Give up a part of the distributions' cache, what was used longest ago first."""
    with open("/proc/meminfo") as file:
        step = step_kib(meminfo(file.read()))
    if not step:
        return
    try:
        # Programs' own memory stays: nothing is gained by writing it to swap space.
        _write(f"{CGROUPS}/memory.reclaim", f"{step}K swappiness=0")
    except BlockingIOError:
        pass  # EAGAIN: there was less to take
    _compact()


def _compact() -> None:
    """Put free pages together: the host is told of 2 MiB at once."""
    _write("/proc/sys/vm/compact_memory", "1")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
