"""Operations on the disks and records of distributions: --manage, --import-in-place, --vhd."""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from service.client import Client
from service.diskformats import format_of
from service.distributions import DistributionManager, impossible_size
from service.errors import ServiceError, is_full, of_vm
from service.finishing import to_the_end
from service.machine import Machine
from service.placement import ADVICE, risk_of
from service.registry import Record
from service.unfinished import delete_disk
from vm.disk import DiskFormat, convert_disk, disk_info, resize_disk
from vm.errors import VmError
from vm.files import replace
from wire import failures
from wire.agent import CheckDisk, FindUser, RootDescription, UserFound
from wire.client import (
    ExportDisk,
    ImportDisk,
    ImportInPlace,
    Move,
    ResizeDisk,
    SetDefaultUser,
    SetSparse,
)
from wire.codec import Message
from wire.common import NOTICE, Done

_CHECK_TIMEOUT_S = 3600.0


class Management:
    """Requests that change a distribution, or make one from a disk image."""

    def __init__(self, machine: Machine, distributions: DistributionManager) -> None:
        self._machine = machine
        self._distributions = distributions
        self._registry = distributions.registry

    async def move(self, client: Client, request: Move) -> Message:
        """Move a distribution's disk to another directory of the host."""
        record = self._registry.find(request.name)
        target = Path(request.directory) / "ext4.qcow2"
        async with self._stopped(record):
            if target.exists():
                raise ServiceError(failures.DISTRO_EXISTS, f"{target} exists already")
            warn_of_place(client, target)
            client.progress(f"Moving the disk of {record.name}")
            source = Path(record.disk)
            # The new place is registered before the old one is given up: a crash in between
            # costs disk space, not the distribution.
            unchanged = "The distribution is where it was."
            with self._distributions.unfinished.making(target, failures.VM_FAILED, unchanged):
                try:
                    if not _link(source, target):
                        await convert_disk(
                            await self._machine.find_qemu(),
                            source,
                            DiskFormat.QCOW2,
                            target,
                            DiskFormat.QCOW2,
                            preallocate=record.keeps_space,
                        )
                except (OSError, VmError) as error:
                    raise ServiceError(
                        failures.DISK_FULL if is_full(error) else failures.VM_FAILED,
                        f"the disk could not be moved to {target.parent}: {error}",
                        hint=unchanged,
                    ) from None
                self._registry.change(record.identity, disk=str(target))
            delete_disk(source)
        return Done()

    async def resize(self, client: Client, request: ResizeDisk) -> Message:
        """Grow a distribution's disk, and the file system in it."""
        record = self._registry.find(request.name)
        link = await self._machine.ensure_running(client.progress)
        async with self._stopped(record):
            try:
                with _vm_errors():
                    qemu = self._machine.vm.spec.qemu
                    await resize_disk(qemu, Path(record.disk), request.size_bytes)
            except ValueError as error:
                raise impossible_size(error) from None
            client.progress("Checking and growing the file system")
            async with self._distributions.plugged_disk(link, record.identity, Path(record.disk)):
                check = CheckDisk(disk=record.identity)
                await to_the_end(link.request(check, Done, _CHECK_TIMEOUT_S))
        return Done()

    async def set_sparse(self, client: Client, request: SetSparse) -> Message:
        """Decide whether the host gets back what Linux frees, from the next start on."""
        record = self._registry.find(request.name)
        async with self._stopped(record):
            self._registry.change(record.identity, keeps_space=not request.is_sparse)
        return Done()

    async def set_default_user(self, client: Client, request: SetDefaultUser) -> Message:
        """Choose the user that commands run as when -u does not say."""
        record = self._registry.find(request.name)
        link, _ = await self._distributions.ensure_started(record, client.progress)
        wanted = FindUser(distribution=record.identity, name=request.user)
        found = await link.request(wanted, UserFound)
        self._registry.change(record.identity, default_uid=found.uid)
        return Done()

    async def import_in_place(self, client: Client, request: ImportInPlace) -> Message:
        """Register a qcow2 disk where it is."""
        self._registry.check_free(request.name)
        path = Path(request.path)
        if format_of(path) is not DiskFormat.QCOW2:
            raise ServiceError(
                failures.IMPORT_FAILED,
                f"{path} cannot be used in place: only .qcow2 disks can",
                hint=f"`isthmus --import {request.name} DIRECTORY {path} --vhd` converts a copy.",
            )
        _require_file(path)
        warn_of_place(client, path)
        identity = uuid.uuid4().hex
        record = await self._examine(client, request.name, identity, path)
        self._registry.add(record)
        return self._distributions.installed(record)

    async def import_disk(self, client: Client, request: ImportDisk) -> Message:
        """Register a copy of a disk image, converted to qcow2."""
        self._registry.check_free(request.name)
        source = Path(request.path)
        source_format = format_of(source)
        _require_file(source)
        identity = uuid.uuid4().hex
        target = self._distributions.disk_path(identity, request.location)
        warn_of_place(client, target)
        client.progress(f"Converting {source.name}")
        with self._distributions.unfinished.making(target):
            with _vm_errors():
                qemu = await self._machine.find_qemu()
                await convert_disk(qemu, source, source_format, target, DiskFormat.QCOW2)
            record = await self._examine(client, request.name, identity, target)
            self._registry.add(record)
        return self._distributions.installed(record)

    async def export_disk(self, client: Client, request: ExportDisk) -> Message:
        """Write a stopped distribution's disk as an image of the format its name says."""
        record = self._registry.find(request.name)
        target = Path(request.path)
        target_format = format_of(target, failures.EXPORT_FAILED)
        async with self._stopped(record):
            if target.exists():
                raise ServiceError(failures.DISTRO_EXISTS, f"{target} exists already")
            client.progress(f"Exporting the disk of {record.name}")
            part = target.with_name(f"{target.name}.part-{os.getpid()}")
            making = self._distributions.unfinished.making(
                part, failures.EXPORT_FAILED, "The distribution is as it was."
            )
            with making, _vm_errors():
                qemu = await self._machine.find_qemu()
                source = Path(record.disk)
                await convert_disk(qemu, source, DiskFormat.QCOW2, part, target_format)
                replace(part, target)
        return Done()

    async def _examine(self, client: Client, name: str, identity: str, path: Path) -> Record:
        """What a disk image holds. Raises ServiceError if that is no distribution."""
        with _vm_errors():
            await disk_info(await self._machine.find_qemu(), path, DiskFormat.QCOW2)
        link = await self._machine.ensure_running(client.progress)
        async with self._distributions.mounted_disk(link, identity, path):
            root = await self._distributions.inspect(link, identity)
        return judge(root, identity, name, path)

    @contextlib.asynccontextmanager
    async def _stopped(self, record: Record) -> AsyncIterator[None]:
        await self._distributions.stop(record)
        async with self._distributions.exclusively(record.identity, "Converting"):
            yield


@contextlib.contextmanager
def _vm_errors() -> Iterator[None]:
    """Errors of the QEMU core, and of the host's file system, as the client's."""
    try:
        yield
    except OSError as error:
        raise ServiceError(
            failures.DISK_FULL if is_full(error) else failures.VM_FAILED,
            f"{error.filename}: {error.strerror or error}",
        ) from None
    except VmError as error:
        raise of_vm(error) from error


def warn_of_place(client: Client, path: Path) -> None:
    """Tell a client what threatens a disk where it wants it."""
    risk = risk_of(str(path), os.environ) if sys.platform == "win32" else ""
    if risk:
        client.progress(f"{path}: {risk}. {ADVICE}", unit=NOTICE)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ServiceError(failures.FILE_NOT_FOUND, f"there is no file {path}")


def judge(
    root: RootDescription, identity: str, name: str, path: Path, *, first_run: bool = False
) -> Record:
    """The record of a new distribution. Raises ServiceError if its disk holds none.

    first_run: it is being installed. Its user is only known once its setup has run; until then,
    and in one that is imported, commands run as root (as WSL has it).
    """
    if not root.is_root:
        raise ServiceError(
            failures.NOT_A_DISTRO,
            "there is no Linux root file system in it: neither /etc nor /bin/sh exists",
            hint="Nothing was registered. A root file system's tar has these at its top.",
        )
    if not name:
        raise ServiceError(
            failures.NAME_NEEDED,
            "the distribution does not say what it is called",
            hint="Nothing was registered. Give it a name: --name NAME.",
        )
    return Record(
        identity=identity,
        name=name,
        disk=str(path),
        flavor=root.os_id,
        os_version=root.os_version,
        run_oobe=first_run,
    )


def _link(source: Path, target: Path) -> bool:
    """Give a file a second name; False where it takes a copy: on another file system."""
    try:
        os.link(source, target)
    except OSError:
        return False
    return True
