from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vm.disk import DiskFormat
from vm.hotplug import MAXIMUM_LUNS, AttachedDisk, check_serial, free_lun

DISK = AttachedDisk("0f0e0d0c-0b0a-0908-0706-050403020100", Path("/disks/d.qcow2"), 3)


def test_node_and_device_belong_together_and_bear_the_serial() -> None:
    blockdev, device = DISK.blockdev_options(), DISK.device_options()
    assert device["drive"] == blockdev["node-name"]
    assert device["serial"] == DISK.serial
    assert (device["bus"], device["scsi-id"], device["lun"]) == ("scsi0.0", 0, 3)
    json.dumps([blockdev, device])


def test_space_goes_back_to_the_host_and_flushes_reach_the_disk() -> None:
    options = DISK.blockdev_options()
    file = options["file"]
    assert isinstance(file, dict)
    for node in (options, file):
        assert node["discard"] == "unmap"
        assert node["cache"] == {"direct": False, "no-flush": False}
    assert options["detect-zeroes"] == "unmap"


def test_a_fixed_disk_keeps_its_space() -> None:
    options = replace(DISK, keeps_space=True).blockdev_options()
    file = options["file"]
    assert isinstance(file, dict)
    assert options["discard"] == file["discard"] == "ignore"
    assert options["detect-zeroes"] == "off"
    assert file["cache"] == {"direct": False, "no-flush": False}


def test_a_full_host_pauses_the_machine_unless_the_disk_can_be_made_again() -> None:
    assert DISK.device_options()["werror"] == "enospc"
    assert replace(DISK, waits_for_space=False).device_options()["werror"] == "report"


def test_a_disk_that_is_only_read() -> None:
    options = replace(DISK, format=DiskFormat.VHDX, read_only=True).blockdev_options()
    assert options["driver"] == "vhdx"
    assert options["read-only"] is True


def test_nothing_switches_the_images_lock_off() -> None:
    assert '"locking"' not in json.dumps(DISK.blockdev_options())
    assert "share-rw" not in DISK.device_options()


@given(st.integers(0, MAXIMUM_LUNS - 1))
def test_names_fit_into_qemus_limit(lun: int) -> None:
    disk = AttachedDisk("s", Path("/d"), lun)
    assert len(disk.node_name) <= 31
    assert disk.node_name != disk.device_id


@pytest.mark.parametrize("serial", ["a", "A" * 36, "0.1_2-3"])
def test_serials_that_arrive_whole_are_taken(serial: str) -> None:
    check_serial(serial)


@pytest.mark.parametrize("serial", ["", "A" * 37, "a b", "-a", "a,b", "a\n", "é"])
def test_serials_that_would_be_cut_or_misread_are_refused(serial: str) -> None:
    with pytest.raises(ValueError, match="serial"):
        check_serial(serial)


@pytest.mark.parametrize("lun", [-1, MAXIMUM_LUNS])
def test_luns_out_of_range_are_refused(lun: int) -> None:
    with pytest.raises(ValueError, match="LUN"):
        AttachedDisk("a", Path("/d"), lun)


@given(st.sets(st.integers(0, MAXIMUM_LUNS - 1), max_size=MAXIMUM_LUNS - 1))
def test_a_free_lun_is_the_lowest_not_taken(taken: set[int]) -> None:
    lun = free_lun(taken)
    assert lun not in taken
    assert set(range(lun)) <= taken


def test_there_are_only_so_many() -> None:
    with pytest.raises(ValueError, match="taken"):
        free_lun(set(range(MAXIMUM_LUNS)))
