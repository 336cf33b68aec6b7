"""Distribution disks in the guest: found by SCSI serial, formatted, mounted, let go of.

All functions block and belong on a worker thread.
"""

from __future__ import annotations

import errno
import os
import threading

from guest.agent import swap
from guest.agent.children import run, wait_until
from guest.agent.errors import AgentError
from guest.agent.mounting import mount
from wire import agent as messages

MOUNTS = "/run/disks"
RELEASE_TIMEOUT_S = 30.0
FORMAT_TIMEOUT_S = 300.0
CHECK_TIMEOUT_S = 1800.0

_ABSENT = (errno.ENXIO, errno.ENODEV, errno.ENOENT)
"""Why a block device cannot be opened that is not there."""

_appear_timeout_s = 30.0

MOUNT_OPTIONS = "discard,errors=remount-ro,data=ordered,no_prefetch_block_bitmaps"
"""As WSL mounts its disks; and without making all block bitmaps of a file system after its mount,
which for a terabyte takes 32 MiB of memory and a second of an emulated processor (ext4(5))."""


_turns: dict[str, threading.Lock] = {}


def _turn(disk: str) -> threading.Lock:
    """Held while a disk is mounted or unmounted: it may be expected and asked for at once."""
    return _turns.setdefault(disk, threading.Lock())


def mount_point(disk: str) -> str:
    """Where a disk is mounted in the utility VM."""
    return f"{MOUNTS}/{disk}"


def find_device(disk: str) -> str:
    """The block device with SCSI serial `disk`; "" while there is none.

    The serial is what QEMU puts on the unit serial number page (SPC-4, VPD page 0x80), which the
    kernel shows in sysfs after a 4-byte header.
    """
    for name in os.listdir("/sys/block"):
        try:
            with open(f"/sys/block/{name}/device/vpd_pg80", "rb") as file:
                serial = file.read()[4:].strip(b" \0")
        except OSError:
            continue
        if serial.decode("ascii", "replace") == disk:
            return f"/dev/{name}"
    return ""


def set_appear_timeout(timeout_s: float) -> None:
    """How long a disk that has been plugged in may take to appear, from now on."""
    global _appear_timeout_s
    _appear_timeout_s = timeout_s


def wait_for_device(disk: str) -> str:
    """The device of a disk that has just been plugged in. Raises AgentError at the deadline."""
    device = ""

    def is_there() -> bool:
        nonlocal device
        device = find_device(disk)
        return bool(device) and _can_be_opened(device)

    wait_until(is_there, _appear_timeout_s, f"disk {disk} to appear")
    return device


def _can_be_opened(device: str) -> bool:
    """False for one that is in sysfs already, or still, but not among the kernel's block devices.

    device_add_disk (block/genhd.c) does the one a moment before the other.
    """
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        raise
    return True


def format_disk(disk: str) -> None:
    """Make an empty ext4 file system on a new disk. Raises AgentError.

    The disk is a new sparse file, so it reads as zeroes and nothing needs to be written to make
    it so; -G 4096 keeps the metadata of a large disk together, as WSL does. Without an orphan file,
    whose 512 blocks each mount reads one by one: it is for many processors that delete at once.
    """
    device = wait_for_device(disk)
    extended = "assume_storage_prezeroed=1,nodiscard,lazy_itable_init=1,lazy_journal_init=1"
    options = ["-q", "-F", "-m", "0", "-G", "4096", "-O", "^orphan_file", "-E", extended]
    run(["mkfs.ext4", *options, device], FORMAT_TIMEOUT_S)


def check_disk(disk: str) -> None:
    """Repair an unmounted file system and grow it to its disk. Raises AgentError."""
    device = wait_for_device(disk)
    run(["e2fsck", "-f", "-p", device], CHECK_TIMEOUT_S, allowed=(0, 1, 2))
    run(["resize2fs", device], CHECK_TIMEOUT_S)


def add_swap(disk: str) -> None:
    """Make a new disk swap space and use it. Raises AgentError."""
    device = wait_for_device(disk)
    try:
        swap.use(device)
    except (OSError, ValueError) as error:
        raise AgentError(f"there is no swap space: {error}") from None


def mount_disk(disk: str) -> None:
    """Mount a disk at its mount point; nothing to do if it is mounted. Raises AgentError."""
    target = mount_point(disk)
    with _turn(disk):
        if os.path.ismount(target):
            return
        device = wait_for_device(disk)
        os.makedirs(target, 0o700, exist_ok=True)
        try:
            mount(device, target, "ext4", MOUNT_OPTIONS)
        except OSError as error:
            raise AgentError(
                f"cannot mount the disk of this distribution: {error.strerror}",
                hint="The disk image may be damaged; `isthmus --system -- e2fsck -f "
                f"{device}` examines it.",
            ) from None


def unmount_disk(disk: str) -> None:
    """Unmount a disk and wait until no namespace holds it any more. Raises AgentError."""
    target = mount_point(disk)
    with _turn(disk):
        if os.path.ismount(target):
            run(["umount", target])
        if os.path.isdir(target):
            os.rmdir(target)
    device = find_device(disk)
    if device:
        wait_until(lambda: _is_free(device), RELEASE_TIMEOUT_S, f"disk {disk} to be released")


def _is_free(device: str) -> bool:
    """Whether no file system is mounted from a device, if it is still there.

    It can be opened exclusively then: O_EXCL without O_CREAT on a block device fails with EBUSY
    while it is mounted (open(2)).
    """
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        if error.errno not in _ABSENT:
            raise
    return True


WORK = {
    messages.FormatDisk: format_disk,
    messages.CheckDisk: check_disk,
    messages.MountDisk: mount_disk,
    messages.UnmountDisk: unmount_disk,
    messages.AddSwap: add_swap,
}
"""What answers each request that is about one disk."""
