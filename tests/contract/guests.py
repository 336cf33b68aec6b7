"""Guests that the contract is tested on: the agent on this host, and the agent in its machine.

Both are spoken to through service.link.AgentLink, which is told that the port was opened just as
the service is; and both have an init that starts the agent again when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from service.archiver import FileFeed
from service.archives import open_tar
from service.errors import LinkLost
from service.link import AgentLink
from tests.integration.cli_harness import make_tiny
from vm.cache import JsonCache
from vm.disk import create_disk
from vm.files import read_tail
from vm.find import find_qemu
from vm.image.prepare import prepare
from vm.machine import VirtualMachine
from vm.probe import choose_accelerator
from vm.qmp import Qmp, event_data
from vm.spec import BootImage, MachineSpec, choose_machine, choose_processors
from wire.agent import (
    DistributionStarted,
    DistributionStopped,
    FormatDisk,
    Hello,
    MountDisk,
    PowerOff,
    StartDistribution,
    StopDistribution,
    UnmountDisk,
    Unpack,
    Welcome,
)
from wire.codec import Message
from wire.common import PROTOCOL_VERSION, Done
from wire.version import VERSION

AGENT_PORT = "org.isthmus.agent"
MEMORY_MIB = 400
"""Little, so that a fork storm reaches its limit soon."""
LOG_BYTES = 64 * 1024
HOST_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Guest:
    """An agent behind a link; greeted again whenever it opens its port."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.link: AgentLink
        self.welcome: Welcome | None = None
        self.greeted = 0
        """How often an agent has been greeted, and has answered."""
        self.events: list[Message] = []
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def on_event(self, event: Message) -> None:
        self.events.append(event)

    def port_opened(self) -> None:
        """The guest has opened the port."""
        self.link.port_opened()
        self.follow(self._greet())

    async def _greet(self) -> None:
        with contextlib.suppress(LinkLost):  # then it is greeted again
            await self.link.wait_synchronised()
            hello = Hello(protocol=PROTOCOL_VERSION, version=VERSION, time_ns=time.time_ns())
            self.welcome = await self.link.request(hello, Welcome)
            async with self._changed:
                self.greeted += 1
                self._changed.notify_all()

    async def wait_greeted(self, before: int = 0) -> Welcome:
        """Wait until an agent has been greeted since `before`, a value of `greeted`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.greeted > before)
        assert self.welcome is not None
        return self.welcome

    def log_text(self) -> str:
        """What the agent has written to its standard error."""
        return read_tail(self.log, LOG_BYTES)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        self.link.close()


class FakeGuest(Guest):
    """The agent as a process of this host."""

    async def start(self, directory: Path) -> None:
        host, self._port = socket.socketpair()
        host.setblocking(False)
        opened, self._opened = os.pipe()
        self.link = await AgentLink.open(host, self.on_event, {})
        asyncio.get_running_loop().add_reader(opened, self._on_opened, opened)
        self._ending = self._has_opened = False
        init = asyncio.create_task(self._init(directory))
        greeted = asyncio.create_task(self.wait_greeted())
        await asyncio.wait({init, greeted}, return_when=asyncio.FIRST_COMPLETED)
        if init.done():
            greeted.cancel()
            raise AssertionError(f"the agent does not even open its port: {self.log_text()}")
        self._tasks.add(init)

    def _on_opened(self, opened: int) -> None:
        self._has_opened = True
        for _ in os.read(opened, 100):
            self.port_opened()

    async def _init(self, directory: Path) -> None:
        """Start the agent, and again whenever it ends; not if it cannot get as far as its port."""
        program = str(Path(__file__).with_name("fake_guest.py"))
        port, opened = self._port.fileno(), self._opened
        argv = [program, str(port), str(opened), str(directory / "run"), VERSION]
        with self.log.open("ab") as log:
            while not self._ending:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, *argv, pass_fds=(port, opened), stderr=log, stdin=-3
                )
                await self._process.wait()
                if not self._has_opened:
                    return

    async def end(self) -> None:
        self._ending = True
        self._process.kill()
        await self._process.wait()
        asyncio.get_running_loop().remove_reader(self._opened)
        self._port.close()
        await super().end()


async def machine_spec(directory: Path, serial_log: Path) -> MachineSpec:
    """The real machine with nothing but the agent's port, as this host runs it best."""
    cache = JsonCache(directory / "host.json")
    qemu = await find_qemu(cache=cache)
    image = await asyncio.to_thread(prepare)
    probe = await choose_accelerator(qemu, cache)
    assert probe.chosen is not None
    return MachineSpec(
        qemu=qemu,
        machine=choose_machine(qemu, image.origin),
        accelerator=probe.chosen,
        boot=image,
        memory_mib=MEMORY_MIB,
        processors=choose_processors(probe.chosen, image.origin, 2),
        serial_log=serial_log,
        ports=(AGENT_PORT,),
    )


class VmGuest(Guest):
    """The agent in the real machine, with one small distribution."""

    IDENTITY = "0123456789abcdef0123456789abcdef"
    NAME = "tiny"

    async def start(self, directory: Path) -> None:
        spec = await machine_spec(directory, self.log)
        self.vm = await VirtualMachine.start(spec)
        try:
            self.link = await AgentLink.open(self.vm.port(AGENT_PORT), self.on_event, {})
            self.follow(self._watch_port(self.vm.qmp))
            welcome = await asyncio.wait_for(self.wait_greeted(), 300)
            assert isinstance(spec.boot, BootImage)
            assert welcome.kernel == spec.boot.release
            assert welcome.boot_id != Path(HOST_BOOT_ID).read_text().strip()
            await self._import(directory, make_tiny(directory / "tiny.tar"))
            await self.start_distribution()
        except BaseException:
            await self.vm.shutdown()
            raise

    async def _watch_port(self, qmp: Qmp) -> None:
        with qmp.events("VSERPORT_CHANGE") as events:
            async for event in events:
                if event_data(event).get("open"):
                    self.port_opened()

    async def _import(self, directory: Path, tar: Path) -> None:
        """A disk with the distribution on it, mounted."""
        disk = directory / "tiny.qcow2"
        await create_disk(self.vm.spec.qemu, disk, 2**34)
        await self.vm.attach_disk(disk, self.IDENTITY)
        await self.link.request(FormatDisk(disk=self.IDENTITY), Done)
        await self.link.request(MountDisk(disk=self.IDENTITY), Done)
        with open_tar(tar) as archive:
            feed = FileFeed(self.link, archive, lambda: None)
            await self.link.request(Unpack(session=feed.number, disk=self.IDENTITY), Done)
            feed.complaints.check_unpacked(await feed.run())
        await self.link.request(UnmountDisk(disk=self.IDENTITY), Done)

    async def start_distribution(self) -> None:
        request = StartDistribution(
            identity=self.IDENTITY, name=self.NAME, disk=self.IDENTITY, hostname="contract"
        )
        await self.link.request(request, DistributionStarted)

    async def stop_distribution(self) -> None:
        """Kill everything in the distribution."""
        stopped = DistributionStopped(identity=self.IDENTITY)
        self.events.clear()
        await self.link.request(StopDistribution(identity=self.IDENTITY, grace_ms=0), Done)
        assert stopped in self.events

    async def end(self) -> None:
        async def ask_guest() -> None:
            await self.link.request(PowerOff(), Done)

        await self.vm.shutdown(ask_guest)
        await super().end()
