"""Plugging disks in and out, with a fake QEMU that refuses what it is told to refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.vm.vm_samples import connected, event, ok, refusal
from vm.errors import DiskError, DiskInUse
from vm.hotplug import AttachedDisk
from vm.plug import plug_in, unplug

DISK = AttachedDisk("serial", Path("/disks/d.qcow2"), 0)
WAYS = ("io_uring", "threads")


def way_of(arguments: Mapping[str, object]) -> object:
    file = arguments["file"]
    assert isinstance(file, dict)
    return file["aio"]


@pytest.mark.parametrize(
    "why",
    [
        "Parameter 'aio' does not accept value 'io_uring'",
        "Unable to use io_uring: failed to init linux io_uring ring",
    ],
)
def test_a_host_without_io_uring_gets_threads(why: str) -> None:
    def answer(command: str, arguments: Mapping[str, object]) -> list[dict[str, object]]:
        if command == "blockdev-add" and way_of(arguments) == "io_uring":
            return [refusal(why)]
        return [ok()]

    async def scenario() -> None:
        async with connected(answer) as (qmp, monitor):
            assert await plug_in(qmp, DISK, WAYS) == "threads"
            assert monitor.commands[1:] == ["blockdev-add", "blockdev-add", "device_add"]

    asyncio.run(scenario())


def test_the_best_way_is_taken_when_it_is_there() -> None:
    async def scenario() -> None:
        async with connected(lambda *_: [ok()]) as (qmp, monitor):
            assert await plug_in(qmp, DISK, WAYS) == "io_uring"
            assert monitor.commands[1:] == ["blockdev-add", "device_add"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("why", "kind"),
    [
        ('Failed to get "write" lock', DiskInUse),
        ("Image is not in qcow2 format", DiskError),
        ("Could not open '/disks/threads': No such file or directory", DiskError),
    ],
)
def test_any_other_refusal_is_not_tried_again(why: str, kind: type[DiskError]) -> None:
    async def scenario() -> None:
        async with connected(lambda *_: [refusal(why)]) as (qmp, monitor):
            with pytest.raises(kind) as caught:
                await plug_in(qmp, DISK, WAYS)
            assert type(caught.value) is kind
            assert caught.value.detail == why
            assert monitor.commands[1:] == ["blockdev-add"]

    asyncio.run(scenario())


def test_an_image_whose_device_is_refused_is_closed_again() -> None:
    def answer(command: str, _: Mapping[str, object]) -> list[dict[str, object]]:
        return [refusal("lun already used") if command == "device_add" else ok()]

    async def scenario() -> None:
        async with connected(answer) as (qmp, monitor):
            with pytest.raises(DiskError, match="already used"):
                await plug_in(qmp, DISK, WAYS)
            assert monitor.commands[-1] == "blockdev-del"

    asyncio.run(scenario())


def test_the_image_is_closed_after_the_guest_has_lost_it() -> None:
    async def scenario() -> None:
        gone = event("DEVICE_DELETED", device=DISK.device_id, path="/x")
        async with connected(lambda *_: [ok(), gone]) as (qmp, monitor):
            await unplug(qmp, DISK)
            assert monitor.commands[1:] == ["device_del", "blockdev-del"]

    asyncio.run(scenario())


def test_a_disk_that_qemu_does_not_let_go_is_an_error() -> None:
    async def scenario() -> None:
        async with connected(lambda *_: [refusal("busy")]) as (qmp, _):
            with pytest.raises(DiskError, match="busy") as caught:
                await unplug(qmp, DISK)
            assert caught.value.operation == "detach"

    asyncio.run(scenario())
