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

import psutil

from service.errors import ServiceError
from service.machine import Machine, MachineState
from vm.errors import VmError
from wire.agent import Reclaim
from wire.common import Done

log = logging.getLogger(__name__)

INTERVAL_S = 10.0
_IDLE_SHARE = 0.1
"""Of one processor. A guest that has nothing to do has its timers, and emulation its price."""

DISABLED, GRADUAL, DROP_CACHE = "Disabled", "Gradual", "DropCache"


@dataclass
class IdleWatch:
    """Tells from the processor time used so far when a machine has become idle."""

    used_s: float = 0.0
    """At the last look."""
    is_due: bool = True
    """Whether it has been busy since its cache was dropped, or it never was."""

    def look(self, used_s: float, elapsed_s: float) -> bool:
        """Whether it was idle for the last `elapsed_s`, up to now."""
        is_idle = used_s - self.used_s < _IDLE_SHARE * elapsed_s
        self.used_s = used_s
        if not is_idle:
            self.is_due = True
        return is_idle


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
        watch.is_due = mode == GRADUAL
        try:
            await link.request(Reclaim(gradual=mode == GRADUAL), Done)
        except (ServiceError, VmError) as error:
            log.info("memory was not reclaimed: %s", error)
