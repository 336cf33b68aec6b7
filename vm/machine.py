"""One running virtual machine: QEMU's process, its sockets, its disks, its end.

::

    machine = await VirtualMachine.start(spec)
    agent = machine.port("org.isthmus.agent")         # a connected, non-blocking socket
    await machine.attach_disk(path, serial)
    report = await machine.shutdown(ask_guest)

One task watches QEMU's process. Whenever and however that ends, the one teardown runs, and
everybody who waits on the machine is told why: commands and disk operations raise MachineDied,
`wait` returns the report, the ports' sockets are at their end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

from vm.ahead import Begun, channel_names
from vm.argv import QMP_CHANNEL, qemu_argv, spare_chardev, spare_port_options
from vm.channels import Channel, open_channel
from vm.disk import DiskFormat
from vm.disks_in_use import claim, release
from vm.errors import (
    ChannelFailure,
    DiskError,
    LaunchFailure,
    MachineBusy,
    MachineDied,
    PortsExhausted,
    QmpOutcomeUnknown,
    UnknownPort,
    VmError,
)
from vm.events import DiskFailure, EventWatch
from vm.exit_report import ExitReport, ShutdownRung
from vm.files import printable, read_tail, start_log
from vm.hotplug import AttachedDisk, free_lun
from vm.launch_hints import launch_hint
from vm.openable import with_openable_files
from vm.pidfile import identify, remove_pid_file, write_pid_file
from vm.plug import ASYNCHRONOUS_IO, plug_in, unplug
from vm.process import Child, is_dying, spawn
from vm.qmp import DEFAULT_DEADLINE_S, Qmp
from vm.shutdown import Deadlines, climb_down
from vm.snapshot import MemoryFile
from vm.spec import BootImage, MachineSpec

_log = logging.getLogger(__name__)

START_DEADLINE_S = 30.0
"""For QEMU to answer its first command: an overloaded host, a virus scanner reading the file."""

SERIAL_TAIL_BYTES = 8 * 1024
_LAST_EVENTS_S = 2.0
_EXPLANATION_S = 5.0
_KILLED_S = 10.0


class MachineState(Enum):
    """Where a machine is in its life; it only ever moves forward."""

    STARTING = "starting"
    """QEMU has been started and has not answered yet."""
    RUNNING = "running"
    """QEMU answers; what the guest does is the agent's knowledge, not ours."""
    STOPPING = "being shut down"
    """`shutdown` was called and QEMU has not ended yet."""
    ENDED = "over"
    """QEMU's process is gone, and `wait` returns at once."""


class VirtualMachine:
    """A machine that was started. Made by `start`; `async with` shuts it down at the end."""

    def __init__(self, spec: MachineSpec, child: Child, pid_file: Path | None) -> None:
        self.spec = spec
        self._child = child
        self._pid_file = pid_file
        self._state = MachineState.STARTING
        self._qmp: Qmp | None = None
        self._ports: dict[str, socket.socket] = {}
        self._spare_names: list[str] = []
        self._disks: dict[str, AttachedDisk] = {}
        self._doubtful_luns: set[int] = set()
        self._disk_lock = asyncio.Lock()
        self._disk_io = tuple(ASYNCHRONOUS_IO)  # shrinks to what the host allows
        self._watch: EventWatch | None = None
        self._rung: ShutdownRung | None = None
        self._ladder: asyncio.Task[None] | None = None
        self._events: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[ExitReport] = asyncio.get_running_loop().create_future()
        self._watcher = asyncio.create_task(self._watch_process(), name=f"QEMU {child.pid}")

    @classmethod
    async def start(
        cls,
        spec: MachineSpec,
        *,
        pid_file: Path | None = None,
        memory: MemoryFile | None = None,
        is_incoming: bool = False,
        is_background: bool = False,
        deadline_s: float = START_DEADLINE_S,
    ) -> Self:
        """Start QEMU for `spec`; returns once it answers QMP. The guest runs from then on.

        pid_file: where QEMU's identity is kept while it runs, for `vm.pidfile.end_orphan`.
        memory: the guest's, of the spec's size; the caller still closes it. is_incoming: the guest
        does not run, but waits for a state (`vm.migration.load_state`). is_background: it gets
        what is left of the host's processors.
        Raises LaunchFailure, with argv and QEMU's own words, if it ends before it answers or is
        silent for `deadline_s` seconds; then no process is left.
        """
        channels: dict[str, Channel] = {}
        argv: list[str] = []
        try:
            for name in channel_names(spec):
                channels[name] = open_channel()
            start_log(spec.serial_log)
            argv = qemu_argv(
                with_openable_files(spec),
                {name: channel.backend for name, channel in channels.items()},
                memory_path=None if memory is None else memory.path,
                is_incoming=is_incoming,
            )
            inherited = [fd for channel in channels.values() for fd in channel.inherited_fds]
            if memory is not None:
                inherited.append(memory.descriptor)
            child = await spawn(argv, pass_fds=inherited, is_background=is_background)
            machine = cls(spec, child, pid_file)
            try:
                await machine._begin(channels, deadline_s)
            except BaseException:
                await machine._abandon()
                raise
            return machine
        except OSError as error:
            raise LaunchFailure(argv, None, str(error), hint=launch_hint(str(error))) from error
        finally:
            for channel in channels.values():
                channel.close()

    @classmethod
    async def take(
        cls,
        spec: MachineSpec,
        begun: Begun,
        *,
        pid_file: Path | None = None,
        deadline_s: float = START_DEADLINE_S,
    ) -> Self:
        """As `start`, with a QEMU that was started ahead and fits (`vm.ahead`). Raises OSError."""
        child = begun.adopt()
        try:
            machine = cls(spec, child, pid_file)
            try:
                await machine._begin(begun.channels, deadline_s)
            except BaseException:
                await machine._abandon()
                raise
            return machine
        finally:
            for channel in begun.channels.values():
                channel.close()

    @property
    def state(self) -> MachineState:
        """Where the machine is in its life."""
        return self._state

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._child.pid

    @property
    def qmp(self) -> Qmp:
        """QEMU's monitor. Its commands raise MachineDied once the machine is over."""
        if self._qmp is None:
            raise MachineBusy("a QMP command", self._state.value)
        return self._qmp

    @property
    def is_dying(self) -> bool:
        """Whether QEMU has been killed, although its sockets still seem to be open."""
        return self._ended.done() or is_dying(self.pid)

    @property
    def disks(self) -> tuple[AttachedDisk, ...]:
        """The disks plugged in now."""
        return tuple(self._disks.values())

    @property
    def watch(self) -> EventWatch:
        """What QEMU says of its own accord."""
        if self._watch is None:
            raise MachineBusy("following events", self._state.value)
        return self._watch

    @property
    def plugged_ports(self) -> tuple[str, ...]:
        """Names of the spare ports that were plugged in, in that order."""
        return tuple(self._spare_names)

    def take_disk_failure(self, serial: str) -> DiskFailure | None:
        """The failure that the guest was told of, if this disk had one; it is told once."""
        return self.watch.reported.pop(serial, None)

    def port(self, name: str) -> socket.socket:
        """The host end of virtio-serial port `name`: connected, non-blocking, now the caller's.

        It ends when QEMU does. Raises UnknownPort if there is none, or it was taken before.
        """
        try:
            return self._ports.pop(name)
        except KeyError:
            raise UnknownPort(name, self.spec.ports) from None

    async def plug_port(self, name: str) -> socket.socket:
        """Plug one of the spec's spare ports in, as `name`: its host end, as `port` gives it.

        The guest can use it once it has noticed, some milliseconds later. It stays: what a guest
        has ever seen of a port is never taken away, so whoever is done with one uses it again.
        Raises PortsExhausted, QmpRefused (there is one of that name), QmpOutcomeUnknown,
        MachineDied.
        """
        number = len(self._spare_names)
        if number >= self.spec.spare_ports:
            raise PortsExhausted(self.spec.spare_ports)
        self._spare_names.append(name)  # even if it fails: it may have happened
        await self.qmp.device_add(spare_port_options(self.spec, number, name))
        return self._ports.pop(spare_chardev(number))

    async def attach_disk(
        self,
        path: Path,
        serial: str,
        *,
        format: DiskFormat = DiskFormat.QCOW2,
        read_only: bool = False,
        keeps_space: bool = False,
        waits_for_space: bool = True,
        deadline_s: float = DEFAULT_DEADLINE_S,
    ) -> AttachedDisk:
        """Plug the image at `path` in; the guest finds it by `serial` (see `vm.hotplug`).

        format, read_only, keeps_space, waits_for_space: as in AttachedDisk. deadline_s: for each
        of QEMU's two answers; without one, the image is not used again.
        Raises ValueError for a serial that is unusable or taken, DiskInUse, DiskError,
        MachineBusy, MachineDied. When it raises, also CancelledError, the disk is not plugged in.
        """
        wanted = AttachedDisk(
            serial, path.absolute(), 0, format, read_only, keeps_space, waits_for_space
        )
        attaching = asyncio.create_task(self._attach(wanted, deadline_s))
        try:
            return await asyncio.shield(attaching)
        except asyncio.CancelledError:
            # Half-way is no place to stop: QEMU would have a disk that nobody knows of.
            await asyncio.wait({attaching})
            if attaching.exception() is None:
                await self._detach(serial)
            raise

    async def restore_port(self, name: str) -> None:
        """Plug the next spare port in as `name`, as it was in such a machine; `port` gives it.

        Raises as `plug_port`.
        """
        self._ports[name] = await self.plug_port(name)

    async def restore_disk(self, disk: AttachedDisk) -> None:
        """Plug a disk in as it was in a machine whose state is about to be loaded.

        Raises as `attach_disk`.
        """
        await self._attach(disk, DEFAULT_DEADLINE_S)

    async def detach_disk(self, serial: str) -> None:
        """Take a disk out; returns once QEMU has flushed and closed its image.

        The guest must have unmounted it: nothing asks it here. A caller who is cancelled does
        not stop it. Raises KeyError if no such disk is plugged in, DiskError if QEMU does not
        let go, MachineBusy, MachineDied.
        """
        await asyncio.shield(asyncio.create_task(self._detach(serial)))

    async def wait(self) -> ExitReport:
        """Wait, without a deadline, until the machine is over; never raises MachineDied."""
        return await asyncio.shield(self._ended)

    async def shutdown(
        self,
        ask_guest: Callable[[], Awaitable[None]] | None = None,
        *,
        deadlines: Deadlines | None = None,
    ) -> ExitReport:
        """End the machine, as gently as it allows, and say how it ended.

        ask_guest: asks the agent to switch the guest off (sync, unmount, then *restart*: the
        machine has no reset, so that ends QEMU on every board). Then, each step against its
        deadline: QMP `stop`, which flushes every disk, and `quit`; SIGTERM, on which QEMU
        flushes too; kill. No step loses what the guest has fsync'ed.

        May be called again, or by several: all get the same end. A caller who is cancelled
        does not stop it. Raises TimeoutError only if the killed process does not end.
        """
        if self._state is not MachineState.ENDED:
            self._state = MachineState.STOPPING
            if self._ladder is None:
                self._ladder = asyncio.create_task(
                    self._climb_down(ask_guest, deadlines or Deadlines()), name="shutdown ladder"
                )
            await asyncio.shield(self._ladder)
        return await self.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.shutdown()

    # ---- starting -------------------------------------------------------------------------

    async def _begin(self, channels: Mapping[str, Channel], deadline_s: float) -> None:
        """Connect the channels and greet QEMU, or raise LaunchFailure if it ends meanwhile."""
        for channel in channels.values():
            channel.spawned()
        if self._pid_file is not None and (identity := identify(self.pid)) is not None:
            write_pid_file(self._pid_file, identity)
        connecting = asyncio.ensure_future(self._connect(channels, deadline_s))
        try:
            either: set[asyncio.Future[None] | asyncio.Future[ExitReport]]
            either = {connecting, self._ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=deadline_s)
            if not connecting.done() or self._ended.done():
                raise self._launch_failure()
            try:
                connecting.result()
            except (QmpOutcomeUnknown, ChannelFailure) as error:
                # QEMU hung up: it is about to end, and says why.
                await self._wait_at_most(_EXPLANATION_S)
                raise self._launch_failure() from error
        finally:
            connecting.cancel()
            await asyncio.wait({connecting})
        self._state = MachineState.RUNNING

    async def _connect(self, channels: Mapping[str, Channel], deadline_s: float) -> None:
        """Fill in the ports and the monitor; what there is of them when it fails is torn down."""

        async def connect(name: str) -> None:
            self._ports[name] = await channels[name].connected(self.pid, deadline_s)

        # All at once: on Windows each has its own listener, and QEMU connects in argv order.
        await asyncio.gather(*(connect(name) for name in channels))
        monitor = self._ports.pop(QMP_CHANNEL)
        self._qmp = await Qmp.connect(monitor, deadline_s=deadline_s, explain=self._explain)
        self._watch = EventWatch(
            self._qmp, self._find_disk, lambda: self._state is MachineState.RUNNING, self._boot_file
        )
        self._events = asyncio.create_task(self._watch.follow(), name="QMP events")

    @property
    def _boot_file(self) -> Path:
        boot = self.spec.boot
        return boot.system if isinstance(boot, BootImage) else boot.path

    def _launch_failure(self) -> LaunchFailure:
        """Why QEMU did not come up."""
        stderr = printable(self._child.stderr_tail)
        return LaunchFailure(
            self._child.argv,
            self._child.exit_code,
            stderr,
            read_tail(self.spec.serial_log, SERIAL_TAIL_BYTES),
            hint=launch_hint(stderr),
        )

    async def _abandon(self) -> None:
        """End a machine that never came up."""
        self._child.kill()
        await self._wait_at_most(_KILLED_S)

    # ---- running --------------------------------------------------------------------------

    def _require_running(self, operation: str) -> None:
        if self._ended.done():
            raise MachineDied(self._ended.result())
        if self._state is not MachineState.RUNNING:
            raise MachineBusy(operation, self._state.value)

    async def _attach(self, wanted: AttachedDisk, deadline_s: float) -> AttachedDisk:
        """Plug a disk in at its place, or if that is taken the first that is free."""
        serial, path = wanted.serial, wanted.path
        async with self._disk_lock:
            self._require_running("attaching a disk")
            if serial in self._disks:
                raise ValueError(f"a disk with serial {serial!r} is plugged in already")
            taken = {disk.lun for disk in self._disks.values()} | self._doubtful_luns
            disk = replace(wanted, lun=free_lun(taken)) if wanted.lun in taken else wanted
            claim("attach", path)
            try:
                way = await plug_in(self.qmp, disk, self._disk_io, deadline_s=deadline_s)
            except QmpOutcomeUnknown as error:
                # It may be there all the same, so neither the place nor the image is used again.
                self._doubtful_luns.add(disk.lun)
                raise DiskError("attach", path, error.message) from error
            except BaseException:
                release(path)
                raise
            self._disk_io = self._disk_io[self._disk_io.index(way) :]
            self._disks[serial] = disk
            return disk

    def _find_disk(self, node_name: str) -> AttachedDisk | None:
        return next((d for d in self._disks.values() if d.node_name == node_name), None)

    async def _detach(self, serial: str) -> None:
        async with self._disk_lock:
            self._require_running("detaching a disk")
            disk = self._disks[serial]
            await unplug(self.qmp, disk)
            del self._disks[serial]
            release(disk.path)

    async def _explain(self) -> VmError | None:
        """Why the QMP connection was lost: MachineDied, if it ended because QEMU did."""
        report = await self._wait_at_most(_EXPLANATION_S)
        return MachineDied(report) if report is not None else None

    async def _wait_at_most(self, deadline_s: float) -> ExitReport | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                return await self.wait()
        return None

    # ---- ending ---------------------------------------------------------------------------

    async def _climb_down(
        self, ask_guest: Callable[[], Awaitable[None]] | None, deadlines: Deadlines
    ) -> None:
        def on_rung(rung: ShutdownRung) -> None:
            self._rung = rung

        await climb_down(self._child, self._qmp, self._ended, ask_guest, deadlines, on_rung)

    async def _watch_process(self) -> None:
        """Wait for the process; then the one teardown."""
        exit_code = await self._child.wait()
        if self._events is not None:
            # QEMU's last events may still be on their way to us; its end follows them.
            await asyncio.wait({self._events}, timeout=_LAST_EVENTS_S)
            self._events.cancel()
        requested = self._state is MachineState.STOPPING
        report = ExitReport(
            exit_code=exit_code,
            reason=self._watch.end_reason if self._watch is not None else None,
            requested=requested,
            rung=self._rung if requested else None,
            stderr_tail=printable(self._child.stderr_tail),
            serial_tail=read_tail(self.spec.serial_log, SERIAL_TAIL_BYTES),
        )
        try:
            await self._tear_down()
        finally:
            self._state = MachineState.ENDED
            self._ended.set_result(report)
            _log.log(logging.INFO if requested else logging.ERROR, "%s", report.summary)

    async def _tear_down(self) -> None:
        """Give up everything that belonged to the machine; its process is over."""
        if self._qmp is not None:
            await self._qmp.close()
        for unclaimed in self._ports.values():
            unclaimed.close()
        self._ports.clear()
        for disk in self._disks.values():
            release(disk.path)
        if self._pid_file is not None:
            remove_pid_file(self._pid_file)
