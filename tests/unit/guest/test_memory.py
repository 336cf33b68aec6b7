"""How much cache is given up at a time."""

from __future__ import annotations

import pytest

from guest.agent.memory import FLOOR_KIB, meminfo, step_kib

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
