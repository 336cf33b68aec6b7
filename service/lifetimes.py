"""How long distributions and the machine go on when nobody uses them (behaviour §8, "Idle").

As in WSL, what keeps a distribution running is a client's process in it. What that has left in the
background does not: it ends with the distribution, `instanceIdleTimeout` after the last client.
The machine ends `vmIdleTimeout` after its last distribution, or its last use without one.

`decide` is pure; `Lifetimes` counts, waits, and does what it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from service.distributions import DistributionManager
from service.errors import ServiceError
from service.machine import Machine, MachineState
from service.settings import Settings
from vm.errors import VmError

log = logging.getLogger(__name__)

MACHINE = ""
"""Names the machine where distributions are named by their identity."""


_STALLED_S = 5.0


@dataclass(frozen=True)
class Timeouts:
    """How long each may be idle, in seconds; None: for ever."""

    instance_s: float | None
    machine_s: float | None
    suspends: bool = False
    """Whether the machine is suspended when it is due, with the distributions that run in it."""


@dataclass(frozen=True)
class Usage:
    """Who uses what, and since when nobody does. Times are those of one monotonic clock."""

    machine_runs: bool
    running: Collection[str]
    """Identities of the distributions that run."""
    users: Mapping[str, int]
    """Clients at work in each, MACHINE among them; what has none may be left out."""
    last_used: Mapping[str, float]
    """When the last client ended; of MACHINE also when the last distribution did."""


@dataclass(frozen=True)
class Decision:
    """What has been idle for too long, and when to look again."""

    stop: tuple[str, ...] = ()
    """Identities of distributions."""
    shut_down: bool = False
    """The machine, which nobody needs any more."""
    suspend: bool = False
    """The machine, with all that runs in it."""
    look_again_at: float | None = None
    """The next moment at which something may be due; None: not before something changes."""


def decide(usage: Usage, timeouts: Timeouts, now: float) -> Decision:
    """Which of the unused are due. Pure."""
    stop = []
    moments = []
    if timeouts.instance_s is not None and not timeouts.suspends:
        for identity in usage.running:
            if usage.users.get(identity, 0):
                continue
            due_at = usage.last_used.get(identity, now) + timeouts.instance_s
            if due_at <= now:
                stop.append(identity)
            else:
                moments.append(due_at)
    is_idle = usage.machine_runs and not any(usage.users.values())
    if not timeouts.suspends:
        is_idle = is_idle and not usage.running
    if is_idle and timeouts.machine_s is not None:
        due_at = usage.last_used.get(MACHINE, now) + timeouts.machine_s
        if due_at <= now:
            return Decision(suspend=True) if timeouts.suspends else Decision(shut_down=True)
        moments.append(due_at)
    return Decision(tuple(stop), look_again_at=min(moments, default=None))


def timeouts_of(settings: Settings, *, can_suspend: bool = False) -> Timeouts:
    """The timeouts that .wslconfig gives. Pure.

    can_suspend: the machine is to be suspended, which keeps distributions from ending before.
    """

    def seconds(milliseconds: int) -> float | None:
        return None if milliseconds < 0 else milliseconds / 1000

    return Timeouts(
        seconds(settings.instance_idle_timeout_ms),
        seconds(settings.vm_idle_timeout_ms),
        suspends=can_suspend,
    )


class Lifetimes:
    """Ends what nobody uses. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        machine: Machine,
        distributions: DistributionManager,
        clock: Callable[[], float] = time.monotonic,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """`is_busy`: whether programs of the host run for the machine, which cannot be saved."""
        self._is_busy = is_busy
        self._machine = machine
        self._distributions = distributions
        self._clock = clock
        self._users: dict[str, int] = {}
        self._last_used: dict[str, float] = {}
        self._changed = asyncio.Event()
        distributions.on_running_changed = self._on_running_changed

    @contextlib.contextmanager
    def using(self, *what: str) -> Iterator[None]:
        """Keep distributions, or MACHINE, from being ended for want of use."""
        for one in what:
            self._users[one] = self._users.get(one, 0) + 1
        try:
            yield
        finally:
            for one in what:
                self._users[one] -= 1
                if not self._users[one]:
                    del self._users[one]
                self._last_used[one] = self._last_used[MACHINE] = self._clock()
            self._changed.set()

    def is_used(self, identity: str) -> bool:
        """Whether a client has a process in a distribution."""
        return identity in self._users

    @property
    def is_anything_used(self) -> bool:
        """Whether any client is at work."""
        return bool(self._users)

    def _on_running_changed(self) -> None:
        """A distribution has started or ended, which is a use of it and of the machine."""
        now = self._clock()
        running = self._distributions.running
        for identity in running - self._last_used.keys():
            self._last_used[identity] = now
        for identity in self._last_used.keys() - running - self._users.keys() - {MACHINE}:
            del self._last_used[identity]
        self._last_used[MACHINE] = now
        self._changed.set()

    def look(self) -> Decision:
        """What is due now."""
        if self._machine.is_stalled:  # it would do now what it is told only when it goes on
            return Decision(look_again_at=self._clock() + _STALLED_S)
        usage = Usage(
            machine_runs=self._machine.state is MachineState.RUNNING,
            running=self._distributions.running,
            users=self._users,
            last_used=self._last_used,
        )
        timeouts = timeouts_of(
            self._machine.settings.current(), can_suspend=self._machine.can_suspend
        )
        return decide(usage, timeouts, self._clock())

    async def act(self, decision: Decision) -> None:
        """Do what was decided, but for what has found a user meanwhile."""
        for identity in decision.stop:
            log.info("nobody uses %s any more", identity)
            try:
                await self._distributions.stop_unused(identity, lambda: self.is_used(identity))  # noqa: B023
            except ServiceError as error:
                log.warning("%s could not be stopped: %s", identity, error)
                self._last_used[identity] = self._clock()  # to be tried again later
        if decision.suspend:
            await self._suspend()
        if decision.shut_down:
            log.info("nobody uses the virtual machine any more")
            try:
                await self._machine.shutdown(force=False)
            except (ServiceError, VmError, TimeoutError) as error:
                log.warning("the virtual machine could not be shut down: %s", error)
                self._last_used[MACHINE] = self._clock()

    async def _suspend(self) -> None:
        log.info("nobody uses the virtual machine: it is suspended")
        try:
            await self._machine.suspend(lambda: self.is_anything_used or self._is_busy())
        except (OSError, ServiceError, VmError, TimeoutError) as error:
            log.warning("the virtual machine could not be suspended: %s", error)
        self._last_used[MACHINE] = self._clock()  # if it still runs: later once more

    async def run(self) -> None:
        """Look and act, whenever something has changed or may be due; until cancelled."""
        while True:
            self._changed.clear()
            decision = self.look()
            await self.act(decision)
            if decision.stop or decision.shut_down or decision.suspend:
                continue
            wait_s = None
            if decision.look_again_at is not None:
                wait_s = max(0.0, decision.look_again_at - self._clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
