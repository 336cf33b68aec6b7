"""The utility virtual machine as the service sees it: started when first needed, one at a time.

The only place that knows both the QEMU core and the agent link.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Any

from service.agentwatch import AgentWatch, BootFailure
from service.apart import run_apart
from service.console import shown_console, writable_console
from service.diskfailures import notice, resumed, stalled
from service.drives import SPARE_PORTS
from service.errors import LinkLost, ServiceError, of_vm
from service.furnishing import add_modules, add_swap
from service.hostnetwork import connect_network
from service.link import AgentLink, Answerers
from service.machinespec import machine_spec, with_kernel
from service.settings import Settings, SettingsFile
from service.snapshots import WAKE_TIMEOUT_S, Snapshots
from vm.cache import JsonCache
from vm.errors import VmError
from vm.exit_report import ExitReport
from vm.find import find_qemu
from vm.image.errors import ImageError
from vm.image.prepare import find_prepared, prepare
from vm.image.update import boot_failed, confirm_boot
from vm.machine import VirtualMachine
from vm.probe import choose_accelerator
from vm.probe_result import ProbeReport
from vm.shutdown import Deadlines
from vm.spec import BootImage, MachineSpec, Qemu
from wire import failures
from wire.agent import Log, PowerOff
from wire.codec import Message
from wire.common import CONSOLE_LINE, Done
from wire.places import Places

log = logging.getLogger(__name__)

AGENT_PORT = "org.isthmus.agent"
_POWER_OFF_TIMEOUT_S = 30.0
_SWAP_DELAY_S = 3.0
_RETURN_TIMEOUT_S = 30.0
"""How long an agent that has died may take to be back: init restarts it at once."""

_FORCED = Deadlines(quit_s=5.0, terminate_s=3.0)
"""For a user who does not want to wait. No rung loses what was written for good."""

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


class Machine:
    """The utility VM of one user, as `settings` want it when it starts.

    `on_event` is given the agent's events, `answerers` answer its requests, `on_greeted` is
    told of each agent that has answered, `on_died` when the machine ends, asked for or not.
    """

    def __init__(
        self,
        places: Places,
        settings: SettingsFile,
        on_event: Callable[[Message], None],
        answerers: Answerers,
        on_greeted: Callable[[VirtualMachine, AgentLink], None],
        on_died: Callable[[], None],
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
        self._snapshots = Snapshots(places, self._host_cache)
        self.probe: ProbeReport | None = None
        self.image: BootImage | None = None
        self.tell_all: Callable[[str], bool] = lambda text: False
        """Says something to all clients at once; whether there was one."""

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

    async def ensure_running(self, report: Report) -> AgentLink:
        """The link to a running machine, which is booted if there is none. Raises ServiceError.

        The boot belongs to all who wait for it: that one of them gives up does not end it.
        """
        await self._settle()
        await self.check_not_stalled()
        if self._state is MachineState.RUNNING and self._link is not None:
            if self._agent_watch is not None:
                await self._agent_watch.keep_time()
            return self._link
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
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

    async def _start(self) -> AgentLink:
        async with self._lock:
            self._state = MachineState.STARTING
            try:
                link = await self._start_locked(self._report)
            except BaseException:
                self._state = MachineState.STOPPED
                raise
            self._state = MachineState.RUNNING
            return link

    async def _start_locked(self, report: Report) -> AgentLink:
        try:
            qemu = await self.find_qemu()
            image = await self.prepare_image(report)
            try:
                return await self._boot(qemu, image, report)
            except BootFailure as error:
                if not error.is_images_fault:
                    raise
                if self.settings.current().has_own_kernel:
                    raise _own_kernel_failed(error) from error
                if not await asyncio.to_thread(boot_failed, image):
                    raise
                log.error("%s did not boot, going back to the one before: %s", image, error)
                report(f"The new kernel {image.release} does not boot; going back", 0, 0, "")
                return await self._boot(qemu, await self.prepare_image(report), report)
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

        return await run_apart(prepare, tell)

    async def _boot(self, qemu: Qemu, image: BootImage, report: Report) -> AgentLink:
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
        started = await self._wake(settings, spec)
        if started is None:
            started = await self._boot_slowly(settings, spec)
            if settings.kernel is None:
                await asyncio.to_thread(confirm_boot, image)
            self._snapshots.make_later(settings, spec)
        vm, link, agent_watch = started
        self._follow_disks(vm)
        try:
            await add_modules(vm, link, settings, self.warn)
        except BaseException:
            await vm.shutdown()
            raise
        self._vm, self._link, self._agent_watch, self.image = vm, link, agent_watch, image
        self._follow(self._watch_end(vm, link))
        self._follow(agent_watch.follow_time())
        self._follow(self._add_swap_later(vm, link, settings))
        self._on_greeted(vm, link)
        return link

    async def _add_swap_later(
        self, vm: VirtualMachine, link: AgentLink, settings: Settings
    ) -> None:
        """Add swap space once the first command has had the machine for itself."""
        await asyncio.sleep(_SWAP_DELAY_S)
        if self._vm is vm:
            await add_swap(vm, link, settings, Path(self._places.home), self.warn)

    async def _wake(
        self, settings: Settings, spec: MachineSpec
    ) -> tuple[VirtualMachine, AgentLink, AgentWatch] | None:
        """Go on from a snapshot; None if there is none, or it does not work."""
        entry = await self._snapshots.find(settings, spec)
        if entry is None:
            return None
        try:
            sleeper = await self._snapshots.lay_out(entry, spec, Path(self._places.pid_file))
            try:
                link, agent_watch = await self._connect(sleeper.vm, settings)
                await sleeper.wake()
                await agent_watch.greet(WAKE_TIMEOUT_S, is_awakened=True)
            except BaseException:
                await sleeper.vm.shutdown(deadlines=_FORCED)
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
        return sleeper.vm, link, agent_watch

    async def _boot_slowly(
        self, settings: Settings, spec: MachineSpec
    ) -> tuple[VirtualMachine, AgentLink, AgentWatch]:
        """Boot the kernel. Raises VmError, ServiceError."""
        vm = await VirtualMachine.start(spec, pid_file=Path(self._places.pid_file))
        show = self._show_console if settings.debug_console else None
        try:
            async with shown_console(spec.serial_log, show):
                link, agent_watch = await self._connect(vm, settings)
                await agent_watch.greet(settings.kernel_boot_timeout_ms / 1000)
        except BaseException:
            await vm.shutdown()
            raise
        return vm, link, agent_watch

    async def _connect(
        self, vm: VirtualMachine, settings: Settings
    ) -> tuple[AgentLink, AgentWatch]:
        link = await AgentLink.open(vm.port(AGENT_PORT), self._on_event, self._answerers)
        agent_watch = AgentWatch(
            vm,
            link,
            AGENT_PORT,
            settings.mount_device_timeout_ms,
            lambda: self._on_greeted(vm, link),
        )
        self._follow(agent_watch.follow_port())
        return link, agent_watch

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

    async def close(self) -> None:
        """Stop the machine, and whatever else is under way, for good."""
        await self._snapshots.close()
        await self.shutdown(force=False)

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
                await vm.shutdown(deadlines=_FORCED)
            else:
                await vm.shutdown(ask_guest)
            link.close()


def _own_kernel_failed(error: BootFailure) -> ServiceError:
    """The failure of a kernel, or of arguments, that the user has chosen: not our image's fault."""
    hint = "Are kernel and kernelCommandLine in .wslconfig right? " + error.hint
    return ServiceError(error.code, error.message, hint=hint)
