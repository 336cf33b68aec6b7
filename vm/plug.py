"""Plugging disks into a running machine and out again, over its monitor."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from vm.disk import is_lock_failure
from vm.errors import DiskError, DiskInUse, QmpOutcomeUnknown, QmpRefused
from vm.files import await_access
from vm.hotplug import AttachedDisk
from vm.openable import openable
from vm.qmp import DEFAULT_DEADLINE_S, Qmp

# io_uring moves the same blocks with fewer system calls and no hand-over to a thread: here a
# guest under emulation reads a disk in half the time, and writes it in two thirds. It may be
# missing from QEMU, or forbidden by the host (kernel.io_uring_disabled, container profiles).
ASYNCHRONOUS_IO: Sequence[str] = (
    ("io_uring", "threads") if sys.platform == "linux" else ("threads",)
)
"""Ways for QEMU to read and write an image (BlockdevAioOptions), best first."""


async def plug_in(
    qmp: Qmp,
    disk: AttachedDisk,
    ways: Sequence[str] = ASYNCHRONOUS_IO,
    *,
    deadline_s: float = DEFAULT_DEADLINE_S,
) -> str:
    """Open the image and show it to the guest; returns which of `ways` the host allowed.

    deadline_s: for each command. Raises DiskInUse, DiskError; then nothing of it is left in
    QEMU. Raises QmpOutcomeUnknown; then something may be.
    """
    await _await_access(disk)
    way = await _open_image(qmp, disk, ways, deadline_s)
    try:
        await qmp.device_add(disk.device_options(), deadline_s=deadline_s)
    except QmpRefused as error:
        await qmp.blockdev_del(disk.node_name)
        raise DiskError("attach", disk.path, error.description) from error
    return way


async def _await_access(disk: AttachedDisk) -> None:
    """On Windows: let a virus scanner finish with an image, for which QEMU would not wait.

    Raises DiskError.
    """
    if sys.platform != "win32" or disk.read_only:
        return
    try:
        await asyncio.to_thread(await_access, disk.path)
    except FileNotFoundError:
        return  # QEMU's own words are as good
    except OSError as error:
        detail = error.strerror or str(error)
        hint = "End that program, or see whether you may write to the file."
        raise DiskError("attach", disk.path, detail, hint=hint) from error


async def unplug(qmp: Qmp, disk: AttachedDisk) -> None:
    """Take the disk from the guest, flush and close its image. Raises DiskError."""
    try:
        await qmp.device_del(disk.device_id)
        await qmp.blockdev_del(disk.node_name)
    except (QmpRefused, QmpOutcomeUnknown) as error:
        raise DiskError("detach", disk.path, error.message) from error


async def _open_image(qmp: Qmp, disk: AttachedDisk, ways: Sequence[str], deadline_s: float) -> str:
    try:
        file = openable(disk.path)
    except OSError as error:
        raise DiskError("attach", disk.path, str(error)) from error
    for way in ways:
        try:
            await qmp.blockdev_add(disk.blockdev_options(way, file), deadline_s=deadline_s)
            return way
        except QmpRefused as error:
            if way != ways[-1] and way in error.description:
                continue
            if is_lock_failure(error.description):
                raise DiskInUse("attach", disk.path, error.description) from error
            raise DiskError("attach", disk.path, error.description) from error
    raise ValueError("no way to read and write the image was given")
