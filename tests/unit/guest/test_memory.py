"""How much cache is given up at a time."""

from __future__ import annotations

import pytest

from guest.agent.memory import (
    FLOOR_KIB,
    is_worth_compacting,
    is_worth_dropping,
    loose_kib,
    meminfo,
    step_kib,
)

GIB = 1024 * 1024


def test_rows_are_read() -> None:
    text = "MemTotal:        4038164 kB\nHugePages_Total:       0\nVmallocChunk:\n\n"
    assert meminfo(text) == {"MemTotal": 4038164, "HugePages_Total": 0}


@pytest.mark.parametrize(
    ("total", "cached", "step"),
    [
        (4 * GIB, 3 * GIB, GIB // 4),
        (16 * GIB, 8 * GIB, GIB // 2),
        (128 * GIB, 64 * GIB, GIB),
        (4 * GIB, FLOOR_KIB + 1000, 1000),
        (4 * GIB, FLOOR_KIB, 0),
        (4 * GIB, 0, 0),
    ],
)
def test_a_step_is_bounded_and_leaves_a_floor(total: int, cached: int, step: int) -> None:
    assert step_kib({"MemTotal": total, "Cached": cached}) == step


def test_what_is_no_cache_does_not_count() -> None:
    """Shared memory and tmpfs are counted as cached, and cannot be dropped."""
    assert step_kib({"MemTotal": 4 * GIB, "Cached": GIB, "Shmem": GIB}) == 0
    assert step_kib({"MemTotal": 4 * GIB, "Buffers": GIB}) == GIB // 4


def test_an_unknown_kernel_is_left_alone() -> None:
    assert step_kib({}) == 0


def test_pieces_below_two_mebibytes_are_loose() -> None:
    """As /proc/buddyinfo has them: counts of 4 KiB, 8 KiB and so on up to 4 MiB."""
    text = (
        "Node 0, zone    DMA32      1      1      0      0      0      0      0      0      0"
        "      5    761 \n"
        "Node 0, zone   Normal      0      0      0      0      0      0      0      0      2"
        "      0    222 \n"
    )
    assert loose_kib(text) == 4 + 8 + 2 * 1024
    assert loose_kib("") == 0


def test_cache_is_dropped_where_it_is_more_than_the_table_of_pages() -> None:
    """A 64th of the memory: 64 MiB of 4 GiB."""
    table = GIB // 16
    assert not is_worth_dropping({"MemTotal": 4 * GIB, "Cached": table})
    assert is_worth_dropping({"MemTotal": 4 * GIB, "Cached": table, "SReclaimable": 1})
    assert not is_worth_dropping({"MemTotal": 4 * GIB, "Cached": 2 * table, "Shmem": table})


def test_memory_that_was_never_used_has_no_table_yet() -> None:
    """With our kernel: of 4 GiB, 1 GiB has been used."""
    rows = {"MemTotal": 4 * GIB, "Unaccepted": 3 * GIB}
    assert not is_worth_dropping({**rows, "Cached": GIB // 64})
    assert is_worth_dropping({**rows, "Cached": GIB // 64 + 1})


def test_free_memory_is_put_together_where_much_of_it_is_loose() -> None:
    rows = {"MemTotal": 4 * GIB}
    line = "Node 0, zone DMA32 {} 0 0 0 0 0 0 0 0 0 0"
    assert not is_worth_compacting(rows, line.format(GIB // 16 // 4))
    assert is_worth_compacting(rows, line.format(GIB // 16 // 4 + 1))
