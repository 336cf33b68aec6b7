"""The ways in which the machine comes to run: gone on with, woken from a snapshot, or booted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from service.agentwatch import AgentWatch, BootFailure
from service.console import shown_console
from service.errors import ServiceError
from service.link import AgentLink, Answerers
from service.settings import MIB, Settings
from service.snapshots import WAKE_TIMEOUT_S, Snapshots, can_be_saved
from service.suspension import Suspension
from vm.errors import VmError
from vm.machine import VirtualMachine
from vm.memory import GuestMemory
from vm.migration import load_state
from vm.shutdown import Deadlines
from vm.spec import MachineSpec
from wire.codec import Message
from wire.places import Places

log = logging.getLogger(__name__)

AGENT_PORT = "org.isthmus.agent"

FORCED = Deadlines(quit_s=5.0, terminate_s=3.0)
"""For a user who does not want to wait. No rung loses what was written for good."""


Early = Callable[[VirtualMachine], Awaitable[Message]]
"""What somebody wants done to a machine of which there is no more than QEMU, and the event that its
agent may be told of it, even before it is greeted. Raises nothing that matters: it is tried again
where it has failed."""


@dataclass
class Started:
    """A machine whose agent answers."""

    vm: VirtualMachine
    link: AgentLink
    agent_watch: AgentWatch
    memory: GuestMemory | None = None
    """The guest's, where it is ours: closed by whoever has this."""
    is_booted: bool = False
    """Whether its kernel has just booted, and was not found running in what was saved."""
    resumed: tuple[str, ...] | None = None
    """The notes of one that was suspended; None: it was not."""

    def ports(self) -> dict[str, socket.socket]:
        """The host's ends of the spare ports that it was suspended with, by name."""
        return {name: self.vm.port(name) for name in self.vm.plugged_ports}


class Starter:
    """Starts machines.

    `on_event`, `answerers` and `on_greeted` are as `service.machine.Machine` has them. `warn` has
    the next command say something, `follow` keeps a task alive.
    """

    def __init__(
        self,
        places: Places,
        snapshots: Snapshots,
        suspension: Suspension,
        on_event: Callable[[Message], None],
        answerers: Answerers,
        on_greeted: Callable[[VirtualMachine, AgentLink], None],
        show_console: Callable[[str], None],
        warn: Callable[[str], None],
        follow: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self._pid_file = Path(places.pid_file)
        self._snapshots = snapshots
        self._suspension = suspension
        self._on_event = on_event
        self._answerers = answerers
        self._on_greeted = on_greeted
        self._show_console = show_console
        self._warn = warn
        self._follow = follow

    async def start(
        self, settings: Settings, spec: MachineSpec, early: Early | None = None
    ) -> Started:
        """Start a machine in the quickest way there is. Raises VmError, ServiceError.

        `early` is done beside the greeting of one that wakes: its guest has another processor. To
        one that boots it is done later, not in the middle of the firmware's search for disks.
        """
        return (
            await self._resume(settings, spec)
            or await self._wake(settings, spec, early)
            or await self._boot(settings, spec)
        )

    async def _resume(self, settings: Settings, spec: MachineSpec) -> Started | None:
        """Go on with the suspended machine; None if there is none, or that does not work."""
        if not self._suspension.is_there:
            return None
        try:
            saved = await self._suspension.lay_out(spec, self._pid_file)
            try:
                link, agent_watch = await self._connect(saved.vm, settings)
                await load_state(saved.vm.qmp, saved.state)
                await agent_watch.greet(WAKE_TIMEOUT_S, is_awakened=True)
            except BaseException:
                await saved.vm.shutdown(deadlines=FORCED)
                saved.memory.close()
                raise
        except (OSError, VmError, ServiceError) as error:
            self._warn(
                "the suspended virtual machine could not go on, so the programs that ran in it "
                f"have ended: {error}"
            )
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._suspension.drop)
            return None
        finally:
            await asyncio.to_thread(self._suspension.discard_used)
        log.info("the suspended virtual machine goes on")
        return Started(saved.vm, link, agent_watch, saved.memory, resumed=saved.notes)

    async def _wake(
        self, settings: Settings, spec: MachineSpec, early: Early | None
    ) -> Started | None:
        """Go on from a snapshot; None if there is none, or it does not work."""
        entry = await self._snapshots.find(settings, spec)
        if entry is None:
            await self._snapshots.give_up_begun()
            return None
        try:
            sleeper = await self._snapshots.lay_out(entry, spec, self._pid_file)
            try:
                link, agent_watch = await self._connect(sleeper.vm, settings)
                await sleeper.wake()
                async with _beside(early, sleeper.vm) as done:
                    await agent_watch.greet(
                        WAKE_TIMEOUT_S, is_awakened=True, on_seeded=lambda: _tell(link, done)
                    )
            except BaseException:
                await sleeper.vm.shutdown(deadlines=FORCED)
                sleeper.memory.close()
                raise
        except BootFailure as error:
            if not error.is_images_fault:
                raise
            await asyncio.to_thread(self._snapshots.refuse, entry, error)
            return None
        except (OSError, VmError, ServiceError) as error:
            await asyncio.to_thread(self._snapshots.refuse, entry, error)
            return None
        log.info("the virtual machine goes on from %s", entry.name)
        self._follow(asyncio.to_thread(self._snapshots.begin_so, entry, spec))
        return Started(sleeper.vm, link, agent_watch, sleeper.memory)

    async def _boot(self, settings: Settings, spec: MachineSpec) -> Started:
        """Boot the kernel. Raises VmError, ServiceError."""
        memory = None
        if settings.suspend_on_idle and can_be_saved(spec):
            memory = GuestMemory(spec.memory_mib * MIB)
        try:
            vm = await VirtualMachine.start(spec, pid_file=self._pid_file, memory=memory)
            show = self._show_console if settings.debug_console else None
            try:
                async with shown_console(spec.serial_log, show):
                    link, agent_watch = await self._connect(vm, settings, is_booting=True)
                    await agent_watch.greet(settings.kernel_boot_timeout_ms / 1000)
            except BaseException:
                await vm.shutdown()
                raise
        except BaseException:
            if memory is not None:
                memory.close()
            raise
        return Started(vm, link, agent_watch, memory, is_booted=True)

    async def _connect(
        self, vm: VirtualMachine, settings: Settings, *, is_booting: bool = False
    ) -> tuple[AgentLink, AgentWatch]:
        link = await AgentLink.open(vm.port(AGENT_PORT), self._on_event, self._answerers)
        agent_watch = AgentWatch(
            vm,
            link,
            AGENT_PORT,
            settings.mount_device_timeout_ms,
            lambda: self._on_greeted(vm, link),
        )
        self._follow(agent_watch.follow_port(is_booting=is_booting))
        return link, agent_watch


@contextlib.asynccontextmanager
async def _beside(
    early: Early | None, vm: VirtualMachine
) -> AsyncIterator[asyncio.Future[Message] | None]:
    """Have `early` done meanwhile, and to its end."""
    task = None if early is None else asyncio.ensure_future(early(vm))
    try:
        yield task
    finally:
        if task is not None:
            await asyncio.wait({task})
            if not task.cancelled() and task.exception() is not None:
                log.info("to be done later: %s", task.exception())


def _tell(link: AgentLink, done: asyncio.Future[Message] | None) -> None:
    """Tell the agent what has been done early, if it has by now: it will be asked for anyway."""
    if done is not None and done.done() and not done.cancelled() and done.exception() is None:
        link.send_event(done.result())
