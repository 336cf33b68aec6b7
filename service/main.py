"""The service: one per user, started by the first command that needs it (`service.entry`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from interop.hostos.contract import Host
from interop.hostos.find import find_host
from service.admission import Admission
from service.client import Client
from service.distributions import DistributionManager
from service.drives import Drives
from service.endpoint import serve, withdraw
from service.entry import tell_starter
from service.errors import ServiceError
from service.launches import Launches
from service.lifetimes import Lifetimes
from service.machine import Machine
from service.network import Network
from service.operations import Operations
from service.placement import ADVICE, risk_of
from service.reclaimer import Reclaimer
from service.registry import Registry
from service.settings import SettingsFile, extra_distribution_lists, find_wslconfig
from service.starting import Started
from service.unfinished import Unfinished
from service.windowsside import WindowsSide
from vm.ahead import Begun
from vm.pidfile import end_orphan
from wire.agent import DistributionStopped, DriveClosed, FirstRunDone, Launch, OpenDrive
from wire.codec import Message
from wire.common import NOTICE, Hangup, Resize, Signal
from wire.places import Places
from wire.version import VERSION

log = logging.getLogger(__name__)

_LOG_BYTES = 1024 * 1024
_LOGS_KEPT = 3


def _find_host() -> Host:
    """The kind of host that this is: Wine may be installed, or removed, at any time."""
    return find_host(os.environ)


class Service:
    """Everything the service is made of, from start to end."""

    def __init__(self, places: Places, begun: Begun | None = None) -> None:
        """`begun`: QEMU, started ahead. Raises ServiceError when the registry cannot be read."""
        self._places = places
        self._ending = asyncio.Event()
        self._clients: set[Client] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unfinished = Unfinished(Path(places.unfinished))
        try:
            self._registry = Registry(Path(places.registry))
        except ServiceError:
            self._unfinished.forget()  # a disk may have been registered in what is lost
            raise
        settings = SettingsFile(
            find_wslconfig(os.environ, sys.platform), extra_distribution_lists(os.environ)
        )
        answerers: dict[type[Message], Callable[[Any], Awaitable[Message]]] = {}
        self._network = Network(settings)
        self._machine = Machine(
            places,
            settings,
            self._on_event,
            answerers,
            self._network.on_greeted,
            self._on_machine_ended,
            begun,
        )
        self._machine.tell_all = self._tell_all
        self._drives = Drives(
            lambda: self._machine.vm,
            lambda: self._machine.link,
            lambda: settings.current().host_drives,
            Path(places.run_directory),
        )
        answerers[OpenDrive] = self._drives.open
        self._launches = Launches(
            lambda: self._machine.link,
            _find_host,
            Path(places.run_directory) / "programs",
        )
        answerers[Launch] = self._launches.launch
        self._distributions = DistributionManager(
            places, self._registry, self._machine, self._drives.letters, self._unfinished
        )
        self._machine.on_resumed = self._on_resumed
        self._machine.companions = self._drives
        self._lifetimes = Lifetimes(
            self._machine, self._distributions, is_busy=lambda: len(self._launches) > 0
        )
        self._reclaimer = Reclaimer(self._machine)
        self._operations = Operations(
            places,
            self._machine,
            self._distributions,
            self._lifetimes,
            self._network,
            self._drives,
            WindowsSide(_find_host),
            self._ending,
        )

        self._admission = Admission(self._ending.is_set, self._what_runs, self._ending.set)

    def _what_runs(self) -> str:
        """What the end of the service would end."""
        running = [
            record.name
            for record in self._registry.all()
            if record.identity in self._distributions.running
            or self._lifetimes.is_used(record.identity)
        ]
        return ", ".join(running) or ("a command" if self._lifetimes.is_anything_used else "")

    def _on_event(self, event: Message) -> None:
        """The agent tells something of its own accord."""
        if isinstance(event, DistributionStopped):
            self._distributions.on_stopped(event.identity)
        elif isinstance(event, FirstRunDone):
            self._distributions.on_first_run_done(event)
        elif isinstance(event, DriveClosed):
            self._follow(self._drives.close(event))
        elif isinstance(event, (Resize, Signal, Hangup)):
            self._launches.on_event(event)
        else:
            self._network.on_event(event)

    def _follow(self, work: Coroutine[None, None, None]) -> None:
        """Keep a task alive until it is done."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on_resumed(self, started: Started) -> None:
        """The machine goes on with what ran in it when it was suspended."""
        self._distributions.on_resumed(started.agent_watch.running)
        await self._drives.resume(started.resumed or (), started.ports())

    def _on_machine_ended(self) -> None:
        self._distributions.on_machine_ended()
        self._follow(self._drives.on_machine_ended())
        self._follow(self._network.on_machine_ended())

    def _tell_all(self, text: str) -> bool:
        """Say something to all clients at once; whether there is one."""
        for client in self._clients:
            client.progress(text, unit=NOTICE)
        return bool(self._clients)

    def _new_client(self, token: str) -> Client:
        client = Client(self._operations.handle, token, self._clients.discard, self._admission)
        self._clients.add(client)
        return client

    async def run(self) -> None:
        """Serve until a client or a signal asks for the end."""
        await end_orphan(Path(self._places.pid_file))
        await end_orphan(Path(self._places.snapshot_pid_file))
        risk = risk_of(self._places.home, os.environ) if sys.platform == "win32" else ""
        if risk:
            self._machine.warn(
                f"{self._places.home}, where Isthmus keeps its files: {risk}. {ADVICE}"
            )
        self._unfinished.clean([Path(record.disk) for record in self._registry.all()])
        server = await serve(self._places, self._new_client)
        log.info("service %s serves as process %d", VERSION, os.getpid())
        tell_starter("ready")
        idling = asyncio.create_task(self._lifetimes.run())
        reclaiming = asyncio.create_task(self._reclaimer.run())
        giving_up = asyncio.create_task(self._machine.give_up_begun_later())
        try:
            await self._ending.wait()
        finally:
            idling.cancel()
            reclaiming.cancel()
            giving_up.cancel()
            withdraw(self._places)
            server.close()
            await self._machine.close()
            await self._launches.end()
            await asyncio.gather(*self._tasks)
            for client in list(self._clients):
                client.disconnect()
            await asyncio.sleep(0)  # lets the transports flush what was just sent
        log.info("service ends")

    def end(self) -> None:
        """Ask `run` to return."""
        self._ending.set()


async def serve_until_end(places: Places, begun: Begun | None = None) -> None:
    """Run the service in this process. Raises ServiceError."""
    service = Service(places, begun)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows: the process is ended instead
            loop.add_signal_handler(number, service.end)
    await service.run()


def _start_log(places: Places) -> None:
    os.makedirs(places.logs, mode=0o700, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        os.path.join(places.logs, "service.log"),
        maxBytes=_LOG_BYTES,
        backupCount=_LOGS_KEPT,
        encoding="utf-8",
        errors="backslashreplace",
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)


def serve_user(places: Places, begun: Begun | None) -> int:
    """Run the service until its end; returns the exit status. `begun`: QEMU, started ahead."""
    _start_log(places)
    try:
        asyncio.run(serve_until_end(places, begun))
    except ServiceError as error:
        log.error("%s", error.message)
        tell_starter(f"{error.message} {error.hint}")
        return 1
    return 0
