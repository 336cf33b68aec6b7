"""What QMP is told in order to plug a disk in. Pure.

A disk is two things in QEMU: a block node, which opens the image file, and a device, which shows
it to the guest. Here the device is a LUN of the machine's virtio-scsi controller, the only thing
that can be added on every board while the guest runs, and the guest's consent is not needed to
take it away again.

The guest finds a disk by its serial, never by order: it is the text from byte 4 on of
/sys/block/sd*/device/vpd_pg80 (SPC-4, 7.8.15 "Unit Serial Number VPD page").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vm.argv import SCSI_BUS
from vm.disk import DiskFormat

MAXIMUM_SERIAL_LENGTH = 36
"""What QEMU passes on of a SCSI serial (hw/scsi/scsi-disk.c, page 0x80): a UUID fits."""

MAXIMUM_LUNS = 255
"""Target 0, LUNs 0 to 254: enough, and below the point where their addressing changes
(SAM-5, 4.7.4: up to 255 fit the simple peripheral device form)."""

_SERIAL = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAXIMUM_SERIAL_LENGTH - 1}}}")


@dataclass(frozen=True)
class AttachedDisk:
    """One disk of a running machine."""

    serial: str
    """What the guest knows it by."""
    path: Path
    """The image."""
    lun: int
    """Its place on the controller."""
    format: DiskFormat = DiskFormat.QCOW2
    read_only: bool = False
    keeps_space: bool = False
    """Whether space that the guest frees stays the image's instead of going back to the host."""
    waits_for_space: bool = True
    """Whether the machine pauses while the host has no space for a write; else the write fails."""

    def __post_init__(self) -> None:
        """Raise ValueError if the serial or the LUN is not one the guest could see unchanged."""
        check_serial(self.serial)
        if not 0 <= self.lun < MAXIMUM_LUNS:
            raise ValueError(f"no such LUN: {self.lun}")

    @property
    def node_name(self) -> str:
        """The block node's name in QEMU; names are limited to 31 characters there."""
        return f"disk{self.lun}"

    @property
    def device_id(self) -> str:
        """The device's id in QEMU."""
        return f"lun{self.lun}"

    def blockdev_options(
        self, asynchronous_io: str = "threads", file: Path | None = None
    ) -> dict[str, object]:
        """The arguments of `blockdev-add` (qapi/block-core.json, BlockdevOptions).

        asynchronous_io: how QEMU reads and writes the file (BlockdevAioOptions). file: the image
        under another name than `path`.
        discard and detect-zeroes: what the guest trims, or fills with zeroes, is given back to
        the host, unless `keeps_space`. cache: writes may rest in the host's page cache, and the
        guest's flushes reach the disk (`no-flush` off), so fsync keeps its meaning. locking is
        left at "auto", which locks wherever the host can: two machines never write one image.
        """
        discard = "ignore" if self.keeps_space else "unmap"
        return {
            "node-name": self.node_name,
            "driver": self.format.value,
            "read-only": self.read_only,
            "discard": discard,
            "detect-zeroes": "off" if self.keeps_space or self.read_only else "unmap",
            "cache": {"direct": False, "no-flush": False},
            "file": {
                "driver": "file",
                "filename": str(file or self.path),
                "discard": discard,
                "aio": asynchronous_io,
                "cache": {"direct": False, "no-flush": False},
            },
        }

    def device_options(self) -> dict[str, object]:
        """The arguments of `device_add`."""
        return {
            "driver": "scsi-hd",
            "id": self.device_id,
            "bus": SCSI_BUS,
            "scsi-id": 0,
            "lun": self.lun,
            "drive": self.node_name,
            "serial": self.serial,
            # By default the serial, and newer versions of QEMU (11) then refuse one longer than 20.
            "device_id": self.device_id,
            # Without this the kernel takes the disk for a spinning one (SBC-4, 6.6.2: 1 means
            # "non-rotating medium").
            "rotation_rate": 1,
            # BlockdevOnError (qapi/block-core.json); "enospc": pause for ENOSPC, report the rest.
            "werror": "enospc" if self.waits_for_space else "report",
            "rerror": "report",
        }


def check_serial(serial: str) -> None:
    """Raise ValueError unless `serial` is 1 to 36 letters, digits, ".", "_" or "-"."""
    if not _SERIAL.fullmatch(serial):
        raise ValueError(f"not a disk serial: {serial!r}")


def free_lun(taken: set[int]) -> int:
    """The lowest LUN not in `taken`. Raises ValueError if there is none."""
    for lun in range(MAXIMUM_LUNS):
        if lun not in taken:
            return lun
    raise ValueError(f"all {MAXIMUM_LUNS} LUNs are taken")
