"""Giving memory that a machine uses as cache back to the host (.wslconfig, autoMemoryReclaim).

What Linux frees goes back by itself (free page reporting). What it keeps as cache it keeps for as
long as nobody wants it, so when the machine has become idle it is told to let go: of all of it
(DropCache), or step by step (Gradual). Whether it is idle is measured here, as processor time of
QEMU: the guest need not look.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from service.errors import ServiceError
from service.machine import Machine, MachineState
from vm.errors import VmError
from wire.agent import Reclaim
from wire.common import Done

log = logging.getLogger(__name__)

INTERVAL_S = 10.0
_IDLE_SHARE = 0.1
"""Of one processor. A guest that has nothing to do has its timers, and emulation its price."""

_REST_SHARE = 0.02
"""What of one processor the timers take, under emulation: measured 0.008."""
_WORK_S = 0.3
"""As much work as can have filled the cache: a file is read, a distribution started."""

DISABLED, GRADUAL, DROP_CACHE = "Disabled", "Gradual", "DropCache"


@dataclass
class IdleWatch:
    """Tells from the processor time used so far when a machine has become idle."""

    used_s: float = 0.0
    """At the last look."""
    worked_s: float = _WORK_S
    """How long it has worked since its cache was dropped, in spells however short."""

    def look(self, used_s: float, elapsed_s: float) -> bool:
        """Whether it was idle for the last `elapsed_s`, up to now."""
        spent_s = used_s - self.used_s
        self.used_s = used_s
        self.worked_s += max(0.0, spent_s - _REST_SHARE * elapsed_s)
        return spent_s < _IDLE_SHARE * elapsed_s

    @property
    def is_due(self) -> bool:
        """Whether there may be cache to drop, or memory to put together."""
        return self.worked_s >= _WORK_S

    def drop(self) -> None:
        """It is being dropped."""
        self.worked_s = 0.0


class Reclaimer:
    """Looks after the machine's memory while it runs."""

    def __init__(self, machine: Machine, interval_s: float = INTERVAL_S) -> None:
        self._machine = machine
        self._interval_s = interval_s

    async def run(self) -> None:
        """Look again and again; until cancelled."""
        watched, watch = None, IdleWatch()
        while True:
            await asyncio.sleep(self._interval_s)
            if self._machine.state is not MachineState.RUNNING:
                watched = None
                continue
            import psutil  # not while the first machine starts

            try:
                pid = self._machine.vm.pid
                user, system = psutil.Process(pid).cpu_times()[:2]
            except (psutil.Error, ServiceError):
                continue  # it has just ended
            if pid != watched:
                watched, watch = pid, IdleWatch(used_s=user + system)
            elif watch.look(user + system, self._interval_s):
                await self._reclaim(watch)

    async def _reclaim(self, watch: IdleWatch) -> None:
        mode = self._machine.settings.current().auto_memory_reclaim
        link = self._machine.link
        if mode == DISABLED or link is None or not watch.is_due:
            return
        # Steps go on until there is nothing left to take, and that costs nothing to find out.
        if mode != GRADUAL:
            watch.drop()
        try:
            await link.request(Reclaim(gradual=mode == GRADUAL), Done)
        except (ServiceError, VmError) as error:
            log.info("memory was not reclaimed: %s", error)
