"""Jumps of the host's clock, noticed against one that has none."""

from __future__ import annotations

import pytest

from service.agentwatch import HostClock

SECOND = 10**9


class Clocks:
    """Both of a host, set by hand."""

    def __init__(self) -> None:
        self.wall_ns = 1_700_000_000 * SECOND
        self.steady_ns = 0

    def pass_by(self, seconds: float) -> None:
        self.wall_ns += int(seconds * SECOND)
        self.steady_ns += int(seconds * SECOND)

    def host_clock(self) -> HostClock:
        return HostClock(lambda: self.wall_ns, lambda: self.steady_ns)


@pytest.mark.parametrize("jump_s", [3600, -3600, 1, -1, 10 * 365 * 86400])
def test_a_jump_is_noticed_until_the_time_is_told(jump_s: int) -> None:
    """Also the one that a host's sleep is, through which the steady clock stands still."""
    clocks = Clocks()
    clock = clocks.host_clock()
    clocks.pass_by(100)
    assert not clock.has_jumped()
    clocks.wall_ns += jump_s * SECOND
    assert clock.has_jumped()
    assert clock.tell() == clocks.wall_ns
    assert not clock.has_jumped()


def test_time_that_passes_and_slewing_are_no_jumps() -> None:
    clocks = Clocks()
    clock = clocks.host_clock()
    for _ in range(1000):
        clocks.pass_by(1000)
        clocks.wall_ns += SECOND // 4000  # an NTP daemon at work
    assert not clock.has_jumped()
