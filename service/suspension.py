"""Suspend on idle: a machine saved with all that runs in it, and gone on with at the next start.

What a snapshot (`service.snapshots`) is to every start, this is to one: it belongs to the disks it
was saved with (`vm.suspended`), so it is used once or never. It is taken out of its place before
anything is done with it; whatever ends this service or QEMU after that, the next start boots, and
finds disks that are at most as old as after a power failure: Linux was told to write everything
that waited to be written before it was stopped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.settings import MIB
from service.snapshots import snapshot_key_of
from vm.errors import SnapshotUnusable
from vm.files import replace, sync_directory, write_atomically
from vm.machine import VirtualMachine
from vm.memory import GuestMemory, read_memory, read_state, write_snapshot
from vm.migration import save_state
from vm.shutdown import Deadlines
from vm.spec import MachineSpec
from vm.suspended import (
    DESCRIPTION,
    FILES,
    MAXIMUM_BYTES,
    Description,
    check_disks,
    check_files,
    decode_description,
    digest_of,
    encode_description,
    stamp_of,
)

log = logging.getLogger(__name__)

_SPARE_DISK_BYTES = 256 * MIB
"""What is left free on the disk that a machine is saved on."""
_PRIVATE = 0o700
_DISCARDED = Deadlines(quit_s=20.0, terminate_s=5.0)


@dataclass
class Resumable:
    """A saved machine whose QEMU waits for the state of its devices."""

    vm: VirtualMachine
    memory: GuestMemory
    state: bytes
    notes: tuple[str, ...]


class Suspension:
    """The saved machine of one user, in `directory`, if there is one.

    `directory` holds one that can be gone on with. Beside it are `<name>.part`, one that is being
    saved, and `<name>.used`, one that has been taken: neither is ever looked at again.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._part = directory.with_name(f"{directory.name}.part")
        self._used = directory.with_name(f"{directory.name}.used")

    @property
    def is_there(self) -> bool:
        """Whether a machine is saved, sound or not."""
        return self._directory.is_dir()

    def drop(self) -> None:
        """Delete whatever there is. Raises OSError if the saved machine stays."""
        self._take_out()
        for path in (self._part, self._used):
            shutil.rmtree(path, ignore_errors=True)

    def _take_out(self) -> None:
        """Move the saved machine to where nobody looks. Raises OSError."""
        shutil.rmtree(self._used, ignore_errors=True)
        if self.is_there:
            replace(self._directory, self._used)
            sync_directory(self._directory.parent)

    # -- saving ----------------------------------------------------------------------------------

    async def check_space(self, memory: GuestMemory) -> None:
        """Look whether there is space for a machine. Raises OSError."""
        wanted = memory.allocated_bytes + _SPARE_DISK_BYTES
        free = await asyncio.to_thread(lambda: shutil.disk_usage(self._directory.parent).free)
        if free < wanted:
            raise OSError(f"{wanted // MIB} MiB would have to be free, {free // MIB} are")

    async def save(self, vm: VirtualMachine, memory: GuestMemory, notes: Sequence[str]) -> bool:
        """Save a machine that waits for nothing of the host, and end it.

        Whether it is saved; if not it has ended all the same, its disks written. Raises OSError,
        VmError: then it is paused and may go on.
        """
        try:
            await asyncio.to_thread(self._begin)
            key = await asyncio.to_thread(snapshot_key_of, vm.spec)
            state = await save_state(vm.qmp)
            digests = await asyncio.to_thread(self._write, state, memory)
        except BaseException:
            shutil.rmtree(self._part, ignore_errors=True)
            raise
        disks, ports = vm.disks, vm.plugged_ports
        await vm.shutdown(deadlines=_DISCARDED)
        try:
            stamps = tuple((disk, stamp_of(disk.path)) for disk in disks)
            description = Description(key, stamps, ports, digests, tuple(notes))
            await asyncio.to_thread(self._publish, description)
        except OSError as error:
            log.error("the machine was not saved: %s", error)
            shutil.rmtree(self._part, ignore_errors=True)
            return False
        return True

    def _begin(self) -> None:
        self.drop()
        self._part.mkdir(mode=_PRIVATE)

    def _write(self, state: bytes, memory: GuestMemory) -> dict[str, tuple[int, int]]:
        write_snapshot(self._part, state, memory)
        digests = {}
        for name in FILES:
            path = self._part / name
            with path.open("rb+") as file:
                os.fsync(file.fileno())
            digests[name] = digest_of(path)
        return digests

    def _publish(self, description: Description) -> None:
        write_atomically(self._part / DESCRIPTION, encode_description(description))
        replace(self._part, self._directory)
        sync_directory(self._directory.parent)

    # -- going on --------------------------------------------------------------------------------

    async def lay_out(self, spec: MachineSpec, pid_file: Path) -> Resumable:
        """Take the saved machine, and start QEMU with its memory, disks and ports.

        Raises OSError, VmError; it is no more then. The caller closes the memory.
        """
        await asyncio.to_thread(self._take_out)
        description = await asyncio.to_thread(self._examine, spec)
        memory = GuestMemory(spec.memory_mib * MIB)
        filling = asyncio.create_task(asyncio.to_thread(self._fill, description, memory))
        try:
            vm = await VirtualMachine.start(
                spec, pid_file=pid_file, memory=memory, is_incoming=True
            )
            try:
                for name in description.ports:
                    await vm.restore_port(name)
                for disk, _ in description.disks:
                    await vm.restore_disk(disk)
                state = await filling
            except BaseException:
                await vm.shutdown(deadlines=_DISCARDED)
                raise
            return Resumable(vm, memory, state, tuple(description.notes))
        except BaseException:
            await asyncio.wait({filling})
            memory.close()
            raise

    def _examine(self, spec: MachineSpec) -> Description:
        with open(self._used / DESCRIPTION, "rb") as file:
            description = decode_description(file.read(MAXIMUM_BYTES))
        if description.key != snapshot_key_of(spec):
            raise SnapshotUnusable(
                "QEMU, the kernel, the system image or .wslconfig is not what it was"
            )
        check_disks(description)
        return description

    def _fill(self, description: Description, memory: GuestMemory) -> bytes:
        check_files(self._used, description)
        read_memory(self._used, memory)
        return read_state(self._used)

    def discard_used(self) -> None:
        """Delete what `lay_out` has taken."""
        shutil.rmtree(self._used, ignore_errors=True)
