"""Disk images through the real qemu-img."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.vm_guests import finish, real_qemu
from vm.disk import (
    DiskFormat,
    check_disk,
    convert_disk,
    create_disk,
    disk_info,
    resize_disk,
)
from vm.errors import DiskError
from vm.spec import Qemu

pytestmark = pytest.mark.vm

MIB = 1 << 20


@pytest.fixture(scope="module")
def qemu() -> Qemu:
    return asyncio.run(real_qemu())


def write_pattern(path: Path, size_bytes: int) -> bytes:
    """A raw disk with something at its beginning, middle and end, and holes between."""
    marks = [os.urandom(4096) for _ in range(3)]
    with path.open("wb") as file:
        for mark, offset in zip(marks, (0, size_bytes // 2, size_bytes - 4096), strict=True):
            file.seek(offset)
            file.write(mark)
    return path.read_bytes()


def test_a_new_disk_is_large_for_the_guest_and_small_for_the_host(
    tmp_path: Path, qemu: Qemu
) -> None:
    async def scenario() -> None:
        path = tmp_path / "d.qcow2"
        await create_disk(qemu, path, 1 << 40)
        info = await disk_info(qemu, path, DiskFormat.QCOW2)
        assert info.virtual_size_bytes == 1 << 40
        assert info.allocated_bytes < MIB
        assert not info.dirty
        report = await check_disk(qemu, path)
        assert report.is_sound
        assert report.leaked_clusters == 0

    finish(scenario())


def test_a_disk_grows_and_does_not_shrink(tmp_path: Path, qemu: Qemu) -> None:
    async def scenario() -> None:
        path = tmp_path / "d.qcow2"
        await create_disk(qemu, path, 64 * MIB)
        await resize_disk(qemu, path, 128 * MIB)
        with pytest.raises(DiskError) as caught:
            await resize_disk(qemu, path, 64 * MIB)
        assert "only grow" in caught.value.hint
        info = await disk_info(qemu, path, DiskFormat.QCOW2)
        assert info.virtual_size_bytes == 128 * MIB

    finish(scenario())


@pytest.mark.parametrize("through", [DiskFormat.QCOW2, DiskFormat.VHDX, DiskFormat.VHD])
def test_every_byte_survives_the_way_through_each_format(
    tmp_path: Path, qemu: Qemu, through: DiskFormat
) -> None:
    async def scenario() -> None:
        raw, there, back = tmp_path / "raw", tmp_path / "there", tmp_path / "back"
        content = write_pattern(raw, 64 * MIB)
        await convert_disk(qemu, raw, DiskFormat.RAW, there, through)
        info = await disk_info(qemu, there, through)
        assert info.virtual_size_bytes >= len(content)
        assert info.allocated_bytes < 16 * MIB
        assert there.stat().st_mode & 0o077 == 0
        await convert_disk(qemu, there, through, back, DiskFormat.RAW)
        read = back.read_bytes()
        assert read[: len(content)] == content
        # VHD counts in cylinders, so it may be a little larger than what it was made from.
        assert not any(read[len(content) :])

    finish(scenario())


def test_a_wrong_format_is_an_error_and_leaves_no_target(tmp_path: Path, qemu: Qemu) -> None:
    async def scenario() -> None:
        source, target = tmp_path / "text", tmp_path / "target"
        source.write_bytes(b"nothing like a disk" * 1000)
        with pytest.raises(DiskError):
            await convert_disk(qemu, source, DiskFormat.QCOW2, target, DiskFormat.RAW)
        assert not target.exists()

    finish(scenario())


def test_an_image_cannot_smuggle_another_file_in(tmp_path: Path, qemu: Qemu) -> None:
    secret, hostile, target = tmp_path / "secret", tmp_path / "hostile", tmp_path / "target"
    secret.write_bytes(b"private" * 1000)
    argv = [str(qemu.image_tool), "create", "-q", "-f", "qcow2"]
    subprocess.run(
        [*argv, "-b", str(secret), "-F", "raw", str(hostile), "1M"],
        check=True,
        stdin=subprocess.DEVNULL,
    )

    async def scenario() -> None:
        with pytest.raises(DiskError, match="other files"):
            await convert_disk(qemu, hostile, DiskFormat.QCOW2, target, DiskFormat.RAW)
        assert not target.exists()

    finish(scenario())


def test_a_raw_disk_that_looks_like_a_qcow2_stays_what_it_was_said_to_be(
    tmp_path: Path, qemu: Qemu
) -> None:
    async def scenario() -> None:
        inner, target = tmp_path / "inner.qcow2", tmp_path / "target"
        await create_disk(qemu, inner, 64 * MIB)
        await convert_disk(qemu, inner, DiskFormat.RAW, target, DiskFormat.RAW)
        assert target.read_bytes()[:4] == b"QFI\xfb"

    finish(scenario())


def test_damage_is_found(tmp_path: Path, qemu: Qemu) -> None:
    async def scenario() -> None:
        raw, path = tmp_path / "raw", tmp_path / "d.qcow2"
        write_pattern(raw, 64 * MIB)
        await convert_disk(qemu, raw, DiskFormat.RAW, path, DiskFormat.QCOW2)
        content = bytearray(path.read_bytes())
        # The refcount table's offset is at byte 48 of the header (docs/interop/qcow2.rst);
        # its first entry leads to the counts, and a zero there frees a cluster that is in use.
        table = int.from_bytes(content[48:56], "big")
        block = int.from_bytes(content[table : table + 8], "big")
        content[block : block + 4096] = bytes(4096)
        path.write_bytes(content)
        report = await check_disk(qemu, path)
        assert not report.is_sound
        assert report.corruptions > 0

    finish(scenario())
