"""Linux's ports at the host's localhost: what the agent tells of becomes forwards.

The machine tells what is served (wire.agent.PortsChanged), netbridge.forwards decides what that
makes of the host's ports, service.forwarder carries it out, one change at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from netbridge.forwards import Forward, Target, settled, wanted_forwards
from service.forwarder import Forwarder, PortRefused
from service.settings import SettingsFile
from vm.errors import VmError
from vm.machine import VirtualMachine
from wire import client as messages
from wire.agent import Port, PortsChanged

log = logging.getLogger(__name__)

_RETRY_S = 1.0
"""How often a port that was refused is tried again: nothing tells when one becomes free."""


class Ports:
    """What the machine serves, and the forwards made of it. On the event loop only."""

    def __init__(self, settings: SettingsFile) -> None:
        self._settings = settings
        self._served: dict[Port, float] = {}
        self._next_s: float | None = None
        """In how many seconds there is something to do although nothing changes."""
        self._active: dict[Forward, Target] = {}
        self._refused: dict[Forward, str] = {}
        self._forwarder: Forwarder | None = None
        self._vm: VirtualMachine | None = None
        self._changed = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._is_complete = False

    # -- what happens --------------------------------------------------------------------------

    def begin(self, vm: VirtualMachine) -> None:
        """An agent, of a new machine or anew of the same, is about to tell what is served."""
        if vm is not self._vm:
            self.end()
            forwarder = Forwarder(vm.qmp)
            self._vm, self._forwarder = vm, forwarder
            self._worker = asyncio.create_task(self._work(forwarder))
        self._served.clear()
        self._is_complete = False

    def complete(self) -> None:
        """It has told of all that is served by now."""
        self._is_complete = True
        self._changed.set()

    def on_changed(self, event: PortsChanged) -> None:
        """The agent tells what has begun, and ceased, to be served."""
        now = time.monotonic()
        for port in event.closed:
            self._served.pop(port, None)
        for port in event.opened:
            self._served.setdefault(port, now)
        if self._is_complete:
            self._changed.set()

    def end(self) -> None:
        """The machine is over, and all forwards with it."""
        if self._worker is not None:
            self._worker.cancel()
        if self._forwarder is not None:
            self._forwarder.abandon()
        self._worker = self._forwarder = self._vm = None
        self._served.clear()
        self._active.clear()
        self._refused.clear()

    # -- what is done --------------------------------------------------------------------------

    async def _work(self, forwarder: Forwarder) -> None:
        """Make the host's ports what they should be, whenever that changes."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._next_s):
                    await self._changed.wait()
            self._changed.clear()
            if not self._is_complete:
                continue
            try:
                await self._converge(forwarder)
            except VmError as error:
                log.warning("ports cannot be forwarded: %s", error)
                await asyncio.sleep(_RETRY_S)
                self._changed.set()

    async def _converge(self, forwarder: Forwarder) -> None:
        served, self._next_s = settled(self._served, time.monotonic())
        wanted = wanted_forwards(served, self._settings.current().ignored_ports)
        for forward in self._refused.keys() - wanted.keys():
            del self._refused[forward]
        for forward, target in list(self._active.items()):
            if wanted.get(forward) is not target:
                await forwarder.close(forward)
                del self._active[forward]
        for forward, target in wanted.items():
            if forward in self._active:
                continue
            try:
                await forwarder.open(forward, target)
            except PortRefused as refused:
                if self._refused.get(forward) != str(refused):
                    log.warning("port %s is not forwarded: %s", forward, refused)
                self._refused[forward] = str(refused)
            else:
                self._active[forward] = target
                self._refused.pop(forward, None)
        if self._refused:
            self._next_s = min(self._next_s or _RETRY_S, _RETRY_S)

    # -- what there is -------------------------------------------------------------------------

    def status(self) -> tuple[messages.ForwardedPort, ...]:
        """Each port that is forwarded, or should be."""
        rows = {forward: "" for forward in self._active} | self._refused
        return tuple(
            messages.ForwardedPort(
                number=forward.port, protocol=forward.protocol, problem=rows[forward]
            )
            for forward in sorted(rows)
        )
