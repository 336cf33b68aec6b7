"""What belongs to a machine that was saved in the middle of its work: its disks, its ports.

Beside the files of `vm.snapshot` the directory of such a machine has::

    machine.json    this description, in JSON

The guest's memory holds what its file systems look like. So it may be gone on with once only, and
with the very disks that it was saved with: anybody who has written to one of them since would have
it overwritten with what is no longer true.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vm.disk import DiskFormat
from vm.errors import SnapshotUnusable
from vm.extents import EXTENTS, MEMORY, STATE
from vm.hotplug import AttachedDisk

DESCRIPTION = "machine.json"
FILES = (STATE, EXTENTS, MEMORY)
MAXIMUM_BYTES = 4 * 1024 * 1024
"""Of the description."""

_FORMAT = 1
_READ_BYTES = 1 << 20

Stamp = tuple[int, int, int]
"""What changes when somebody replaces a file or writes to it: inode, size, time of change (ns)."""

Digest = tuple[int, int]
"""Of a file: its length in bytes, and its CRC-32. It is damage that has to be noticed, not forgery:
the directory is its owner's alone."""


@dataclass(frozen=True)
class Description:
    """All that a saved machine needs beside its memory and the state of its devices."""

    key: str
    """`vm.snapshot.snapshot_key` of it."""
    disks: tuple[tuple[AttachedDisk, Stamp], ...]
    """Those plugged in, as they were when QEMU had ended."""
    ports: tuple[str, ...]
    """Names of the spare ports that are plugged in, in that order."""
    digests: Mapping[str, Digest]
    """Of FILES."""
    notes: Sequence[str]
    """What whoever saved it wants to know again."""


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file. Raises OSError."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def digest_of(path: Path) -> Digest:
    """The digest of a file. Blocks. Raises OSError."""
    size = checksum = 0
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_READ_BYTES):
            size += len(piece)
            checksum = zlib.crc32(piece, checksum)
    return size, checksum


def encode_description(description: Description) -> bytes:
    """The description as the content of its file. Pure."""
    disks = [
        asdict(disk) | {"path": str(disk.path), "format": disk.format.value, "stamp": list(stamp)}
        for disk, stamp in description.disks
    ]
    content = {
        "format": _FORMAT,
        "key": description.key,
        "disks": disks,
        "ports": list(description.ports),
        "digests": {name: list(digest) for name, digest in description.digests.items()},
        "notes": list(description.notes),
    }
    checked = {"description": content, "crc32": zlib.crc32(json.dumps(content).encode())}
    return json.dumps(checked, indent=1).encode()


def decode_description(data: bytes) -> Description:
    """The description that is a file's content. Pure. Raises SnapshotUnusable."""
    try:
        checked = json.loads(data)
        content = checked["description"]
        if checked["crc32"] != zlib.crc32(json.dumps(content).encode()):
            raise SnapshotUnusable(f"{DESCRIPTION} is damaged")
        if content["format"] != _FORMAT:
            raise SnapshotUnusable("another version of Isthmus has made it")
        return Description(
            key=str(content["key"]),
            disks=tuple(_disk(fields) for fields in content["disks"]),
            ports=tuple(str(name) for name in content["ports"]),
            digests={str(name): (int(d[0]), int(d[1])) for name, d in content["digests"].items()},
            notes=tuple(str(note) for note in content["notes"]),
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise SnapshotUnusable(f"{DESCRIPTION} cannot be read: {error}") from None


def _disk(fields: Mapping[str, object]) -> tuple[AttachedDisk, Stamp]:
    known = dict(fields)
    stamp = known.pop("stamp")
    if not isinstance(stamp, list):
        raise TypeError("a disk has no stamp")
    inode, size, changed = (int(number) for number in stamp)
    path, image_format = Path(str(known.pop("path"))), DiskFormat(str(known.pop("format")))
    disk = AttachedDisk(path=path, format=image_format, **known)  # type: ignore[arg-type]
    return disk, (inode, size, changed)


def check_disks(description: Description) -> None:
    """Look whether all disks are as they were. Raises SnapshotUnusable."""
    for disk, stamp in description.disks:
        try:
            is_same = stamp_of(disk.path) == stamp
        except OSError as error:
            raise SnapshotUnusable(f"{disk.path}: {error.strerror or error}") from None
        if not is_same:
            raise SnapshotUnusable(f"{disk.path} has been changed since")


def check_files(directory: Path, description: Description) -> None:
    """Look whether all files are what was written. Blocks. Raises OSError, SnapshotUnusable."""
    for name in FILES:
        if description.digests.get(name) != digest_of(directory / name):
            raise SnapshotUnusable(f"{name} is damaged")
