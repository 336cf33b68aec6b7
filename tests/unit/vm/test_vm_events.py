"""What QEMU's events lead to: told once each, a stalled machine goes on when there is space."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.vm.vm_samples import FakeMonitor, connected, event, ok
from vm import events as module
from vm.events import ENOUGH_BYTES, DiskFailure, EventWatch
from vm.exit_report import PROCESSOR_FAILURE
from vm.hotplug import AttachedDisk

DISK = AttachedDisk("ada", Path("/disks/ada.qcow2"), 0)
IMPORTED = AttachedDisk("new", Path("/disks/new.qcow2"), 1, waits_for_space=False)
SYSTEM = Path("/image/system.erofs")


class World:
    """A fake QEMU, and a host with as much space as the test says."""

    def __init__(self, watch: EventWatch, monitor: FakeMonitor) -> None:
        self.watch = watch
        self.monitor = monitor
        self.failures: list[DiskFailure] = []
        self.resumed: list[DiskFailure] = []
        watch.on_disk_failure = self.failures.append
        watch.on_resumed = self.resumed.append

    def fail(self, node: str, action: str = "stop", **fields: object) -> None:
        data = {"operation": "write", "reason": "No space left on device", "nospace": True}
        self.monitor.send(
            event("BLOCK_IO_ERROR", **{"node-name": node, "action": action, **data, **fields})
        )

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def world(status: str = "io-error") -> AsyncIterator[World]:
    disks = {disk.node_name: disk for disk in (DISK, IMPORTED)}
    async with connected(lambda *_: [ok({"status": status})]) as (qmp, monitor):
        watch = EventWatch(qmp, disks.get, lambda: True, SYSTEM)
        following = asyncio.create_task(watch.follow())
        await asyncio.sleep(0)  # it listens from now on
        try:
            yield World(watch, monitor)
        finally:
            following.cancel()


@pytest.fixture
def free_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the host has; changed by tests."""
    free = [0]
    usage = lambda path: SimpleNamespace(free=free[0])  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", usage)
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    return free


def test_a_machine_that_has_no_space_goes_on_when_there_is(free_bytes: list[int]) -> None:
    async def scenario() -> None:
        async with world() as it:
            for _ in range(5):  # of many requests that fail at once, the first is news
                it.fail("disk0")
            it.monitor.send(event("STOP"))
            await it.until(lambda: it.failures)
            (failure,) = it.failures
            assert (failure.serial, failure.path) == ("ada", DISK.path)
            assert (failure.is_full, failure.pauses) == (True, True)
            assert it.watch.stalled == failure
            assert not await it.watch.resume()
            free_bytes[0] = ENOUGH_BYTES
            await it.monitor.wait_for("cont")
            assert it.watch.stalled is None
            assert it.resumed == [failure]
            assert "quit" not in it.monitor.commands

    asyncio.run(scenario())


def test_space_that_does_not_help_is_tried_ever_more_rarely(free_bytes: list[int]) -> None:
    async def scenario() -> None:
        free_bytes[0] = ENOUGH_BYTES
        async with world() as it:
            waits = []
            for count in range(1, 5):
                it.fail("disk0")
                await it.until(lambda: len(it.resumed) == count)  # noqa: B023
                waits.append(it.watch._retry_s)
            assert waits == [0.01, 0.02, 0.04, 0.08]

    asyncio.run(scenario())


def test_failures_that_the_guest_is_told_of(free_bytes: list[int]) -> None:
    async def scenario() -> None:
        async with world() as it:
            it.fail("disk1", "report", nospace=False)
            it.fail("disk0", "report", nospace=False, operation="read", reason="I/O error")
            it.fail("disk0", "report", nospace=False, operation="read", reason="I/O error")
            it.fail("system", "report", nospace=False, operation="read", reason="I/O error")
            await it.until(lambda: len(it.failures) == 2)
            assert [failure.path for failure in it.failures] == [DISK.path, SYSTEM]
            assert it.watch.stalled is None
            # Whoever is at work on the new disk asks for this.
            new = it.watch.reported["new"]
            assert (new.is_full, new.pauses, new.operation) == (True, False, "write")
            assert not it.watch.reported["ada"].is_full

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "ends"), [("internal-error", True), ("paused", True), ("running", False)]
)
def test_a_machine_that_cannot_go_on_is_ended(status: str, ends: bool) -> None:
    async def scenario() -> None:
        async with world(status) as it:
            it.monitor.send(event("STOP"))
            await it.monitor.wait_for("query-status")
            if ends:
                await it.monitor.wait_for("quit")
            assert it.watch.end_reason == (PROCESSOR_FAILURE if ends else None)

    asyncio.run(scenario())


def test_the_first_reason_for_the_end_counts() -> None:
    async def scenario() -> None:
        async with world() as it:
            it.monitor.send(event("SHUTDOWN", reason="guest-reset"))
            it.monitor.send(event("SHUTDOWN", reason="host-qmp-quit"))
            await it.until(lambda: it.watch.end_reason)
            assert it.watch.end_reason == "guest-reset"

    asyncio.run(scenario())
