"""Bringing a machine that has just booted to the point where it is worth saving."""

from __future__ import annotations

import asyncio

from service.errors import LinkLost, ServiceError
from service.link import AgentLink
from vm.machine import VirtualMachine
from vm.qmp import EventStream, event_data
from wire.agent import Names, SetUpNetwork, Spawn, Spawned
from wire.common import Done, Exited
from wire.frame import Frame

_IDLE_SHARE = 0.1
"""Of one processor; a guest that has nothing to do still has its timers."""
_LOOK_S = 0.3
_IDLE_TIMEOUT_S = 20.0


class _Rehearsal:
    """A session whose output does not matter."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_frame(self, frame: Frame) -> None:
        """service.link.Session"""

    def on_exit(self, exited: Exited) -> None:
        """service.link.Session"""
        self.ended.set_result(None)

    def on_lost(self, error: ServiceError) -> None:
        """service.link.Session"""
        self.ended.set_exception(error)


_PROGRAMS = "cd /usr/libexec/isthmus; ./distro-init; ./drive-pump; true"
"""What every distribution's start executes: here without arguments, so that nothing is done."""


async def rehearse(link: AgentLink, *, has_network: bool) -> None:
    """Have the agent do what every start takes, and so load what that needs.

    It watches ports from then on, and tells the next service that asks. Raises ServiceError.
    """
    if has_network:
        await link.request(SetUpNetwork(names=Names(), forward=True), Done)
    session = _Rehearsal()
    argv = ("sh", "-c", _PROGRAMS)
    spawn = Spawn(session=link.open_session(session), distribution="", argv=argv)
    await link.request(spawn, Spawned)
    await session.ended


async def wait_opened(events: EventStream, vm: VirtualMachine) -> None:
    """Wait until the guest has the agent's port open; `events` are VSERPORT_CHANGE.

    Raises LinkLost if the machine ends instead.
    """
    async for event in events:
        data = event_data(event)
        if data.get("open") and data.get("id") == vm.spec.ports[0]:
            return
    raise LinkLost("the virtual machine has ended")


async def wait_idle(pid: int) -> None:
    """Wait until QEMU, process `pid`, hardly computes any more; or for long enough.

    Raises LinkLost if it ends.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        async with asyncio.timeout(_IDLE_TIMEOUT_S):
            while True:
                before = sum(process.cpu_times()[:2])
                await asyncio.sleep(_LOOK_S)
                if sum(process.cpu_times()[:2]) - before < _IDLE_SHARE * _LOOK_S:
                    return
    except TimeoutError:
        return  # it is saved as busy as it is
    except psutil.Error:
        raise LinkLost("the virtual machine has ended") from None
