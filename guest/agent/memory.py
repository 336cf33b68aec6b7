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

_PAGE_BYTES = 4096
_STRUCT_PAGE_BYTES = 64
_REPORTED_ORDER = 9
"""Of the smallest piece of free memory that the host is told of (mm/page_reporting.c)."""


def meminfo(text: str) -> dict[str, int]:
    """The rows of /proc/meminfo (proc(5)), in KiB."""
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1}


def cached_kib(rows: dict[str, int]) -> int:
    """Of files, what is in memory and on a disk as well. Pure."""
    return rows.get("Cached", 0) + rows.get("Buffers", 0) - rows.get("Shmem", 0)


def step_kib(rows: dict[str, int]) -> int:
    """How much cache the next small step takes; 0 where there is little. Pure."""
    step = max(_LEAST_STEP_KIB, min(rows.get("MemTotal", 0) // _STEPS, _LARGEST_STEP_KIB))
    return max(0, min(step, cached_kib(rows) - FLOOR_KIB))


def is_worth_dropping(rows: dict[str, int]) -> bool:
    """Whether dropping all cache gives the host more than it costs. Pure.

    What is freed is reported to the host, and for that the kernel walks through its lists of free
    memory. That alone can make the whole table of pages resident in a machine that has gone on from
    a snapshot and has hardly touched it.
    """
    return cached_kib(rows) + rows.get("SReclaimable", 0) > table_kib(rows)


def is_worth_compacting(rows: dict[str, int], buddyinfo: str) -> bool:
    """Whether putting free memory together gives the host more than it costs. Pure.

    What lies in pieces too small to be reported is what can be won; every page's entry in the
    table of pages is read for it.
    """
    return loose_kib(buddyinfo) > table_kib(rows)


def table_kib(rows: dict[str, int]) -> int:
    """The size of the kernel's table of pages, struct page (linux/mm_types.h). Pure.

    Our kernel writes it as memory comes into use (vm/image/patches/0003-lazy-struct-pages.patch),
    and counts what was never used as not accepted yet.
    """
    pages_kib = rows.get("MemTotal", 0) - rows.get("Unaccepted", 0)
    return max(0, pages_kib) * _STRUCT_PAGE_BYTES // _PAGE_BYTES


def loose_kib(buddyinfo: str) -> int:
    """Free memory in pieces too small for the host to be told of (proc(5), buddyinfo). Pure."""
    loose = 0
    for line in buddyinfo.splitlines():
        counts = line.partition("zone")[2].split()[1 : 1 + _REPORTED_ORDER]
        loose += sum(int(count) << order for order, count in enumerate(counts))
    return loose * _PAGE_BYTES // 1024


def drop(*, even_little: bool = False) -> None:
    """Give up all cache that is clean: pages, and what the kernel remembers of files.

    `even_little`: the machine is about to be saved, and all that is in it written.
    """
    if even_little or is_worth_dropping(_read_meminfo()):
        _write("/proc/sys/vm/drop_caches", "3")
    _compact()


def shrink() -> None:
    """Give up a part of the distributions' cache, what was used longest ago first."""
    step = step_kib(_read_meminfo())
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
    with open("/proc/buddyinfo") as file:
        buddyinfo = file.read()
    if is_worth_compacting(_read_meminfo(), buddyinfo):
        _write("/proc/sys/vm/compact_memory", "1")


def _read_meminfo() -> dict[str, int]:
    with open("/proc/meminfo") as file:
        return meminfo(file.read())


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
