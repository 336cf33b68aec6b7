"""Disks by which drives' large contents pass (docs/drives.md §12): a file and a disk for each port.

A disk is plugged in when the server of a drive finds that it would be worth it, and stays, as the
port does, for the next mount that has the port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from interop.drives.bulk import make_file
from service.driveserver import TAKES_BULK
from vm.disk import DiskFormat
from vm.machine import VirtualMachine


class BulkDisks:
    """Those of the machine that runs; their files are in `directory`, this user's alone."""

    def __init__(self, vm: Callable[[], VirtualMachine], directory: Path) -> None:
        self._vm = vm
        self._directory = directory
        self._made: set[str] = set()
        """Ports for which there is a file."""
        self._plugged: set[str] = set()
        """Those whose disk is in the machine."""
        self._plugging = asyncio.Lock()

    def _file(self, port: str) -> Path:
        return self._directory / _serial(port)

    async def server_arguments(self, port: str) -> list[str]:
        """What the next server of a port is to be started with. Raises OSError."""
        if not TAKES_BULK:
            return []
        if port not in self._plugged:
            self._made.add(port)
            await asyncio.to_thread(make_file, self._file(port))
        return ["--bulk", str(self._file(port))]

    def is_plugged_in(self, port: str) -> bool:
        """Whether a port has its disk, from the mount before."""
        return port in self._plugged

    async def plug_in(self, port: str) -> str:
        """Have a port's disk plugged in; returns its serial. Raises VmError."""
        async with self._plugging:
            if port not in self._plugged:
                # What cannot be written is an error in the guest, which then does without: nothing
                # is lost, so nobody has to wait for space.
                await self._vm().attach_disk(
                    self._file(port),
                    _serial(port),
                    format=DiskFormat.RAW,
                    keeps_space=True,
                    waits_for_space=False,
                )
                self._plugged.add(port)
        return _serial(port)

    async def unplug_all(self) -> None:
        """Take all out. Raises VmError."""
        async with self._plugging:
            for port in tuple(self._plugged):
                await self._vm().detach_disk(_serial(port))
                self._plugged.remove(port)

    def on_machine_ended(self) -> None:
        """No disk is plugged in any more."""
        self._plugged.clear()
        while self._made:
            self._file(self._made.pop()).unlink(missing_ok=True)


def _serial(port: str) -> str:
    return f"{port}.bulk"
