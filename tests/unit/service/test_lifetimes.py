"""When distributions and the machine end for want of use, and who counts as a user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.distributions import DistributionManager
from service.errors import ServiceError
from service.lifetimes import MACHINE, Decision, Lifetimes, Timeouts, Usage, decide, timeouts_of
from service.machine import Machine, MachineState
from service.settings import Host, settings_from
from service.settings_keys import WSLCONFIG
from wire import failures
from wire.wslconf import read_config

TIMEOUTS = Timeouts(instance_s=15, machine_s=60)


def usage(
    running: tuple[str, ...] = (),
    users: dict[str, int] | None = None,
    last_used: dict[str, float] | None = None,
    *,
    machine_runs: bool = True,
) -> Usage:
    return Usage(machine_runs, running, users or {}, last_used or {})


# -- the decision ----------------------------------------------------------------------------------


def test_a_distribution_ends_when_it_has_been_idle_for_its_time() -> None:
    idle = usage(("a", "b"), last_used={"a": 100, "b": 105})
    assert decide(idle, TIMEOUTS, 114) == Decision(look_again_at=115)
    assert decide(idle, TIMEOUTS, 115) == Decision(stop=("a",), look_again_at=120)
    assert decide(idle, TIMEOUTS, 130) == Decision(stop=("a", "b"))


def test_one_that_has_a_client_does_not() -> None:
    used = usage(("a",), users={"a": 1}, last_used={"a": 0})
    assert decide(used, TIMEOUTS, 1e6) == Decision()


def test_the_machine_ends_after_its_last_distribution() -> None:
    assert decide(usage(("a",), {"a": 1}, {MACHINE: 0}), TIMEOUTS, 1e6) == Decision()
    idle = usage(last_used={MACHINE: 100})
    assert decide(idle, TIMEOUTS, 159) == Decision(look_again_at=160)
    assert decide(idle, TIMEOUTS, 160) == Decision(shut_down=True)


@pytest.mark.parametrize("user", [MACHINE, "distribution-that-starts"])
def test_the_machine_does_not_end_while_anything_goes_on(user: str) -> None:
    """An import, an export, a command in the system, a distribution's start."""
    assert decide(usage((), {user: 1}, {MACHINE: 0}), TIMEOUTS, 1e6) == Decision()


def test_nothing_ends_that_does_not_run() -> None:
    assert decide(usage(machine_runs=False), TIMEOUTS, 1e6) == Decision()


def test_a_machine_that_suspends_keeps_its_distributions() -> None:
    timeouts = Timeouts(instance_s=15, machine_s=60, suspends=True)
    idle = usage(("a",), last_used={"a": 100, MACHINE: 100})
    assert decide(idle, timeouts, 130) == Decision(look_again_at=160)
    assert decide(idle, timeouts, 160) == Decision(suspend=True)
    assert decide(usage(("a",), {"a": 1}, {MACHINE: 0}), timeouts, 1e6) == Decision()


def test_no_timeout_means_for_ever() -> None:
    idle = usage(("a",), last_used={"a": 0, MACHINE: 0})
    assert decide(idle, Timeouts(None, 60), 1e6) == Decision()
    assert decide(usage(last_used={MACHINE: 0}), Timeouts(15, None), 1e6) == Decision()


@given(
    st.dictionaries(st.sampled_from("abc"), st.floats(0, 100)),
    st.dictionaries(st.sampled_from([*"abc", MACHINE]), st.integers(1, 3)),
    st.floats(0, 50),
    st.floats(0, 50),
    st.floats(100, 300),
)
def test_what_is_decided_is_due_and_what_is_not_will_be_looked_at(
    last_used: dict[str, float],
    users: dict[str, int],
    instance_s: float,
    machine_s: float,
    now: float,
) -> None:
    got = usage(tuple(last_used), users, {**last_used, MACHINE: 100})
    decision = decide(got, Timeouts(instance_s, machine_s), now)
    assert not set(decision.stop) & set(users)
    unused = set(last_used) - set(users)
    assert set(decision.stop) == {one for one in unused if last_used[one] + instance_s <= now}
    if decision.shut_down:
        assert not users and not last_used
    if decision.look_again_at is not None:
        assert decision.look_again_at > now
        later = decide(got, Timeouts(instance_s, machine_s), decision.look_again_at)
        assert len(later.stop) > len(decision.stop) or later.shut_down
    else:
        assert unused == set(decision.stop)


@pytest.mark.parametrize(
    ("text", "timeouts"),
    [
        ("", Timeouts(15, 60)),
        ("[wsl2]\nvmIdleTimeout=-1\n[general]\ninstanceIdleTimeout=-5\n", Timeouts(None, None)),
        ("[wsl2]\nvmIdleTimeout=0\n[general]\ninstanceIdleTimeout=2500\n", Timeouts(2.5, 0)),
    ],
)
def test_timeouts_are_wslconfigs(text: str, timeouts: Timeouts) -> None:
    config = read_config(text, WSLCONFIG, "F", stop_at_malformed=False)
    assert timeouts_of(settings_from(config, Host(2**32, 2))) == timeouts


# -- counting and acting ---------------------------------------------------------------------------


class World:
    """A machine and distributions that do what they are told at once, and a clock that is set."""

    def __init__(self, text: str = "") -> None:
        config = read_config(text, WSLCONFIG, "F", stop_at_malformed=False)
        self._settings = settings_from(config, Host(2**32, 2))
        self.settings = self
        self.now = 0.0
        self.state = MachineState.RUNNING
        self.is_stalled = self.can_suspend = False
        self.running: frozenset[str] = frozenset()
        self.on_running_changed: Callable[[], None] = lambda: None
        self.ended = asyncio.Event()
        self.failing = False
        self.before_stop: Callable[[], None] = lambda: None
        self.lifetimes = Lifetimes(
            cast(Machine, self), cast(DistributionManager, self), lambda: self.now
        )

    def current(self) -> object:
        return self._settings

    def start(self, *identities: str) -> None:
        self.running |= set(identities)
        self.on_running_changed()

    async def stop_unused(self, identity: str, is_used: Callable[[], bool]) -> None:
        self.before_stop()
        if self.failing:
            raise ServiceError(failures.AGENT_FAILED, "no")
        if not is_used():
            self.running -= {identity}
            self.on_running_changed()

    async def shutdown(self, *, force: bool) -> None:
        assert not force
        self.state = MachineState.STOPPED
        self.ended.set()

    def step(self, now: float) -> Decision:
        """Look and act at a time."""
        self.now = now
        decision = self.lifetimes.look()
        asyncio.run(self.lifetimes.act(decision))
        return decision


def test_the_whole_course_of_an_evening() -> None:
    world = World()
    with world.lifetimes.using("a"):
        world.start("a")
        assert world.step(1000) == Decision()
    assert world.step(1014.9) == Decision(look_again_at=1015)
    assert world.step(1015).stop == ("a",)
    assert world.running == frozenset()
    assert world.step(1074.9) == Decision(look_again_at=1075)
    assert world.step(1075).shut_down
    assert world.state is MachineState.STOPPED
    assert world.step(2000) == Decision()


def test_two_clients_count_twice() -> None:
    world = World()
    world.start("a")
    with world.lifetimes.using("a"):
        with world.lifetimes.using("a"):
            pass
        assert world.step(100) == Decision()
    assert world.step(200).stop == ("a",)


def test_one_that_was_started_without_a_client_has_its_time_too() -> None:
    """--manage --set-default-user starts it only to look a user up."""
    world = World()
    world.now = 100
    world.start("a")
    assert world.step(101) == Decision(look_again_at=115)


def test_a_client_that_comes_while_it_is_being_stopped_is_in_time() -> None:
    world = World()
    world.start("a")
    use = world.lifetimes.using("a")
    world.before_stop = lambda: use.__enter__()
    assert world.step(15).stop == ("a",)
    assert world.running == {"a"}


def test_what_could_not_be_stopped_is_tried_again_later() -> None:
    world = World()
    world.start("a")
    world.failing = True
    assert world.step(20).stop == ("a",)
    assert world.step(21) == Decision(look_again_at=35)


@pytest.fixture
def loop_runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_it_wakes_by_itself(loop_runner: asyncio.Runner) -> None:
    """No time at all: as soon as the last client is gone, both end, without anybody asking."""
    world = World("[wsl2]\nvmIdleTimeout=0\n[general]\ninstanceIdleTimeout=0\n")

    async def live() -> None:
        running = asyncio.create_task(world.lifetimes.run())
        with world.lifetimes.using("a"):
            world.start("a")
            await asyncio.sleep(0)
            assert world.running == {"a"}
        await world.ended.wait()
        running.cancel()

    loop_runner.run(asyncio.wait_for(live(), 10))
    assert world.running == frozenset()
