"""Which format a disk image on the host has. Pure.

It is told by the image's name: looking inside would let a guest choose (vm.disk).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from service.errors import ServiceError
from vm.disk import DiskFormat
from wire import failures

FORMAT_OF_SUFFIX = {
    ".vhdx": DiskFormat.VHDX,
    ".vhd": DiskFormat.VHD,
    ".qcow2": DiskFormat.QCOW2,
    ".img": DiskFormat.RAW,
    ".raw": DiskFormat.RAW,
    ".ext4": DiskFormat.RAW,
}
"""Images of distributions."""

MODULES_FORMAT_OF_SUFFIX = {
    **FORMAT_OF_SUFFIX,
    ".erofs": DiskFormat.RAW,
    ".squashfs": DiskFormat.RAW,
}
"""Images that are only read, so that the file system in them may be one that cannot be written."""


def format_of(
    path: Path,
    code: str = failures.IMPORT_FAILED,
    formats: Mapping[str, DiskFormat] = FORMAT_OF_SUFFIX,
) -> DiskFormat:
    """The format that a disk image's name promises. Raises ServiceError `code`."""
    found = formats.get(path.suffix.casefold())
    if found is None:
        raise ServiceError(
            code,
            f"{path} does not have the name of a disk image",
            hint=f"It must end in one of {', '.join(formats)}.",
        )
    return found
