"""What clients ask for, done: one method per request of wire.client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.admission import unless_ending
from service.apart import run_apart
from service.archiver import ArchiveRelay, FileFeed
from service.client import Client
from service.distributions import DistributionManager
from service.drives import Drives
from service.errors import ServiceError
from service.lifetimes import MACHINE, Lifetimes
from service.link import AgentLink
from service.machine import Machine
from service.management import Management, judge, warn_of_place
from service.network import Network
from service.proxies import command_proxies
from service.registry import Record
from service.relay import CLIENT_SESSION, Relay
from service.status import status_report
from service.windowsside import Origin, WindowsSide
from vm.image.errors import ImageError
from wire import client as messages
from wire import failures
from wire.agent import Pack, Spawn, Spawned, Unpack
from wire.codec import Message
from wire.common import Done, Exited
from wire.places import Places

if TYPE_CHECKING:
    from service.rootfs import RootfsSource  # only for a new distribution, as all that it imports

log = logging.getLogger(__name__)

_LOOKS = (messages.List, messages.Catalogue, messages.Status)
"""Requests that only look: a script that asks every minute keeps nothing running."""

_ENDING_S = 10.0
"""For a distribution whose pid 1 has died to be over."""
_ENDED_RETRY_S = 0.1

Fill = Callable[[AgentLink, str], Awaitable[None]]
"""Fills the mounted disk of a new distribution, named by its identity. Raises ServiceError."""


@dataclass(frozen=True)
class _NewDistribution:
    """What a client says of a distribution that it wants to have."""

    name: str
    """"": what the root file system names itself, else `fallback_name`."""
    location: str
    disk_bytes: int
    is_fixed: bool
    """Whether the disk takes all of its space from the host at once, and keeps it."""
    first_run: bool
    """Whether the setup it brings with it is to run before its first shell."""
    fallback_name: str = ""


class Operations:
    """Answers clients' requests. `ending` is set when the service is to end."""

    def __init__(
        self,
        places: Places,
        machine: Machine,
        distributions: DistributionManager,
        lifetimes: Lifetimes,
        network: Network,
        drives: Drives,
        windows: WindowsSide,
        ending: asyncio.Event,
    ) -> None:
        self._places = places
        self._machine = machine
        self._distributions = distributions
        self._lifetimes = lifetimes
        self._network = network
        self._drives = drives
        self._windows = windows
        self._registry = distributions.registry
        self._ending = ending
        management = Management(machine, distributions)
        self._manage: dict[type[Message], Callable[[Client, Any], Awaitable[Message]]] = {
            messages.Move: management.move,
            messages.ResizeDisk: management.resize,
            messages.SetSparse: management.set_sparse,
            messages.SetDefaultUser: management.set_default_user,
            messages.ImportInPlace: management.import_in_place,
            messages.ImportDisk: management.import_disk,
            messages.ExportDisk: management.export_disk,
        }

    async def handle(self, client: Client, request: Message) -> Message:
        """service.client.Handler: the reply to a request. Raises ServiceError."""
        if isinstance(request, _LOOKS):
            return await self._answer(client, request)
        with self._lifetimes.using(MACHINE):
            return await self._answer(client, request)

    async def _answer(self, client: Client, request: Message) -> Message:
        manage = self._manage.get(type(request))
        if manage is not None:
            return await manage(client, request)
        method = self._METHODS.get(type(request))
        if method is None:
            raise ServiceError(failures.PROTOCOL, f"{request.NAME} is not a request")
        return await method(self, client, request)

    # -- running commands ----------------------------------------------------------------------

    async def _run(self, client: Client, request: messages.Run) -> Message:
        identity = MACHINE
        if not request.system:
            identity = self._registry.find(request.distribution).identity
        # In use until the process has ended or its client is gone.
        with contextlib.ExitStack() as use:
            use.enter_context(self._lifetimes.using(identity))
            running, reporting = await self._start_in(client, request, identity)
            kept = use.pop_all()
            reporting.add_done_callback(lambda _: kept.close())
        return running

    async def _start_in(
        self, client: Client, request: messages.Run, identity: str
    ) -> tuple[Message, asyncio.Task[None]]:
        """As `_run_in`, in a distribution that is started again if it has just ended."""
        deadline = time.monotonic() + _ENDING_S
        while True:
            try:
                return await self._run_in(client, request, identity)
            except ServiceError as error:
                if error.code != failures.DISTRO_ENDED or time.monotonic() > deadline:
                    raise
            self._distributions.on_stopped(identity)
            await asyncio.sleep(_ENDED_RETRY_S)  # the agent may be about to notice it, too

    async def _run_in(
        self, client: Client, request: messages.Run, identity: str
    ) -> tuple[Message, asyncio.Task[None]]:
        """Start a client's process; the reply, and the task that follows it to its end."""
        warnings: tuple[str, ...] = ()
        default_uid, first_run = 0, False
        with unless_ending(self._ending.is_set):
            if request.system:
                link = await self._machine.ensure_running(client.progress)
            else:
                record = self._registry.find("{" + identity + "}")
                link, warnings = await self._distributions.ensure_started(record, client.progress)
        if not request.system:
            # Its first run may have ended while it was being started.
            record = self._registry.find("{" + record.identity + "}")
            first_run = record.run_oobe and _is_interactive(request)
            default_uid = record.default_uid
        origin = Origin()
        if not request.system:
            origin = await asyncio.to_thread(self._windows.origin, request)
        settings = self._machine.settings.current()
        proxies = command_proxies(request.proxies, settings, self._network.mode)
        relay = Relay(client, link)
        relay.hold()
        wanted = request.directory or "~"
        spawn = Spawn(
            session=relay.number,
            distribution=identity,
            line=request.line,
            argv=request.argv,
            login=request.login,
            user=request.user,
            default_uid=default_uid,
            directories=(wanted, "~") if request.directory else ("~",),
            environment={**proxies, **request.environment},
            terminal=request.terminal,
            redirected=request.redirected,
            first_run=first_run,
            windows_directory=origin.directory,
            windows_path=origin.search_path,
            windows_environment=dict(origin.environment),
        )
        spawning = asyncio.ensure_future(link.request(spawn, Spawned))
        try:
            spawned = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            # The client is gone, and its process is about to start: that must not outlive it.
            spawning.add_done_callback(relay.hang_up_started)
            raise
        except BaseException:
            relay.drop()
            raise
        client.start_relay(relay)
        reporting = client.follow(self._report_exit(client, relay))
        warnings = (
            *self._machine.settings.take_warnings(),
            *self._machine.take_notices(),
            *warnings,
            *spawned.warnings,
        )
        if not request.system and not _was_entered(wanted, spawned.directory):
            warnings += (f"{wanted} cannot be entered; started in {spawned.directory}",)
        return messages.Running(warnings=warnings), reporting

    async def _report_exit(self, client: Client, relay: Relay) -> None:
        """The end of a client's session, or of the machine under it."""
        relay.release()  # this task first runs after the reply has been sent
        try:
            exited = await relay.wait_ended()
        except ServiceError as error:
            client.send_event(error.to_failure())
            return
        client.send_event(
            Exited(
                session=CLIENT_SESSION,
                status=exited.status,
                signal=exited.signal,
                core_dumped=exited.core_dumped,
            )
        )

    # -- new distributions ---------------------------------------------------------------------

    async def _install(self, client: Client, request: messages.Install) -> Message:
        from service.archives import open_tar
        from service.rootfs import find_source

        lists = self._machine.settings.current().distribution_lists
        if lists and request.source:
            client.progress("Looking for the distribution")
        source = await asyncio.to_thread(find_source, request.source, lists)
        name = request.name or source.name
        self._registry.check_free(name)
        with contextlib.ExitStack() as keep:
            archive = await self._obtain(client, source, keep)
            label = f"Installing {source.friendly_name}"

            async def fill(link: AgentLink, identity: str) -> None:
                with open_tar(archive) as tar:

                    def tell() -> None:
                        client.progress(label, tar.position, tar.size, "bytes")

                    feed = FileFeed(link, tar, tell)
                    await link.request(Unpack(session=feed.number, disk=identity), Done)
                    feed.complaints.check_unpacked(await feed.run())

            wanted = _NewDistribution(
                name, request.location, request.disk_bytes, request.is_fixed, first_run=True
            )
            record = await self._create(client, wanted, fill)
        return self._distributions.installed(record)

    async def _obtain(
        self, client: Client, source: RootfsSource, keep: contextlib.ExitStack
    ) -> Path:
        """service.rootfs.obtain on a worker thread, which gives up when the client does."""
        from service.rootfs import obtain

        loop = asyncio.get_running_loop()
        abandoned = threading.Event()

        def tell(label: str, done: int, total: int) -> None:
            if abandoned.is_set():
                raise ServiceError(failures.SERVICE_LOST, "the client is gone")
            loop.call_soon_threadsafe(client.progress, label, done, total, "bytes")

        work = asyncio.ensure_future(asyncio.to_thread(obtain, source, tell, keep))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # What it has made may only be removed once it makes nothing more.
            abandoned.set()
            await asyncio.wait([work])
            if not work.cancelled():
                work.exception()
            raise
        except ImageError as error:
            raise ServiceError(failures.IMPORT_FAILED, error.message, hint=error.hint) from error

    async def _import(self, client: Client, request: messages.Import) -> Message:
        if request.name:
            self._registry.check_free(request.name)

        async def fill(link: AgentLink, identity: str) -> None:
            relay = ArchiveRelay(client, link)
            request = Unpack(session=relay.number, disk=identity)
            relay.complaints.check_unpacked(await relay.run(request, client.start_relay))

        wanted = _NewDistribution(
            request.name,
            request.location,
            request.disk_bytes,
            request.is_fixed,
            request.first_run,
            request.fallback_name,
        )
        record = await self._create(client, wanted, fill)
        return self._distributions.installed(record)

    async def _create(self, client: Client, wanted: _NewDistribution, fill: Fill) -> Record:
        """Make a disk, fill it, judge it, register it. Whatever fails leaves nothing behind."""
        distributions = self._distributions
        link = await self._machine.ensure_running(client.progress)
        identity = uuid.uuid4().hex
        keeps = wanted.is_fixed
        path = distributions.disk_path(identity, wanted.location)
        warn_of_place(client, path)
        with distributions.unfinished.making(path):
            await distributions.create_disk(path, wanted.disk_bytes, is_fixed=keeps)
            async with distributions.mounted_disk(
                link, identity, path, is_new=True, keeps_space=keeps
            ):
                await fill(link, identity)
                root = await distributions.inspect(link, identity)
            name = wanted.name or root.default_name or wanted.fallback_name
            record = judge(root, identity, name, path, first_run=wanted.first_run)
            record = replace(record, keeps_space=keeps)
            self._registry.add(record)
        return record

    # -- existing distributions ----------------------------------------------------------------

    async def _export(self, client: Client, request: messages.Export) -> Message:
        record = self._registry.find(request.name)
        link = await self._machine.ensure_running(client.progress)
        await self._distributions.stop(record)
        async with self._distributions.exclusively(record.identity, "Exporting"):
            path = Path(record.disk)
            async with self._distributions.mounted_disk(
                link, record.identity, path, keeps_space=record.keeps_space
            ):
                relay = ArchiveRelay(client, link)
                pack = Pack(session=relay.number, disk=record.identity)
                relay.complaints.check(
                    await relay.run(pack, client.start_relay),
                    failures.EXPORT_FAILED,
                    f"{record.name} could not be exported",
                    "The incomplete file has been removed.",
                )
        return Done()

    async def _list(self, client: Client, request: messages.List) -> Message:
        return self._distributions.listing()

    async def _catalogue(self, client: Client, request: messages.Catalogue) -> Message:
        from service.rootfs import catalogue

        lists = self._machine.settings.current().distribution_lists
        if lists:
            client.progress("Fetching the lists of distributions")
        rows = tuple(
            messages.CatalogueRow(name=source.name, friendly_name=source.friendly_name)
            for source in await asyncio.to_thread(catalogue, lists)
        )
        return messages.CatalogueRows(rows=rows)

    async def _terminate(self, client: Client, request: messages.Terminate) -> Message:
        await self._distributions.stop(self._registry.find(request.name))
        return Done()

    async def _unregister(self, client: Client, request: messages.Unregister) -> Message:
        await self._distributions.unregister(self._registry.find(request.name))
        return Done()

    async def _set_default(self, client: Client, request: messages.SetDefault) -> Message:
        self._registry.set_default(self._registry.find(request.name).identity)
        return Done()

    # -- the machine and the service -----------------------------------------------------------

    async def _boot(self, client: Client, request: messages.Boot) -> Message:
        await self._machine.ensure_running(client.progress)
        return Done()

    async def _shutdown(self, client: Client, request: messages.Shutdown) -> Message:
        await self._machine.shutdown(force=request.force)
        await self._machine.forget_suspended()
        return Done()

    async def _status(self, client: Client, request: messages.Status) -> Message:
        return status_report(
            self._machine, self._registry, self._places, self._network, self._drives
        )

    async def _update(self, client: Client, request: messages.Update) -> Message:
        from vm.image.update import update

        before = self._machine.image
        is_new = await run_apart(update, client.progress)
        image = await self._machine.prepare_image(client.progress)
        return messages.Updated(
            kernel=image.release, previous=before.release if before else "", is_new=is_new
        )

    async def _quit(self, client: Client, request: messages.Quit) -> Message:
        await self._machine.shutdown(force=False)
        self._ending.set()
        return Done()

    _METHODS: dict[type[Message], Callable[[Operations, Client, Any], Awaitable[Message]]] = {  # noqa: RUF012
        messages.Run: _run,
        messages.Install: _install,
        messages.Import: _import,
        messages.Export: _export,
        messages.List: _list,
        messages.Catalogue: _catalogue,
        messages.Terminate: _terminate,
        messages.Unregister: _unregister,
        messages.SetDefault: _set_default,
        messages.Boot: _boot,
        messages.Shutdown: _shutdown,
        messages.Status: _status,
        messages.Update: _update,
        messages.Quit: _quit,
    }


def _is_interactive(request: messages.Run) -> bool:
    """Whether a shell is asked for, to be talked to: what a distribution's setup waits for."""
    return request.terminal is not None and request.line is None and not request.argv


def _was_entered(wanted: str, directory: str) -> bool:
    """Whether `directory`, where a process was started, is what `wanted` stands for.

    Only the guest knows what "~" stands for; that a home is missing is no news to its user.
    """
    if wanted.startswith("~"):
        return directory.endswith(wanted[1:])
    return directory == wanted
