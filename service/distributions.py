"""Distributions on the host: registered, disks attached, started and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from pathlib import Path

from service.diskfailures import disk_failed
from service.errors import ServiceError, of_vm
from service.finishing import to_the_end
from service.link import AgentLink
from service.machine import Machine, Report
from service.registry import Record, Registry
from service.timezone import host_timezone
from service.unfinished import Unfinished, delete_disk
from vm.disk import create_disk
from vm.errors import VmError
from vm.machine import VirtualMachine
from wire import failures
from wire.agent import (
    DistributionStarted,
    ExpectDisk,
    FirstRunDone,
    FormatDisk,
    InspectRoot,
    MountDisk,
    RootDescription,
    StartDistribution,
    StopDistribution,
    UnmountDisk,
)
from wire.client import Distribution, Distributions, Installed
from wire.common import Done
from wire.places import Places

log = logging.getLogger(__name__)

_STOP_TIMEOUT_S = 60.0
_STOP_GRACE_MS = 2000
_FORMAT_TIMEOUT_S = 300.0
_TAKE_OUT_S = 20.0
_RETRY_S = 0.2


class DistributionManager:
    """What is registered and what runs. Operations on one distribution take turns."""

    def __init__(
        self,
        places: Places,
        registry: Registry,
        machine: Machine,
        drives: Callable[[], tuple[str, ...]],
        unfinished: Unfinished,
    ) -> None:
        """`drives` are the letters of those that a distribution mounts by itself."""
        self._places = places
        self._machine = machine
        self._drives = drives
        self._running: set[str] = set()
        self._transitions: dict[str, str] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.registry = registry
        self.unfinished = unfinished
        self.on_running_changed: Callable[[], None] = lambda: None
        """Told whenever `running` has another content."""

    @property
    def running(self) -> frozenset[str]:
        """Identities of the distributions that run."""
        return frozenset(self._running)

    # -- state ---------------------------------------------------------------------------------

    def on_stopped(self, identity: str) -> None:
        """The agent says that a distribution has ended."""
        self._note(identity, runs=False)

    def _note(self, identity: str, *, runs: bool) -> None:
        """Remember whether a distribution runs."""
        if runs != (identity in self._running):
            (self._running.add if runs else self._running.discard)(identity)
            self.on_running_changed()

    def on_first_run_done(self, event: FirstRunDone) -> None:
        """The setup that a distribution brings with it has succeeded: it has its user now."""
        try:
            self.registry.change(event.identity, run_oobe=False, default_uid=event.default_uid)
        except (ServiceError, StopIteration) as error:
            # It has been unregistered meanwhile, or the setup will have to be run again.
            log.error("the end of %s's first run was not recorded: %s", event.identity, error)

    def on_resumed(self, running: Iterable[str]) -> None:
        """The machine goes on with distributions that ran when it was suspended."""
        for identity in running:
            self._note(identity, runs=True)

    def on_machine_ended(self) -> None:
        """No distribution runs without the machine."""
        for identity in self.running:
            self._note(identity, runs=False)

    def listing(self) -> Distributions:
        """All registered distributions, and those that are being installed."""
        default = self.registry.default
        rows = tuple(
            Distribution(
                name=record.name,
                identity=str(uuid.UUID(record.identity)),
                state=self.state_of(record.identity),
                is_default=default is not None and record.identity == default.identity,
                flavor=record.flavor,
                os_version=record.os_version,
                disk_bytes=allocated_bytes(Path(record.disk)),
            )
            for record in self.registry.all()
        )
        return Distributions(distributions=rows)

    def state_of(self, identity: str) -> str:
        """WSL's word for what a distribution is doing."""
        if identity in self._transitions:
            return self._transitions[identity]
        return "Running" if identity in self._running else "Stopped"

    @contextlib.asynccontextmanager
    async def exclusively(self, identity: str, state: str = "") -> AsyncIterator[None]:
        """Keep other operations off a distribution; meanwhile its state is shown as `state`."""
        async with self._locks.setdefault(identity, asyncio.Lock()):
            if state:
                self._transitions[identity] = state
            try:
                yield
            finally:
                self._transitions.pop(identity, None)

    # -- running -------------------------------------------------------------------------------

    async def ensure_started(
        self, record: Record, report: Report
    ) -> tuple[AgentLink, tuple[str, ...]]:
        """Boot the machine and start a distribution as needed; the link, and warnings."""
        link = await self._machine.ensure_running(report, partial(self._begin, record))
        if record.identity in self._running:
            return link, ()
        async with self.exclusively(record.identity):
            if record.identity in self._running:
                return link, ()
            return link, await to_the_end(self._start_locked(record, link, report))

    async def _start_locked(
        self, record: Record, link: AgentLink, report: Report
    ) -> tuple[str, ...]:
        """Start a distribution that does not run; returns warnings."""
        self.registry.find("{" + record.identity + "}")  # it may be gone by now
        report(f"Starting {record.name}", 0, 0, "")
        await self._attach(record)
        request = StartDistribution(
            identity=record.identity,
            name=record.name,
            disk=record.identity,
            hostname=host_name(),
            timezone=await asyncio.to_thread(host_timezone),
            default_uid=record.default_uid,
            drives=await asyncio.to_thread(self._drives),
        )
        timeout_s = self._machine.settings.current().distribution_start_timeout_ms / 1000
        started = await link.request(request, DistributionStarted, timeout_s)
        self._note(record.identity, runs=True)
        return started.warnings

    async def _begin(self, record: Record, vm: VirtualMachine) -> ExpectDisk:
        """What of a start needs no more than QEMU, and what the agent can go on with.

        That is the mount, for which the guest has another processor. Raises VmError.
        """
        await self._plug_in(record, vm)
        return ExpectDisk(disk=record.identity)

    async def _attach(self, record: Record) -> None:
        """Plug a distribution's disk in, unless it is."""
        vm = self._machine.vm
        if self._is_plugged(record.identity):
            return
        path = Path(record.disk)
        if not path.exists():
            raise ServiceError(
                failures.FILE_NOT_FOUND,
                f"the disk of {record.name} is missing: {path}",
                hint=f"Put it back, or `isthmus --unregister {record.name}` forgets it.",
            )
        try:
            await self._plug_in(record, vm)
        except VmError as error:
            raise of_vm(error) from error

    async def _plug_in(self, record: Record, vm: VirtualMachine) -> None:
        """Plug a distribution's disk into a machine. Raises VmError."""
        await vm.attach_disk(Path(record.disk), record.identity, keeps_space=record.keeps_space)

    def _is_plugged(self, identity: str) -> bool:
        return any(disk.serial == identity for disk in self._machine.vm.disks)

    async def _detach(self, identity: str) -> None:
        """Take an unmounted disk out of the machine."""
        if self._is_plugged(identity):
            try:
                await self._machine.vm.detach_disk(identity)
            except VmError as error:
                raise of_vm(error) from error

    async def stop(self, record: Record, *, grace_ms: int = _STOP_GRACE_MS) -> None:
        """Stop a distribution and take its disk out; nothing to do if it does not run."""
        async with self.exclusively(record.identity):
            await to_the_end(self._stop_locked(record.identity, grace_ms))

    async def stop_unused(self, identity: str, is_used: Callable[[], bool]) -> None:
        """Stop a distribution unless it `is_used` once its turn has come. Raises ServiceError."""
        async with self.exclusively(identity):
            if not is_used():
                await to_the_end(self._stop_locked(identity, _STOP_GRACE_MS))

    async def _stop_locked(self, identity: str, grace_ms: int) -> None:
        link = self._machine.link
        if link is None and self._machine.is_suspended:
            # It may run in there, on a disk that nobody else may write to until it is stopped.
            link = await self._machine.ensure_running(lambda *progress: None)
        if link is None:
            return
        await self._machine.check_not_stalled()
        # Whoever wants it from now on takes turns with us, and starts it again.
        self._note(identity, runs=False)
        request = StopDistribution(identity=identity, grace_ms=grace_ms)
        await link.request(request, Done, timeout_s=_STOP_TIMEOUT_S)
        await self._take_out(link, identity)

    # -- disks ---------------------------------------------------------------------------------

    def disk_path(self, identity: str, location: str) -> Path:
        """Where a new distribution's disk goes. Raises ServiceError if there is one already."""
        parent = self._machine.settings.current().install_path or Path(self._places.disks)
        directory = Path(location) if location else parent / identity
        path = directory / "ext4.qcow2"
        if path.exists():
            raise ServiceError(
                failures.DISTRO_EXISTS,
                f"{path} exists already",
                hint="Choose another directory for the distribution.",
            )
        return path

    def installed(self, record: Record) -> Installed:
        """The answer to whoever has asked for this distribution."""
        default = self.registry.default
        return Installed(
            name=record.name,
            identity=str(uuid.UUID(record.identity)),
            is_default=default is not None and default.identity == record.identity,
        )

    async def create_disk(self, path: Path, size_bytes: int, *, is_fixed: bool = False) -> None:
        """Create a distribution's empty disk image. Raises ServiceError.

        size_bytes: 0 is the size that .wslconfig says, 1 TiB if it does not. The image takes what
        is written; one that `is_fixed` takes all of it now.
        """
        size_bytes = size_bytes or self._machine.settings.current().default_disk_bytes
        try:
            qemu = self._machine.vm.spec.qemu
            await create_disk(qemu, path, size_bytes, preallocate=is_fixed)
        except VmError as error:
            raise of_vm(error, failures.IMPORT_FAILED) from error
        except ValueError as error:
            raise impossible_size(error) from None

    @contextlib.asynccontextmanager
    async def mounted_disk(
        self,
        link: AgentLink,
        identity: str,
        path: Path,
        *,
        is_new: bool = False,
        keeps_space: bool = False,
    ) -> AsyncIterator[None]:
        """A disk plugged in and mounted in the machine, and taken out again.

        One that `is_new` is formatted, and what fails for want of space on the host fails. Any
        other waits for space: it holds what its user wrote.
        """
        async with self.plugged_disk(
            link, identity, path, keeps_space=keeps_space, waits_for_space=not is_new
        ):
            if is_new:
                empty = FormatDisk(disk=identity)
                await to_the_end(link.request(empty, Done, _FORMAT_TIMEOUT_S))
            mount = MountDisk(disk=identity)
            await to_the_end(link.request(mount, Done, _FORMAT_TIMEOUT_S))
            yield

    @contextlib.asynccontextmanager
    async def plugged_disk(
        self,
        link: AgentLink,
        identity: str,
        path: Path,
        *,
        keeps_space: bool = False,
        waits_for_space: bool = True,
    ) -> AsyncIterator[None]:
        """A disk plugged into the machine, and taken out again."""
        vm = self._machine.vm
        if self._is_plugged(identity):  # something was in the way of taking it out
            await self._take_out(link, identity)
        try:
            await vm.attach_disk(
                path, identity, keeps_space=keeps_space, waits_for_space=waits_for_space
            )
        except VmError as error:
            raise of_vm(error) from error
        failure = None
        try:
            yield
        finally:
            # If the machine is gone there is nothing to take out, and the cause is on its way.
            with contextlib.suppress(ServiceError):
                await to_the_end(self._take_out(link, identity))
                # QEMU has told of all failures before it answered.
                failure = vm.take_disk_failure(identity)
            if failure is not None:
                raise disk_failed(failure)

    async def _take_out(self, link: AgentLink, identity: str) -> None:
        """Have a disk unmounted, then unplug it. Raises ServiceError, and then it stays.

        A program of an agent that has died may still be at work on it: mkfs, e2fsck, bsdtar. To
        pull the disk from under it, or from a mounted file system, would lose data.
        """
        deadline = time.monotonic() + _TAKE_OUT_S
        while True:
            try:
                await link.request(UnmountDisk(disk=identity), Done, _STOP_TIMEOUT_S)
                break
            except ServiceError as error:
                if self._machine.link is not link or time.monotonic() > deadline:
                    log.error("disk %s stays plugged in: %s", identity, error.message)
                    raise
            await asyncio.sleep(_RETRY_S)  # for the agent to be back, for programs to end
        await self._detach(identity)

    async def inspect(self, link: AgentLink, identity: str) -> RootDescription:
        """What a mounted disk's tree says of itself."""
        return await link.request(InspectRoot(disk=identity), RootDescription)

    async def unregister(self, record: Record) -> None:
        """Stop a distribution, forget it, delete its disk."""
        async with self.exclusively(record.identity, "Uninstalling"):
            await to_the_end(self._stop_locked(record.identity, 0))
            self.registry.remove(record.identity)
            delete_disk(Path(record.disk))


def impossible_size(error: ValueError) -> ServiceError:
    """What a client is told whose disk no image can hold."""
    hint = "--vhd-size and --resize take sizes such as 64GB, as does defaultVhdSize in .wslconfig."
    return ServiceError(failures.INVALID_SIZE, str(error), hint=hint)


def allocated_bytes(path: Path) -> int:
    """What a sparse file takes on the host's disk; 0 if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return 0
    blocks = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else int(blocks) * 512


def host_name() -> str:
    """The host's name as a hostname(7), for distributions to have as theirs."""
    name = socket.gethostname().partition(".")[0]
    kept = "".join(char for char in name if char.isascii() and (char.isalnum() or char == "-"))
    return kept.strip("-")[:63] or "localhost"
