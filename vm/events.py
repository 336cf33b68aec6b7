"""What QEMU says of its own accord: its end, disks that fail, a guest that cannot go on.

A write for which the host has no space pauses the guest instead of failing (`vm.hotplug`): a
failed write would turn a distribution's file system read-only and lose what is on its way there.
Here the guest is let go on as soon as there is space again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vm.errors import VmError
from vm.exit_report import PROCESSOR_FAILURE
from vm.hotplug import AttachedDisk
from vm.qmp import Event, Qmp, event_data

_log = logging.getLogger(__name__)

ENOUGH_BYTES = 16 << 20
"""Free space with which it is worth while to go on."""
_RETRY_S = 1.0
_SOON_S = 10.0
_LONGEST_RETRY_S = 60.0
"""Where there is space and yet none for us (a quota, say), it is tried ever more rarely."""


@dataclass(frozen=True)
class DiskFailure:
    """The host could not read or write a disk's image (QMP event BLOCK_IO_ERROR)."""

    serial: str
    path: Path
    operation: str
    """"read" or "write"."""
    reason: str
    """The system's words."""
    is_full: bool
    """Whether the host has no space."""
    pauses: bool
    """Whether the machine waits for it to end; else the guest has been told that it failed."""


class EventWatch:
    """Follows the events of the machine behind `qmp`; `is_running` tells whether it should run.

    `find_disk` finds a disk by its node's name; any other node is `system_image`'s.
    `on_disk_failure` is told of each failure once, but for disks that do not wait for space:
    whoever is at work on one of these asks for them. `on_resumed` is told when the machine goes
    on after one that had paused it.
    """

    def __init__(
        self,
        qmp: Qmp,
        find_disk: Callable[[str], AttachedDisk | None],
        is_running: Callable[[], bool],
        system_image: Path,
    ) -> None:
        self._system_image = system_image
        self._qmp = qmp
        self._find_disk = find_disk
        self._is_running = is_running
        self._resuming: asyncio.Task[None] | None = None
        self._retry_s = _RETRY_S
        self._resumed_at = float("-inf")
        self._resume_lock = asyncio.Lock()
        self.on_disk_failure: Callable[[DiskFailure], None] = lambda failure: None
        self.on_resumed: Callable[[DiskFailure], None] = lambda failure: None
        self.end_reason: str | None = None
        """Why QEMU says that it ends."""
        self.stalled: DiskFailure | None = None
        """What the paused machine waits for."""
        self.reported: dict[str, DiskFailure] = {}
        """The first failure of each disk, by serial, that the guest has been told of."""

    async def follow(self) -> None:
        """Follow events until the connection ends."""
        names = ("SHUTDOWN", "STOP", "BLOCK_IO_ERROR")
        try:
            with self._qmp.events(*names) as events:
                async for event in events:
                    await self._on_event(event)
        finally:
            if self._resuming is not None:
                self._resuming.cancel()

    async def _on_event(self, event: Event) -> None:
        data = event_data(event)
        if event["event"] == "SHUTDOWN":
            self.end_reason = self.end_reason or str(data.get("reason"))
        elif not self._is_running():
            return
        elif event["event"] == "BLOCK_IO_ERROR":
            self._on_disk_failure(event)
        elif self.stalled is None:
            _log.warning("QEMU reports %s %s", event["event"], dict(data))
            await self._end_if_broken()

    async def _end_if_broken(self) -> None:
        """End a machine whose processors stopped for good, so that nobody waits for it.

        When an accelerator cannot go on, QEMU does not end but pauses: as "internal-error" under
        KVM, as plain "paused" under WHPX.
        """
        with contextlib.suppress(VmError):
            status = await self._qmp.query_status()
            is_paused = status == "paused" and not self._qmp.pause_requested
            if status == "internal-error" or is_paused:
                self.end_reason = PROCESSOR_FAILURE
                await self._qmp.quit()

    # -- disks ---------------------------------------------------------------------------------

    def _on_disk_failure(self, event: Event) -> None:
        """One request has failed; many do at once, and only the first is news."""
        data = event_data(event)
        disk = self._find_disk(str(data.get("node-name")))
        failure = DiskFailure(
            serial="" if disk is None else disk.serial,
            path=self._system_image if disk is None else disk.path,
            operation=str(data.get("operation")),
            reason=str(data.get("reason")),
            # "nospace" says this only where the machine pauses for it.
            is_full=data.get("nospace") is True or data.get("reason") == os.strerror(errno.ENOSPC),
            pauses=data.get("action") == "stop",
        )
        if failure.pauses:
            if self.stalled is not None:
                return
            self.stalled = failure
            is_again = time.monotonic() < self._resumed_at + _SOON_S
            self._retry_s = min(self._retry_s * 2, _LONGEST_RETRY_S) if is_again else _RETRY_S
            if self._resuming is None or self._resuming.done():
                self._resuming = asyncio.create_task(self._resume_in_time())
        elif self.reported.setdefault(failure.serial, failure) is not failure:
            return
        _log.error("%s", failure)
        if disk is None or disk.waits_for_space:
            self.on_disk_failure(failure)

    async def _resume_in_time(self) -> None:
        """Let the machine go on when it can."""
        while self.stalled is not None:
            await asyncio.sleep(self._retry_s)
            await self.resume()

    async def resume(self) -> bool:
        """Let a stalled machine go on if there is space; whether it does not wait any more."""
        async with self._resume_lock:
            if self.stalled is None:
                return True
            if await asyncio.to_thread(_free_bytes, self.stalled.path) < ENOUGH_BYTES:
                return False
            failure, self.stalled = self.stalled, None
            self._resumed_at = time.monotonic()
            self.on_resumed(failure)
            with contextlib.suppress(VmError):  # it is ending
                await self._qmp.cont()
            return True


def _free_bytes(path: Path) -> int:
    """Space for the image at `path`, which may have lost its name; 0 if nothing is known."""
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return 0
