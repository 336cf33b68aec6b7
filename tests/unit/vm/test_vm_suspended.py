"""The description of a suspended machine: read back as written, refused when it is not that."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vm.disk import DiskFormat
from vm.errors import SnapshotUnusable
from vm.hotplug import AttachedDisk
from vm.suspended import (
    FILES,
    Description,
    check_disks,
    check_files,
    decode_description,
    digest_of,
    encode_description,
    stamp_of,
)


def description(disk: Path, *, notes: tuple[str, ...] = ()) -> Description:
    attached = AttachedDisk("a-b", disk, 3, DiskFormat.RAW, read_only=True, waits_for_space=False)
    return Description(
        key="k",
        disks=((attached, (1, 2, 3)),),
        ports=("org.isthmus.drive.1",),
        digests={name: (1, 2) for name in FILES},
        notes=notes,
    )


@given(st.lists(st.text()))
def test_it_is_read_as_it_was_written(notes: list[str]) -> None:
    written = description(Path("/disks/ö.raw"), notes=tuple(notes))
    assert decode_description(encode_description(written)) == written


@given(st.integers(0), st.integers(0, 7))
def test_a_flipped_bit_is_noticed_or_means_the_same(at: int, bit: int) -> None:
    written = description(Path("/disks/a.raw"), notes=("n",))
    data = bytearray(encode_description(written))
    data[at % len(data)] ^= 1 << bit
    with contextlib.suppress(SnapshotUnusable):
        assert decode_description(bytes(data)) == written


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b'{"description": {}, "crc32": 1}'])
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(SnapshotUnusable):
        decode_description(data)


def test_a_disk_that_was_written_to_is_another(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"1")
    attached = AttachedDisk("a", disk, 0)
    saved = Description("k", ((attached, stamp_of(disk)),), (), {}, ())
    check_disks(saved)
    os.utime(disk, ns=(0, 0))
    with pytest.raises(SnapshotUnusable, match="changed"):
        check_disks(saved)
    disk.unlink()
    with pytest.raises(SnapshotUnusable):
        check_disks(saved)


def test_files_are_compared_with_their_digests(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes(name.encode() * 1000)
    digests = {name: digest_of(tmp_path / name) for name in FILES}
    saved = Description("k", (), (), digests, ())
    check_files(tmp_path, saved)
    (tmp_path / FILES[0]).write_bytes(b"other")
    with pytest.raises(SnapshotUnusable, match=FILES[0]):
        check_files(tmp_path, saved)
