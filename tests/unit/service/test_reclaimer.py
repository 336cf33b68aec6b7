"""When a machine counts as idle, and what is asked of it then."""

from __future__ import annotations

import pytest

from service.reclaimer import IdleWatch


def looks(*used_s: float) -> list[tuple[bool, bool]]:
    """Idle or not, and due or not, at looks ten seconds apart; what is due is done."""
    watch = IdleWatch()
    seen = []
    for used in used_s:
        is_idle = watch.look(used, 10)
        seen.append((is_idle, is_idle and watch.is_due))
        if is_idle and watch.is_due:
            watch.drop()
    return seen


def test_a_machine_that_computes_is_left_alone() -> None:
    assert looks(5, 10, 15.5) == [(False, False)] * 3


def test_cache_is_dropped_once_after_each_time_of_work() -> None:
    assert looks(9, 9.1, 9.2, 9.3) == [(False, False), (True, True), (True, False), (True, False)]
    assert looks(9, 9.1, 19, 19.1)[-1] == (True, True), "it has worked again"


def test_short_spells_of_work_count_together_but_rest_does_not() -> None:
    """A distribution's start fills the cache, and takes a second of a processor at most."""
    assert looks(0.05, 0.3, 0.5, 0.6, 0.9, 1.4)[1:] == [
        (True, False),
        (True, False),
        (True, False),
        (True, False),
        (True, True),
    ]
    assert not any(is_due for _, is_due in looks(*(0.1 * n for n in range(1000)))[1:])


@pytest.mark.parametrize(("used_s", "is_idle"), [(0.0, True), (0.9, True), (1.0, False)])
def test_a_tenth_of_a_processor_is_work(used_s: float, is_idle: bool) -> None:
    assert IdleWatch().look(used_s, 10) is is_idle
