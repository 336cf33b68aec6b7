"""The host's drives, as distributions mount them: each has a port, and a server in its own process.

The agent asks for a drive and makes the mount; here a server is started for it, started again when
it dies, and ended with the mount.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from interop.drives.bulk import WANTS_BULK
from interop.drives.errors import DriveError
from interop.drives.metadata import Options
from interop.drives.roots import CAN_SERVE, Root, find_roots
from service.bulkdisks import BulkDisks
from service.driveserver import start_server
from service.errors import ServiceError
from service.link import AgentLink
from vm.errors import VmError
from vm.machine import VirtualMachine
from vm.process import ChildProcess
from wire import failures
from wire.agent import (
    AnnounceDrive,
    DriveClosed,
    DriveOpened,
    EndDrive,
    OpenDrive,
    UseBulkDisk,
)
from wire.client import MountedDrive
from wire.codec import from_json_object, to_json_object
from wire.common import Done
from wire.preamble import NONCE_BYTES

log = logging.getLogger(__name__)

SPARE_PORTS = 16
"""Drives that can be mounted at once, in all distributions together."""

_NODES_BITS = 40
"""Each server of a mount begins its node numbers this many bits higher than the one before."""
_IS_FINAL = frozenset({3, 4})
"""Exit statuses with which a mount is at its end: interop.drives.__main__.MALFORMED and OVER."""
_MOST_FAILURES = 5
_SHORT_LIFE_S = 10.0
_END_S = 5.0


@dataclass
class Drive:
    """One mount. `state` is what its server says of itself, for the user."""

    port: str
    socket: socket.socket
    request: OpenDrive
    root: Root
    state: str = "starting"
    incarnation: int = 0
    is_served: bool = False
    """Whether a server of it has ever been answered by the guest."""
    is_closed: bool = False
    is_resting: bool = False
    """Whether it waits for the server after the next start of a machine that is being saved."""
    nonce: str = ""
    """What its next server greets with."""
    child: ChildProcess | None = None
    bulk: asyncio.Task[None] | None = field(default=None, repr=False)
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Drives:
    """Every mount of every distribution. `link` and `vm` are those of the running machine.

    `allowed` says which drives distributions may have (None: all), as .wslconfig has it now;
    `directory`, of this user alone, is where the files of bulk disks are.
    """

    def __init__(
        self,
        vm: Callable[[], VirtualMachine],
        link: Callable[[], AgentLink | None],
        allowed: Callable[[], frozenset[str] | None],
        directory: Path,
    ) -> None:
        self._vm = vm
        self._link = link
        self._allowed = allowed
        self._bulk_disks = BulkDisks(vm, directory)
        self._drives: dict[str, Drive] = {}
        self._free: list[tuple[str, socket.socket]] = []
        self._plugged = 0

    def letters(self) -> tuple[str, ...]:
        """The drives that a distribution mounts by itself, as letters."""
        allowed = self._allowed()
        if not CAN_SERVE or allowed == frozenset():
            return ()
        letters = find_roots(os.environ).letters()
        return tuple(letter for letter in letters if allowed is None or letter in allowed)

    def status(self, names: Mapping[str, str]) -> tuple[MountedDrive, ...]:
        """The mounts there are, for the user; `names` are those of distributions by identity."""
        mounted = (
            MountedDrive(
                source=drive.root.source,
                distribution=names.get(drive.request.distribution, ""),
                place=drive.request.place,
                directory=drive.root.directory,
                state=drive.state,
            )
            for drive in self._drives.values()
        )
        # Distributions mount theirs side by side; the user is to find them again.
        return tuple(sorted(mounted, key=lambda drive: (drive.distribution, drive.place)))

    async def open(self, request: OpenDrive) -> DriveOpened:
        """Answer the agent: start a server for a mount. Raises ServiceError."""
        try:
            options = Options.parse(request.options)
            root = await asyncio.to_thread(self._resolve, request.source)
        except DriveError as error:
            raise ServiceError(failures.DRIVE, str(error), hint=error.hint) from None
        port, sock = await self._take_port()
        nonce = secrets.token_hex(NONCE_BYTES)
        drive = self._drives[port] = Drive(port, sock, request, root, nonce=nonce)
        self._serve(drive)
        return DriveOpened(port=port, nonce=nonce, source=root.source, read_only=options.read_only)

    def _resolve(self, source: str) -> Root:
        root = find_roots(os.environ).resolve(source)
        allowed = self._allowed()
        letter = "UNC" if root.source.startswith("\\\\") else root.source[:1].upper()
        if allowed is not None and letter not in allowed:
            raise ServiceError(
                failures.DRIVE,
                f"{source} is not open to distributions",
                hint="hostFileSystemAccess in .wslconfig says which drives are.",
            )
        if not os.path.isdir(root.directory):
            raise ServiceError(
                failures.DRIVE,
                f"{source} is not there: '{root.directory}' is no directory of the host",
                hint="Plug the drive in, or connect to the server, and mount it again.",
            )
        return root

    async def _take_port(self) -> tuple[str, socket.socket]:
        if self._free:
            return self._free.pop()
        self._plugged += 1
        name = f"org.isthmus.drive.{self._plugged}"
        try:
            return name, await self._vm().plug_port(name)
        except VmError as error:
            raise ServiceError(failures.DRIVE, error.message, hint=error.hint) from error

    # -- servers -------------------------------------------------------------------------------

    async def _supervise(self, drive: Drive, nonce: str) -> None:
        """Have a server run until the mount is over, or cannot be served."""
        loop = asyncio.get_running_loop()
        failed = 0
        while not drive.is_closed:
            started = loop.time()
            try:
                drive.child = await self._start_server(drive, nonce)
                if drive.is_closed or drive.is_resting:
                    drive.child.terminate()
                status = await drive.child.wait()
                why = drive.child.stderr_tail.strip()
            except OSError as error:
                status, why = 1, str(error)
            if drive.is_closed or drive.is_resting:
                break
            failed = failed + 1 if loop.time() - started < _SHORT_LIFE_S else 1
            log.error("the server of %s ended with status %d: %s", drive.request.place, status, why)
            last = why.rpartition("\n")[2]
            if status in _IS_FINAL or not drive.is_served or failed > _MOST_FAILURES:
                drive.state = f"failed: {last}" if last else "failed"
                await self._tell(EndDrive(port=drive.port))
                return
            drive.state = "restarting"
            drive.incarnation += 1
            nonce = secrets.token_hex(NONCE_BYTES)
            await self._tell(AnnounceDrive(port=drive.port, nonce=nonce))

    async def _start_server(self, drive: Drive, nonce: str) -> ChildProcess:
        is_first = True

        def on_line(line: str) -> None:
            nonlocal is_first
            if line == WANTS_BULK or (is_first and self._bulk_disks.is_plugged_in(drive.port)):
                drive.bulk = asyncio.create_task(self._use_bulk_disk(drive))
            is_first = False
            if line != WANTS_BULK:
                drive.is_served = True
                drive.state = line

        argv = ["--root", drive.root.directory, f"--options={drive.request.options}"]
        argv += ["--nonce", nonce, "--first-node", str((drive.incarnation << _NODES_BITS) + 2)]
        if drive.incarnation:
            argv.append("--recovering")
        argv += await self._bulk_disks.server_arguments(drive.port)
        return await start_server(argv, drive.socket, on_line)

    async def _use_bulk_disk(self, drive: Drive) -> None:
        try:
            disk = await self._bulk_disks.plug_in(drive.port)
        except VmError as error:
            log.warning("%s goes on without a bulk disk: %s", drive.request.place, error)
        else:
            await self._tell(UseBulkDisk(port=drive.port, disk=disk))

    async def _tell(self, request: AnnounceDrive | EndDrive | UseBulkDisk) -> None:
        link = self._link()
        if link is not None:
            with contextlib.suppress(ServiceError):  # the mount is over, or the machine
                await link.request(request, Done)

    # -- a machine that is saved -----------------------------------------------------------------

    async def rest(self) -> tuple[str, ...]:
        """End all servers, and have each mount wait for its next one, of a later start.

        What is needed for that start: notes for `resume`.
        """
        resting = list(self._drives.values())
        for drive in resting:
            drive.is_resting = True
        await asyncio.gather(*map(self._end_server, resting))
        await asyncio.gather(*(drive.bulk for drive in resting if drive.bulk is not None))
        for drive in resting:
            drive.incarnation += 1
            drive.nonce = secrets.token_hex(NONCE_BYTES)
            await self._tell(AnnounceDrive(port=drive.port, nonce=drive.nonce))
        await self._bulk_disks.unplug_all()
        return tuple(
            json.dumps([d.port, d.nonce, d.incarnation, to_json_object(d.request)]) for d in resting
        )

    def go_on(self) -> None:
        """Serve what rests after all."""
        for drive in self._drives.values():
            if drive.is_resting:
                drive.is_resting = False
                self._serve(drive)

    async def resume(self, notes: tuple[str, ...], ports: Mapping[str, socket.socket]) -> None:
        """Serve the mounts of a machine that goes on; `ports` are all that are plugged in."""
        left = dict(ports)
        self._plugged = len(ports)
        for note in notes:
            port, nonce, incarnation, body = json.loads(note)
            request = from_json_object(OpenDrive, body)
            sock = left.pop(port)
            drive = Drive(port, sock, request, Root("", ""), incarnation=incarnation, nonce=nonce)
            drive.is_served = True
            self._drives[port] = drive
            try:
                drive.root = await asyncio.to_thread(self._resolve, request.source)
            except (DriveError, ServiceError) as error:
                log.warning("%s is not served any more: %s", request.place, error)
                drive.state = f"failed: {error}"
                await self._tell(EndDrive(port=port))
            else:
                self._serve(drive)
        self._free.extend(left.items())

    def _serve(self, drive: Drive) -> None:
        drive.task = asyncio.create_task(
            self._supervise(drive, drive.nonce), name=f"server of {drive.port}"
        )

    # -- ends ----------------------------------------------------------------------------------

    async def close(self, event: DriveClosed) -> None:
        """The agent says that a mount is over: end its server, then its port is free again."""
        drive = self._drives.pop(event.port, None)
        if drive is None:
            return
        drive.is_closed = True
        await self._end_server(drive)
        self._free.append((drive.port, drive.socket))

    async def _end_server(self, drive: Drive) -> None:
        if drive.child is not None:
            drive.child.terminate()
        if drive.task is not None:
            await asyncio.wait({drive.task}, timeout=_END_S)
        if drive.child is not None and drive.child.exit_code is None:
            drive.child.kill()

    async def on_machine_ended(self) -> None:
        """No drive is mounted any more, and there are no ports."""
        drives, self._drives = list(self._drives.values()), {}
        free, self._free, self._plugged = self._free, [], 0
        for drive in drives:
            drive.is_closed = True
        await asyncio.gather(*map(self._end_server, drives))
        for sock in (*(drive.socket for drive in drives), *(sock for _, sock in free)):
            sock.close()
        self._bulk_disks.on_machine_ended()
