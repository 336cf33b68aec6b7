"""Instant start: a machine that has booted, saved once and gone on with at every later start.

What is saved is never a user's machine but one booted for it, in the background, after a machine
has been started the slow way: it has mounted nothing, and nobody has run anything in it. It gets
as far as the agent that waits to be spoken to, so that whoever goes on with it does all that makes
one machine differ from another: clock, random numbers, boot id (docs/protocol.md §5).

A snapshot fits one machine only, down to the build of QEMU; its name is a digest of all that
(`vm.snapshot`). It is an entry of the image cache, which vouches for its bytes.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from service.errors import LinkLost, ServiceError
from service.link import AgentLink
from service.seed import rehearse, wait_idle, wait_opened
from service.settings import MIB, Settings
from vm.ahead import Begun, fits, keep_record
from vm.cache import JsonCache
from vm.errors import SnapshotUnusable, VmError
from vm.image.cache import Cache, Entry, Meta
from vm.image.errors import CacheBusy
from vm.machine import VirtualMachine
from vm.memory import GuestMemory, read_memory, read_state, write_snapshot
from vm.migration import load_state, save_state
from vm.shutdown import Deadlines
from vm.snapshot import KIND, snapshot_key
from vm.spec import Accelerator, MachineSpec, TapNetwork
from wire.places import Places

log = logging.getLogger(__name__)

WAKE_TIMEOUT_S = 20.0
"""From the loaded state to the agent's answer: it has nothing to do but to answer."""

_DELAY_S = 5.0
"""The first commands after a slow start come first."""
_MAKING_TIMEOUT_S = 300.0
_SPARE_DISK_BYTES = 2 << 30
"""What must be free where the cache is: a convenience is not to fill somebody's disk."""
_FAILURES_LIMIT = 3
"""After that many snapshots of one kind that did not work, none is made any more."""
_LOCK = "snapshot.lock"
_DISCARDED = Deadlines(quit_s=5.0, terminate_s=1.0)

_ACCELERATORS = frozenset({Accelerator.TCG, Accelerator.KVM})
"""Those whose machines can be saved: WHPX's cannot (QEMU's whpx_accel_init blocks migration)."""


class Sleeper:
    """A machine whose memory is filled, and that runs once it is given the rest: `wake`.

    `memory` is closed by whoever has it.
    """

    def __init__(self, entry: Entry, vm: VirtualMachine, memory: GuestMemory, state: bytes) -> None:
        self.entry = entry
        self.vm = vm
        self.memory = memory
        self._state = state

    async def wake(self) -> None:
        """Let it run. Raises VmError."""
        await load_state(self.vm.qmp, self._state)


class Snapshots:
    """Finds, uses and makes snapshots. One is made at a time."""

    def __init__(self, places: Places, host_cache: JsonCache, begun: Begun | None = None) -> None:
        """`host_cache` keeps what did not work. `begun`: QEMU, started ahead."""
        self._begun = begun
        self._places = places
        self._host_cache = host_cache
        self._cache = Cache()
        self._making: asyncio.Task[None] | None = None

    async def find(self, settings: Settings, spec: MachineSpec) -> Entry | None:
        """The snapshot that `spec` can start from; None if there is none, or it is damaged."""
        if not is_possible(settings, spec):
            return None
        try:
            return await asyncio.to_thread(self._find, spec)
        except OSError as error:
            log.warning("no snapshot is used: %s", error)
            return None

    def _find(self, spec: MachineSpec) -> Entry | None:
        return self._cache.find(KIND, snapshot_key_of(spec))

    async def lay_out(self, entry: Entry, spec: MachineSpec, pid_file: Path) -> Sleeper:
        """Start QEMU with a snapshot's memory. Raises VmError, OSError."""
        if (begun := self._take_begun()) is not None:
            sleeper = await self._take_over(begun, entry, spec, pid_file)
            if sleeper is not None:
                return sleeper
        memory = GuestMemory(spec.memory_mib * MIB)
        filling = asyncio.create_task(asyncio.to_thread(read_memory, entry.path, memory))
        try:
            vm = await VirtualMachine.start(
                spec, pid_file=pid_file, memory=memory, is_incoming=True
            )
            try:
                await filling
                state = await asyncio.to_thread(read_state, entry.path)
            except BaseException:
                await vm.shutdown(deadlines=_DISCARDED)
                raise
            return Sleeper(entry, vm, memory, state)
        except BaseException:
            await asyncio.wait({filling})
            memory.close()
            raise

    def _take_begun(self) -> Begun | None:
        begun, self._begun = self._begun, None
        return begun

    async def _take_over(
        self, begun: Begun, entry: Entry, spec: MachineSpec, pid_file: Path
    ) -> Sleeper | None:
        """The QEMU that was started ahead; None if it is not what is wanted, or does not work."""
        if not fits(begun, spec, entry.path):
            log.info("QEMU is started again: another one is wanted than the last time")
            await asyncio.to_thread(begun.discard)
            return None
        try:
            vm = await VirtualMachine.take(spec, begun, pid_file=pid_file)
            try:
                if not await asyncio.to_thread(begun.wait_filled):
                    raise SnapshotUnusable("its memory could not be copied")
                state = await asyncio.to_thread(read_state, entry.path)
            except BaseException:
                await vm.shutdown(deadlines=_DISCARDED)
                raise
            return Sleeper(entry, vm, begun.memory, state)
        except (OSError, VmError) as error:
            log.warning("QEMU is started again: %s", error)
            await asyncio.to_thread(begun.discard)
            return None
        except BaseException:
            await asyncio.to_thread(begun.discard)
            raise

    async def give_up_begun(self) -> None:
        """End the QEMU that was started ahead, if nobody has taken it."""
        if (begun := self._take_begun()) is not None:
            await asyncio.to_thread(begun.discard)

    def begin_so(self, entry: Entry, spec: MachineSpec) -> None:
        """Have the next service start QEMU ahead as for this machine, which has woken. Blocks."""
        try:
            memory_bytes = spec.memory_mib * MIB
            keep_record(Path(self._places.ahead), spec, entry.path, memory_bytes)
        except OSError as error:
            log.warning("QEMU will not be started ahead: %s", error)

    def refuse(self, entry: Entry, why: Exception) -> None:
        """A machine could not be gone on with: its snapshot is not used again."""
        log.warning("%s does not work, booting instead: %s", entry.name, why)
        self._cache.remove(entry.name)
        kept = self._host_cache.get(_failures_key(entry.name)) or {}
        count = kept.get("count")
        failures = count + 1 if isinstance(count, int) else 1
        self._host_cache.put(_failures_key(entry.name), {"count": failures})

    def _is_hopeless(self, name: str) -> bool:
        kept = self._host_cache.get(_failures_key(name)) or {}
        count = kept.get("count")
        return isinstance(count, int) and count >= _FAILURES_LIMIT

    # -- making ----------------------------------------------------------------------------------

    def make_later(self, settings: Settings, spec: MachineSpec) -> None:
        """Have a snapshot made for later starts of `spec`, unless one is being made."""
        if is_possible(settings, spec) and self._making is None:
            self._making = asyncio.create_task(self._make(spec), name="making a snapshot")
            self._making.add_done_callback(self._on_made)

    async def wait_made(self) -> None:
        """Wait for the one that is being made, if any; whether that worked, `find` says."""
        if self._making is not None:
            await asyncio.wait({self._making})

    def _on_made(self, making: asyncio.Task[None]) -> None:
        self._making = None
        if not making.cancelled() and making.exception() is not None:
            log.error("making a snapshot", exc_info=making.exception())

    async def close(self) -> None:
        """Give up what is being made, and what was started ahead."""
        await self.give_up_begun()
        if self._making is not None:
            self._making.cancel()
            await asyncio.wait({self._making})

    async def _make(self, spec: MachineSpec) -> None:
        await asyncio.sleep(_DELAY_S)
        try:
            key = await asyncio.to_thread(snapshot_key_of, spec)
            if self._is_hopeless(Cache.entry_name(KIND, key)):
                return
            free = await asyncio.to_thread(lambda: shutil.disk_usage(self._cache.root).free)
            if free < _SPARE_DISK_BYTES:
                log.info("no snapshot is made: %d MiB are free", free // MIB)
                return
            with self._cache.locked(_LOCK, timeout_s=0):
                if await asyncio.to_thread(self._find, spec) is not None:
                    return
                async with asyncio.timeout(_MAKING_TIMEOUT_S):
                    await self._make_locked(spec, key)
                await asyncio.to_thread(self._tidy)
        except CacheBusy:
            log.info("another process makes a snapshot")
        except TimeoutError:
            log.warning("no snapshot was made within %.0f s", _MAKING_TIMEOUT_S)
        except (OSError, VmError, ServiceError) as error:
            log.warning("no snapshot was made: %s", error)

    async def _make_locked(self, spec: MachineSpec, key: str) -> None:
        """Boot a machine for it, bring it to where users' machines begin, and save it."""
        log.info("a machine is booted to be saved")
        seed = replace(spec, serial_log=Path(self._places.logs) / "snapshot.log", console_copy=None)
        memory = GuestMemory(spec.memory_mib * MIB)
        try:
            async with await VirtualMachine.start(
                seed,
                pid_file=Path(self._places.snapshot_pid_file),
                memory=memory,
                is_background=True,
            ) as vm:
                await self._settle(vm)
                state = await save_state(vm.qmp)
                await vm.shutdown(deadlines=_DISCARDED)

            def build(directory: Path) -> Meta:
                write_snapshot(directory, state, memory)
                return {"memory_mib": str(spec.memory_mib)}

            entry = await asyncio.to_thread(self._cache.build, KIND, key, build)
            log.info("%s has been made", entry.name)
        finally:
            memory.close()

    async def _settle(self, vm: VirtualMachine) -> None:
        """Wait until the agent waits for a preamble, and the guest has nothing else to do.

        Raises ServiceError, also if the machine ends: its agent would be waited for in vain.
        """
        settling = asyncio.ensure_future(self._bring_to_rest(vm))
        ended = asyncio.ensure_future(vm.wait())
        try:
            await asyncio.wait({settling, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not settling.done():
                raise LinkLost(f"the virtual machine has ended: {ended.result().summary}")
            settling.result()
        finally:
            ended.cancel()
            settling.cancel()
            await asyncio.wait({settling})

    async def _bring_to_rest(self, vm: VirtualMachine) -> None:
        (port,) = vm.spec.ports
        with vm.qmp.events("VSERPORT_CHANGE") as events:
            link = await AgentLink.open(vm.port(port), lambda event: None, {})
            try:
                await wait_opened(events, vm)
                link.port_opened()
                await link.wait_synchronised()
                await rehearse(link, has_network=vm.spec.network is not None)
                await wait_idle(vm.pid)
                link.reset()
                await wait_opened(events, vm)
                await wait_idle(vm.pid)
            finally:
                link.close()

    def _tidy(self) -> None:
        from vm.image.housekeeping import Use, superfluous_entries  # no start waits for this

        uses = [Use(name, at) for name, at in self._cache.uses() if name.startswith(f"{KIND}-")]
        for name in superfluous_entries(uses, ()):
            self._cache.remove(name)


def is_possible(settings: Settings, spec: MachineSpec) -> bool:
    """Whether such a machine may start from a snapshot, and be saved as one. Pure.

    Who asks to see the machine boot shall see it.
    """
    return (
        settings.instant_start
        and can_be_saved(spec)
        and not settings.debug_console
        and not settings.early_boot_logging
    )


def can_be_saved(spec: MachineSpec) -> bool:
    """Whether this host can save such a machine. Pure."""
    return (
        sys.platform == "linux"
        and spec.accelerator in _ACCELERATORS
        and not isinstance(spec.network, TapNetwork)  # which takes one machine, not two
    )


def snapshot_key_of(spec: MachineSpec) -> str:
    """`vm.snapshot.snapshot_key` on this host. Raises OSError."""
    return snapshot_key(spec, _processor())


def _processor() -> str:
    """What tells one kind of processor from another; guests see that under KVM. Raises OSError."""
    wanted = ("vendor_id", "cpu family", "model", "stepping", "microcode", "flags")
    first, _, _ = Path("/proc/cpuinfo").read_text().partition("\n\n")
    return "\n".join(line for line in first.splitlines() if line.startswith(wanted))


def _failures_key(name: str) -> dict[str, object]:
    return {"question": "snapshots that failed", "snapshot": name}
