"""The utility virtual machine as the service sees it: started when first needed, one at a time.

The only place that knows both the QEMU core and the agent link.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from service.agentwatch import AgentWatch, BootFailure
from service.apart import run_apart
from service.console import writable_console
from service.diskfailures import notice, resumed, stalled
from service.drives import SPARE_PORTS
from service.errors import LinkLost, ServiceError, of_vm
from service.furnishing import SWAP_DISK, add_modules, add_swap, keep_swap
from service.hostnetwork import connect_network
from service.link import AgentLink, Answerers
from service.machinespec import machine_spec, with_kernel
from service.settings import Settings, SettingsFile
from service.snapshots import Snapshots
from service.starting import AGENT_PORT, FORCED, Early, Started, Starter
from service.suspension import Suspension
from vm.ahead import Begun
from vm.cache import JsonCache
from vm.errors import VmError
from vm.exit_report import ExitReport
from vm.find import find_qemu
from vm.image.errors import ImageError
from vm.image.prepared import find_prepared
from vm.machine import VirtualMachine
from vm.memory import GuestMemory
from vm.probe import choose_accelerator
from vm.probe_result import ProbeReport
from vm.spec import BootImage, MachineSpec, Qemu
from wire import failures
from wire.agent import Log, PowerOff, Reclaim
from wire.codec import Message
from wire.common import CONSOLE_LINE, Done
from wire.places import Places

log = logging.getLogger(__name__)

_POWER_OFF_TIMEOUT_S = 30.0
_SWAP_DELAY_S = 3.0
_UNWANTED_S = 5.0
_FLUSH_TIMEOUT_S = 120.0
_RETURN_TIMEOUT_S = 30.0
"""How long an agent that has died may take to be back: init restarts it at once."""

Report = Callable[[str, int, int, str], None]
"""Progress: label, done, total, unit."""


class MachineState(StrEnum):
    """What the utility VM is doing."""

    STOPPED = "stopped"
    """No QEMU runs."""
    STARTING = "starting"
    """QEMU is being prepared or its guest is booting."""
    RUNNING = "running"
    """The agent answers."""
    STOPPING = "stopping"
    """It is being shut down."""


class Companions(Protocol):
    """What serves the machine from the host (`service.drives.Drives`)."""

    async def rest(self) -> tuple[str, ...]:
        """Stand still; what has to be known in order to go on at another start."""

    def go_on(self) -> None:
        """Go on, for the machine does."""


async def _ignore(started: Started) -> None:
    """Of no interest to anybody."""


class Machine:
    """The utility VM of one user, as `settings` want it when it starts.

    `on_event` is given the agent's events, `answerers` answer its requests, `on_greeted` is
    told of each agent that has answered, `on_died` when the machine ends, asked for or not.
    `begun`: QEMU, started ahead.
    """

    def __init__(
        self,
        places: Places,
        settings: SettingsFile,
        on_event: Callable[[Message], None],
        answerers: Answerers,
        on_greeted: Callable[[VirtualMachine, AgentLink], None],
        on_died: Callable[[], None],
        begun: Begun | None = None,
    ) -> None:
        self._places = places
        self.settings = settings
        self._on_agent_event = on_event
        self._answerers = answerers
        self._on_greeted = on_greeted
        self._on_died = on_died
        self._lock = asyncio.Lock()
        self._vm: VirtualMachine | None = None
        self._link: AgentLink | None = None
        self._agent_watch: AgentWatch | None = None
        self._watchers: set[asyncio.Task[None]] = set()
        self._state = MachineState.STOPPED
        self._notices: tuple[str, ...] = ()
        self._starting: asyncio.Task[AgentLink] | None = None
        self._reports: list[Report] = []
        # What was found out about this host: which QEMU, which accelerator works.
        self._host_cache = JsonCache(Path(places.home) / "host.json")
        self._snapshots = Snapshots(places, self._host_cache, begun)
        self._suspension = Suspension(Path(places.suspended))
        self._memory: GuestMemory | None = None
        self._is_suspending = False
        self._starter = Starter(
            places,
            self._snapshots,
            self._suspension,
            self._on_event,
            answerers,
            on_greeted,
            self._show_console,
            self.warn,
            self._follow,
        )
        self.probe: ProbeReport | None = None
        self.image: BootImage | None = None
        self.tell_all: Callable[[str], bool] = lambda text: False
        """Says something to all clients at once; whether there was one."""
        self.on_resumed: Callable[[Started], Awaitable[None]] = _ignore
        """Told of a machine that goes on with all that ran in it, before anybody uses it."""
        self.companions: Companions | None = None
        """What beside the machine has to stand still while it is suspended."""

    @property
    def state(self) -> MachineState:
        """What the machine is doing now."""
        return self._state

    @property
    def vm(self) -> VirtualMachine:
        """The running machine. Raises LinkLost if there is none."""
        if self._vm is None:
            raise LinkLost("the virtual machine has ended")
        return self._vm

    @property
    def link(self) -> AgentLink | None:
        """The link to the agent, while the machine runs."""
        return self._link

    @property
    def spec(self) -> MachineSpec | None:
        """What runs, if anything does."""
        return None if self._vm is None else self._vm.spec

    async def ensure_running(self, report: Report, early: Early | None = None) -> AgentLink:
        """The link to a running machine, which is booted if there is none. Raises ServiceError.

        The boot belongs to all who wait for it: that one of them gives up does not end it.
        `early`: of whoever comes first, may be done beside the start; else it is not done.
        """
        await self._settle()
        await self.check_not_stalled()
        if self._state is MachineState.RUNNING and self._link is not None:
            if self._agent_watch is not None:
                await self._agent_watch.keep_time()
            return self._link
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(early))
            self._starting.add_done_callback(self._on_started)
        starting = self._starting
        self._reports.append(report)
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            if not starting.cancelled():
                raise
            raise ServiceError(
                failures.BUSY,
                "the virtual machine is being shut down",
                hint="Run the command again.",
            ) from None
        finally:
            self._reports.remove(report)

    @property
    def is_stalled(self) -> bool:
        """Whether the machine is paused because the host has no space for what Linux writes."""
        return self._vm is not None and self._vm.watch.stalled is not None

    async def check_not_stalled(self) -> None:
        """Let a machine that waits for space on the host go on if it can, else ServiceError."""
        vm = self._vm
        if vm is None or vm.watch.stalled is None:
            return
        failure = vm.watch.stalled
        if not await vm.watch.resume():
            raise stalled(failure)

    def _follow_disks(self, vm: VirtualMachine) -> None:
        """Tell users of disks that fail, and of those for which the machine waits."""

        def tell(text: str) -> None:
            if not self.tell_all(text):
                self.warn(text)

        vm.watch.on_disk_failure = lambda failure: tell(notice(failure))
        vm.watch.on_resumed = lambda failure: tell(resumed(failure))

    async def _settle(self) -> None:
        """Wait until a machine or an agent whose sudden end shows is known to be over, or back.

        Without this a command that comes within moments of it would be sent to the dead.
        """
        vm, link = self._vm, self._link
        if vm is None or link is None:
            return
        is_dying = vm.is_dying
        if link.is_synchronised and not is_dying:
            return
        ended = asyncio.create_task(vm.wait())
        back = asyncio.create_task(link.wait_synchronised())
        # A dying machine's agent still seems to be there, and will not be back.
        either: set[asyncio.Task[Any]] = {ended} if is_dying else {ended, back}
        try:
            await asyncio.wait(
                either, timeout=_RETURN_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in (ended, back):
                task.cancel()
        if ended.done() and not ended.cancelled():
            self._note_end(vm, link, ended.result())

    def _on_started(self, starting: asyncio.Task[AgentLink]) -> None:
        self._starting = None
        if not starting.cancelled() and starting.exception() is not None:
            log.warning("the virtual machine did not start: %s", starting.exception())

    def _report(self, label: str, done: int, total: int, unit: str) -> None:
        """Tell all who wait for the machine."""
        for report in self._reports:
            report(label, done, total, unit)

    def warn(self, text: str) -> None:
        """Have the next command say something."""
        log.warning("%s", text)
        self._notices += (text,)

    def _show_console(self, line: str) -> None:
        self._report(line, 0, 0, CONSOLE_LINE)

    def take_notices(self) -> tuple[str, ...]:
        """What has happened to the machine that nobody has been told yet, for the next command."""
        notices, self._notices = self._notices, ()
        return notices

    async def _start(self, early: Early | None) -> AgentLink:
        async with self._lock:
            if self._state is MachineState.RUNNING and self._link is not None:
                return self._link  # it was to be suspended, and goes on
            self._state = MachineState.STARTING
            try:
                link = await self._start_locked(self._report, early)
            except BaseException:
                self._state = MachineState.STOPPED
                raise
            finally:
                await self._snapshots.give_up_begun()  # whatever has become of this start
            self._state = MachineState.RUNNING
            return link

    async def _start_locked(self, report: Report, early: Early | None) -> AgentLink:
        try:
            qemu = await self.find_qemu()
            image = await self.prepare_image(report)
            try:
                return await self._boot(qemu, image, report, early)
            except BootFailure as error:
                if not error.is_images_fault:
                    raise
                if self.settings.current().has_own_kernel:
                    raise _own_kernel_failed(error) from error
                from vm.image.update import boot_failed

                if not await asyncio.to_thread(boot_failed, image):
                    raise
                log.error("%s did not boot, going back to the one before: %s", image, error)
                report(f"The new kernel {image.release} does not boot; going back", 0, 0, "")
                return await self._boot(qemu, await self.prepare_image(report), report, early)
        except VmError as error:
            code = failures.IMAGE_FAILED if isinstance(error, ImageError) else failures.VM_FAILED
            raise of_vm(error, code) from error

    async def find_qemu(self) -> Qemu:
        """This host's QEMU. Raises VmError."""
        return await find_qemu(cache=self._host_cache)

    async def prepare_image(self, report: Report) -> BootImage:
        """The kernel and system image to boot; downloading and building may take a while."""
        ready = await asyncio.to_thread(find_prepared)
        if ready is not None:
            return ready

        def tell(label: str, done: int, total: int) -> None:
            report(label, done, total, "bytes")

        from vm.image.prepare import prepare

        return await run_apart(prepare, tell)

    async def _boot(
        self, qemu: Qemu, image: BootImage, report: Report, early: Early | None
    ) -> AgentLink:
        settings = self.settings.current()
        if settings.kernel is not None:
            image = with_kernel(image, settings.kernel)
        report("Choosing an accelerator", 0, 0, "")
        self.probe = await choose_accelerator(qemu, self._host_cache)
        assert self.probe.chosen is not None  # else NoAccelerator was raised
        report("Starting the virtual machine", 0, 0, "")
        spec = machine_spec(
            settings,
            qemu,
            image,
            self.probe.chosen,
            network=await connect_network(settings, self._places.home),
            serial_log=Path(self._places.logs) / "serial.log",
            ports=(AGENT_PORT,),
            console_copy=writable_console(settings.console_file, self.warn),
            spare_ports=SPARE_PORTS,
        )
        started = await self._starter.start(settings, spec, early)
        if started.is_booted:
            if settings.kernel is None:
                from vm.image.update import confirm_boot

                await asyncio.to_thread(confirm_boot, image)
            self._snapshots.make_later(settings, spec)
        await self._take_over(started, settings)
        self.image = image
        return started.link

    async def _take_over(self, started: Started, settings: Settings) -> None:
        """Make the machine that has started ours, and give it what it lacks."""
        vm, link = started.vm, started.link
        self._follow_disks(vm)
        try:
            if started.resumed is None:
                await add_modules(vm, link, settings, self.warn)
        except BaseException:
            await vm.shutdown()
            if started.memory is not None:
                started.memory.close()
            raise
        self._vm, self._link, self._agent_watch = vm, link, started.agent_watch
        self._memory = started.memory
        self._follow(self._watch_end(vm, link))
        self._follow(started.agent_watch.follow_time())
        self._follow(self._add_swap_later(vm, link, settings))
        if started.resumed is not None:
            await self.on_resumed(started)
        self._on_greeted(vm, link)

    async def _add_swap_later(
        self, vm: VirtualMachine, link: AgentLink, settings: Settings
    ) -> None:
        """Add swap space once the first command has had the machine for itself."""
        home = Path(self._places.home)
        if any(disk.serial == SWAP_DISK for disk in vm.disks):  # it was suspended with it
            await keep_swap(vm, settings, home, self._keeps_swap)
            return
        await asyncio.sleep(_SWAP_DELAY_S)
        if self._vm is vm:
            is_kept = self._keeps_swap if self.can_suspend else None
            await add_swap(vm, link, settings, home, self.warn, is_kept)

    def _follow(self, work: Coroutine[None, None, None]) -> None:
        """Keep a task alive, and its failure out of nowhere."""
        task = asyncio.create_task(work)
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    async def _watch_end(self, vm: VirtualMachine, link: AgentLink) -> None:
        self._note_end(vm, link, await vm.wait())

    def _note_end(self, vm: VirtualMachine, link: AgentLink, report: ExitReport) -> None:
        """The machine has ended; harmless if that is known."""
        if self._vm is not vm:
            return
        self._vm = self._link = self._agent_watch = None
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        was_asked = self._state is MachineState.STOPPING
        self._state = MachineState.STOPPED
        if not was_asked:
            log.error("%s", report.summary)
            self._notices = (f"the virtual machine had ended unexpectedly: {report.cause}",)
        link.lose(LinkLost(f"the virtual machine has ended: {report.summary}", hint=report.hint))
        self._on_died()

    def _on_event(self, event: Message) -> None:
        if isinstance(event, Log):
            log.info("agent: %s", event.text)
        else:
            self._on_agent_event(event)

    async def give_up_begun_later(self) -> None:
        """End the QEMU that was started ahead if no command comes that wants a machine."""
        await asyncio.sleep(_UNWANTED_S)
        if self._starting is None:
            await self._snapshots.give_up_begun()

    async def close(self) -> None:
        """Stop the machine, and whatever else is under way, for good."""
        await self._snapshots.close()
        await self.shutdown(force=False)

    # -- suspending ------------------------------------------------------------------------------

    @property
    def can_suspend(self) -> bool:
        """Whether the machine that runs is to be suspended when it is idle, and can be.

        Not with a disk that has lost its name, as swap space has where that was not to be expected.
        """
        return (
            self.settings.current().suspend_on_idle
            and self._vm is not None
            and self._memory is not None
            and all(disk.path.exists() for disk in self._vm.disks)
        )

    @property
    def is_suspended(self) -> bool:
        """Whether the next start goes on with a machine that was suspended."""
        return self._vm is None and self._suspension.is_there

    def _keeps_swap(self) -> bool:
        """Whether the swap space of a machine that has just ended is still needed."""
        return self._is_suspending or self.is_suspended

    async def suspend(self, is_used: Callable[[], bool]) -> None:
        """Save the machine with all that runs in it, and end it; unless it `is_used` by then.

        Raises OSError, VmError, ServiceError; then it goes on, or has ended in order.
        """
        async with self._lock:
            vm, link, watch, memory = self._vm, self._link, self._agent_watch, self._memory
            if vm is None or link is None or watch is None or memory is None:
                return
            await link.request(Reclaim(flush=True), Done, timeout_s=_FLUSH_TIMEOUT_S)
            await self._suspension.check_space(memory)
            if is_used():
                return
            self._state = MachineState.STOPPING
            self._is_suspending = True
            try:
                notes = await self.companions.rest() if self.companions is not None else ()
                await watch.rest()
                if not await self._suspension.save(vm, memory, notes):
                    self.warn("the virtual machine could not be suspended, and has ended")
            except BaseException:
                await self._go_on(vm, link, watch)
                raise
            finally:
                self._is_suspending = False
            link.close()

    async def _go_on(self, vm: VirtualMachine, link: AgentLink, watch: AgentWatch) -> None:
        """Have a machine that was not saved run as if nothing had been."""
        if vm.is_dying:
            self.warn("the virtual machine ended unexpectedly while it was being suspended")
            return
        try:
            if vm.qmp.pause_requested:
                await vm.qmp.cont()
            if self.companions is not None:
                self.companions.go_on()
            await watch.go_on()
            self._on_greeted(vm, link)
            self._state = MachineState.RUNNING
        except (VmError, ServiceError):
            self.warn("the virtual machine could neither be suspended nor go on, and has ended")
            await vm.shutdown(deadlines=FORCED)
            raise

    async def forget_suspended(self) -> None:
        """Drop the machine that is suspended, if one is. Raises ServiceError."""
        async with self._lock:
            try:
                await asyncio.to_thread(self._suspension.drop)
            except OSError as error:
                raise ServiceError(
                    failures.VM_FAILED,
                    f"the suspended virtual machine cannot be deleted: {error}",
                    hint=f"Delete {self._places.suspended}.",
                ) from None

    async def shutdown(self, *, force: bool) -> None:
        """Stop the machine and everything in it; nothing to do if it does not run."""
        if self._starting is not None:
            self._starting.cancel()
        async with self._lock:
            vm, link = self._vm, self._link
            if vm is None or link is None:
                return
            self._state = MachineState.STOPPING

            async def ask_guest() -> None:
                await link.request(PowerOff(), Done, timeout_s=_POWER_OFF_TIMEOUT_S)

            if force or vm.watch.stalled is not None:
                await vm.shutdown(deadlines=FORCED)
            else:
                await vm.shutdown(ask_guest)
            link.close()


def _own_kernel_failed(error: BootFailure) -> ServiceError:
    """The failure of a kernel, or of arguments, that the user has chosen: not our image's fault."""
    hint = "Are kernel and kernelCommandLine in .wslconfig right? " + error.hint
    return ServiceError(error.code, error.message, hint=hint)
