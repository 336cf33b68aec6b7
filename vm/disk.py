"""Disk images, through qemu-img: made, resized, converted, looked at and checked.

Each call runs one program to its end against a deadline. Reference: QEMU's
docs/tools/qemu-img.rst. An image that a machine uses is refused (DiskInUse) and never damaged:
qemu-img takes the same lock as QEMU, and where neither has one `vm.disks_in_use` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vm.disks_in_use import refuse_if_in_use
from vm.errors import DiskError, DiskInUse
from vm.files import PRIVATE_MODE, delete
from vm.openable import openable
from vm.process import Completed, run
from vm.spec import Qemu
from vm.vhdx import Layout, MalformedVhdx, read_layout

_log = logging.getLogger(__name__)

QUICK_DEADLINE_S = 30.0
"""For what only touches metadata."""
COPY_DEADLINE_S = 3600.0
"""For what reads or writes the whole image."""

MINIMUM_DISK_BYTES = 1 << 20
MAXIMUM_DISK_BYTES = 1 << 46  # 64 TiB, VHDX's limit ([MS-VHDX] 2.1)

_PREALLOCATION = "preallocation=falloc"
"""The host's space is taken without being written to, where the file system can do that."""
_GAP_BYTES = 256 << 20
"""Reading this much of nothing takes as long as another start of qemu-img."""
_LOCKED = ("Failed to get", "lock")
_CHECK_LEAKS = 3  # qemu-img check: clusters leaked, the image itself is sound
_CHECK_CORRUPT = 2
_CHECK_UNSUPPORTED = 63


class DiskFormat(StrEnum):
    """Image formats; the values are QEMU's names."""

    QCOW2 = "qcow2"
    """QEMU's own: sparse, with checks; what machines use."""
    RAW = "raw"
    """The bytes themselves."""
    VHDX = "vhdx"
    """Hyper-V's, and WSL's ext4.vhdx."""
    VHD = "vpc"
    """Virtual PC's older format."""


@dataclass(frozen=True)
class DiskInfo:
    """What an image says about itself."""

    path: Path
    format: DiskFormat
    virtual_size_bytes: int
    """The size the guest sees."""
    allocated_bytes: int
    """What it takes on the host."""
    dirty: bool
    """Whether it was not closed properly."""


@dataclass(frozen=True)
class CheckReport:
    """What `check_disk` found."""

    leaked_clusters: int
    """Space lost but data sound: the usual trace of a killed QEMU."""
    corruptions: int
    """Damage to the image's own tables."""

    @property
    def is_sound(self) -> bool:
        """Whether every byte the guest wrote is still where it was."""
        return self.corruptions == 0


async def create_disk(
    qemu: Qemu, path: Path, virtual_size_bytes: int, *, preallocate: bool = False
) -> None:
    """Make a new, empty qcow2 of this size at `path`, readable by this user only.

    preallocate: take all of its space from the host now; else it is sparse. The size is rounded
    up by QEMU to whole sectors of 512 bytes. Raises DiskError, also if `path` exists, and
    ValueError for a size out of range; then nothing is left behind.
    """
    _check_size(virtual_size_bytes)
    options = ["-o", _PREALLOCATION] if preallocate else []
    deadline_s = COPY_DEADLINE_S if preallocate else QUICK_DEADLINE_S
    _reserve("create", path)
    try:
        # lazy_refcounts stays off: a killed QEMU then leaves at most leaked clusters, and the
        # image needs no repair before its next use. 64 KiB clusters are QEMU's default.
        await _qemu_img(
            qemu,
            "create",
            path,
            ["-q", "-f", DiskFormat.QCOW2, *options, _name(path), str(virtual_size_bytes)],
            deadline_s=deadline_s,
        )
    except BaseException:
        _remove(path)
        raise


async def resize_disk(qemu: Qemu, path: Path, virtual_size_bytes: int) -> None:
    """Grow the qcow2 at `path`; the file system in it is the guest's affair.

    Raises DiskError if the image is larger than that already: what lies beyond would be lost.
    """
    _check_size(virtual_size_bytes)
    refuse_if_in_use("resize", path)
    info = await disk_info(qemu, path, DiskFormat.QCOW2)
    if virtual_size_bytes < info.virtual_size_bytes:
        raise DiskError(
            "resize",
            path,
            f"it has {info.virtual_size_bytes} bytes, more than {virtual_size_bytes}",
            hint="a disk can only grow; export and import it to make it smaller",
        )
    await _qemu_img(
        qemu,
        "resize",
        path,
        ["-q", "-f", DiskFormat.QCOW2, _name(path), str(virtual_size_bytes)],
    )


async def convert_disk(
    qemu: Qemu,
    source: Path,
    source_format: DiskFormat,
    target: Path,
    target_format: DiskFormat,
    *,
    preallocate: bool = False,
    deadline_s: float = COPY_DEADLINE_S,
) -> None:
    """Copy `source` to the new file `target` in another format, sparse where it can be.

    preallocate: take all of its space, not only what is used (qcow2).

    The formats are never guessed: a guest could make a raw disk look like a qcow2 that names
    any of the host's files. Raises DiskError, also if `target` exists, ToolTimeout; then no
    `target` is left behind.
    """
    options = ["-q", "-f", source_format, "-O", target_format]
    if preallocate:
        options += ["-o", _PREALLOCATION]
    refuse_if_in_use("convert", source)
    await _refuse_references(qemu, source, source_format)
    if (source_format, target_format) == (DiskFormat.VHDX, DiskFormat.QCOW2):
        layout = await asyncio.to_thread(_vhdx_layout, source)
        if layout is not None:
            await create_disk(qemu, target, layout.virtual_size_bytes, preallocate=preallocate)
            await _copy_runs(qemu, source, target, layout, time.monotonic() + deadline_s)
            return
    _reserve("convert to", target)
    try:
        await _qemu_img(
            qemu,
            "convert",
            source,
            [*options, _name(source), _name(target)],
            deadline_s=deadline_s,
        )
    except BaseException:
        _remove(target)
        raise


def _vhdx_layout(path: Path) -> Layout | None:
    """Where the VHDX has data; None if only QEMU can tell, by reading all of it."""
    try:
        with path.open("rb") as file:
            layout = read_layout(file, _GAP_BYTES)
        _check_size(layout.virtual_size_bytes)
    except (MalformedVhdx, OSError, ValueError) as error:
        _log.info("the layout of %s is not known: %s", path, error)
        return None
    return layout


async def _copy_runs(
    qemu: Qemu, source: Path, target: Path, layout: Layout, until_s: float
) -> None:
    """Copy a VHDX's runs of data to the empty qcow2 `target`, which is removed if that fails."""
    try:
        for offset, size in layout.runs:
            ends = (
                "json:"
                + json.dumps({"driver": "raw", "offset": offset, "size": size, "file": node})
                for node in (
                    {"driver": disk_format, "file": {"driver": "file", "filename": _name(path)}}
                    for path, disk_format in ((source, "vhdx"), (target, "qcow2"))
                )
            )
            await _qemu_img(
                qemu,
                "convert",
                source,
                ["-q", "-n", "--target-is-zero", "-O", "raw", *ends],
                deadline_s=max(1.0, until_s - time.monotonic()),
            )
    except BaseException:
        _remove(target)
        raise


async def disk_info(qemu: Qemu, path: Path, disk_format: DiskFormat) -> DiskInfo:
    """What the image says about itself; also while a machine uses it. Raises DiskError."""
    # -U: only reads, so it may look past a running machine's lock.
    answer = await _query(qemu, "info", path, ["-U", "-f", disk_format])
    try:
        return DiskInfo(
            path=path,
            format=DiskFormat(str(answer["format"])),
            virtual_size_bytes=int(str(answer["virtual-size"])),
            allocated_bytes=int(str(answer["actual-size"])),
            dirty=bool(answer.get("dirty-flag", False)),
        )
    except (KeyError, ValueError) as error:
        raise DiskError("info", path, f"unexpected answer: {answer}") from error


async def check_disk(
    qemu: Qemu, path: Path, *, repair_leaks: bool = False, deadline_s: float = COPY_DEADLINE_S
) -> CheckReport:
    """Check the qcow2 at `path`; `repair_leaks` frees lost clusters, which risks nothing.

    Raises DiskError if it is no qcow2 or cannot be read. Damage is not an error but the answer.
    """
    refuse_if_in_use("check", path)
    options = ["-r", "leaks"] if repair_leaks else []
    answer = await _query(
        qemu,
        "check",
        path,
        [*options, "-f", DiskFormat.QCOW2],
        deadline_s=deadline_s,
        accepted=frozenset({0, _CHECK_CORRUPT, _CHECK_LEAKS}),
    )
    leaks_left = int(str(answer.get("leaks", 0)))
    return CheckReport(leaks_left, int(str(answer.get("corruptions", 0))))


def is_lock_failure(text: str) -> bool:
    """Whether QEMU's or qemu-img's message says that somebody else has the image open."""
    return all(word in text for word in _LOCKED)


async def _refuse_references(qemu: Qemu, path: Path, disk_format: DiskFormat) -> None:
    """Raise DiskError if the image names other files as its backing or data file.

    qemu-img would follow them, so an image from elsewhere could copy any file of this user's
    into the new disk, where the guest reads it.
    """
    answer = await _query(qemu, "info", path, ["-U", "-f", disk_format])
    specific = answer.get("format-specific")
    data = specific.get("data") if isinstance(specific, Mapping) else None
    data_file = data.get("data-file") if isinstance(data, Mapping) else None
    if "backing-filename" in answer or data_file is not None:
        raise DiskError(
            "convert",
            path,
            "it refers to other files",
            hint="flatten it first where it was made: qemu-img convert -O qcow2 old new",
        )


async def _query(
    qemu: Qemu,
    operation: str,
    path: Path,
    options: Sequence[str],
    *,
    deadline_s: float = QUICK_DEADLINE_S,
    accepted: frozenset[int] = frozenset({0}),
) -> dict[str, object]:
    """Run a qemu-img command that answers in JSON."""
    completed = await _qemu_img(
        qemu,
        operation,
        path,
        ["--output=json", *options, _name(path)],
        deadline_s=deadline_s,
        accepted=accepted,
    )
    try:
        answer = json.loads(completed.stdout)
    except ValueError as error:
        raise DiskError(operation, path, f"unexpected answer: {completed.stdout}") from error
    if not isinstance(answer, dict):
        raise DiskError(operation, path, f"unexpected answer: {completed.stdout}")
    return answer


async def _qemu_img(
    qemu: Qemu,
    operation: str,
    path: Path,
    options: Sequence[str],
    *,
    deadline_s: float = QUICK_DEADLINE_S,
    accepted: frozenset[int] = frozenset({0}),
    hint: str = "",
) -> Completed:
    """Run `qemu-img operation options`; `path` is the image an error is about."""
    argv = [str(qemu.image_tool), operation, *options]
    try:
        completed = await run(argv, deadline_s=deadline_s)
    except OSError as error:
        raise DiskError(operation, path, str(error)) from error
    if completed.exit_code not in accepted:
        if is_lock_failure(completed.stderr):
            raise DiskInUse(operation, path, completed.stderr)
        raise DiskError(operation, path, completed.stderr, hint=hint)
    return completed


def _name(path: Path) -> str:
    """`path` as qemu-img takes it: absolute, or a colon in it could make it a URL."""
    return str(openable(path.absolute()))


def _check_size(size_bytes: int) -> None:
    if not MINIMUM_DISK_BYTES <= size_bytes <= MAXIMUM_DISK_BYTES:
        raise ValueError(f"a disk of {size_bytes} bytes is not possible (1 MiB to 64 TiB)")


def _reserve(operation: str, path: Path) -> None:
    """Create `path` as an empty private file; qemu-img would overwrite whatever is there."""
    try:
        path.touch(PRIVATE_MODE, exist_ok=False)
    except OSError as error:
        raise DiskError(operation, path, error.strerror or str(error)) from error


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        delete(path)
