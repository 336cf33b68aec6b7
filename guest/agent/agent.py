"""The agent: which request is answered by what (docs/protocol.md §6).

Slow work (disks, starting and stopping distributions) runs on worker threads, one request at a
time per distribution as the service orders them; everything about processes and streams runs on
the loop's thread.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from guest import initclient
from guest.agent import archives, disks, distributions, kernelmodules, memory
from guest.agent.distributions import Distribution
from guest.agent.drives import Drives, use_bulk_disk
from guest.agent.errors import AgentError, failure_of
from guest.agent.helpers import Helpers
from guest.agent.launches import Launches
from guest.agent.link import Link
from guest.agent.loop import Loop
from guest.agent.network import Network
from guest.agent.roots import describe_root
from guest.agent.service import Service
from guest.agent.sessions import Reply, Sessions
from guest.agent.setup import run_boot_command
from guest.agent.system import System
from guest.helperprotocol import Op
from wire import agent as messages
from wire.codec import Message, decode_message
from wire.common import PROTOCOL_VERSION, Done, Exited, Hangup, Resize, Signal
from wire.errors import FrameError, MessageError, WireError
from wire.frame import FIRST_AGENT_SESSION, Frame, FrameKind, Role

_LEAST_ENTROPY_BYTES = 32


class Agent:
    """State of the agent: what the service has asked for, and running distributions."""

    def __init__(
        self, loop: Loop, open_port: Callable[[], int], version: str, system: System
    ) -> None:
        self._loop = loop
        self._version = version
        self._system = system
        self._distributions: dict[str, Distribution] = {}
        self._link = Link(loop, open_port, self._on_frame, self._on_reset, system.power_off)
        self._service = Service(self._link)
        self._drives = Drives(loop, self._link, self._service)
        self._sessions = Sessions(loop, self._link, self._distributions)
        self._launches = Launches(loop, self._link, self._service)
        self._helpers = Helpers(
            loop, {Op.LAUNCH: self._launches.handle, Op.MOUNT: self._drives.on_request}
        )
        self._network = Network(loop, self._link.send_event)
        for distribution in distributions.left_running(loop, self._on_distribution_stopped):
            self._distributions[distribution.identity] = distribution
            self._listen(distribution)

    # -- frames --------------------------------------------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind == FrameKind.MESSAGE:
            self._on_message(frame)
        elif frame.channel >= FIRST_AGENT_SESSION:
            self._launches.on_frame(frame)
        else:
            self._sessions.on_frame(frame)

    def _on_message(self, frame: Frame) -> None:
        message = decode_message(frame.payload)
        if frame.stream == Role.EVENT:
            handle_event = self._EVENTS.get(type(message))
            if handle_event is None:
                raise MessageError(f"{message.NAME} is not an event for the agent")
            handle_event(self, message)
            return
        if frame.stream == Role.REPLY:
            self._service.on_reply(frame.channel, message)
            return
        handler = self._REQUESTS.get(type(message))
        if frame.stream != Role.REQUEST or handler is None:
            raise MessageError(f"{message.NAME} is not a request to the agent")
        number, generation = frame.channel, self._link.generation

        def reply(answer: Message) -> None:
            if self._link.generation == generation:  # else nobody knows that number any more
                self._reply(number, answer)

        try:
            handler(self, message, reply)
        except WireError:
            raise
        except Exception as error:  # without an answer the host would wait for its deadline
            reply(failure_of(error))

    def _reply(self, number: int, answer: Message) -> None:
        try:
            self._link.send(Role.REPLY, number, answer)
        except FrameError as error:
            self._link.send(Role.REPLY, number, failure_of(error))

    def _on_reset(self) -> None:
        """The link has lost its state."""
        self._sessions.drop_all()
        self._service.drop_all()
        self._launches.drop_all()
        self._network.drop()

    def _in_thread(self, work: Callable[[], Message], reply: Reply) -> None:
        """Answer with what `work` returns, or with its failure."""

        def done(answer: Message | None, error: Exception | None) -> None:
            reply(failure_of(error) if error else answer or Done())

        self._loop.run_in_thread(work, done)

    # -- requests ------------------------------------------------------------------------------

    def _hello(self, hello: messages.Hello, reply: Reply) -> None:
        self._system.set_clock(hello.time_ns)
        self._system.set_hostname(hello.hostname)
        disks.set_appear_timeout(hello.device_timeout_ms / 1000)
        reply(
            messages.Welcome(
                protocol=PROTOCOL_VERSION,
                version=self._version,
                kernel=os.uname().release,
                boot_id=self._system.boot_id(),
                running=tuple(self._distributions),
            )
        )
        self._drives.tell_closed()

    def _reseed(self, request: messages.Reseed, reply: Reply) -> None:
        try:
            entropy = bytes.fromhex(request.entropy)
        except ValueError:
            raise AgentError("entropy must be hexadecimal") from None
        if len(entropy) < _LEAST_ENTROPY_BYTES:
            raise AgentError(f"entropy must be {_LEAST_ENTROPY_BYTES} bytes or more")
        self._system.reseed(entropy)
        reply(Done())

    def _reclaim(self, request: messages.Reclaim, reply: Reply) -> None:
        def work() -> Message:
            if request.flush:
                os.sync()
            if request.gradual:
                memory.shrink()
            else:
                memory.drop(even_little=request.flush)
            return Done()

        self._in_thread(work, reply)

    def _disk_request(self, request: Any, reply: Reply) -> None:
        work = disks.WORK[type(request)]

        def body() -> Message:
            work(request.disk)
            return Done()

        self._in_thread(body, reply)

    def _expect_disk(self, event: messages.ExpectDisk) -> None:
        def told(_answer: Message | None, _error: Exception | None) -> None:
            pass  # whoever starts the distribution is told what is wrong

        self._loop.run_in_thread(lambda: disks.mount_disk(event.disk), told)

    def _add_modules(self, request: messages.AddModules, reply: Reply) -> None:
        def work() -> Message:
            kernelmodules.add_modules(request.disk, request.names)
            return Done()

        self._in_thread(work, reply)

    def _inspect(self, request: messages.InspectRoot, reply: Reply) -> None:
        self._in_thread(lambda: describe_root(disks.mount_point(request.disk)), reply)

    def _unpack(self, request: messages.Unpack, reply: Reply) -> None:
        self._sessions.run_archiver(request.session, archives.unpack_argv(request.disk), reply)

    def _pack(self, request: messages.Pack, reply: Reply) -> None:
        self._sessions.run_archiver(request.session, archives.pack_argv(request.disk), reply)

    def _start_distribution(self, request: messages.StartDistribution, reply: Reply) -> None:
        identity = request.identity
        if identity in self._distributions:
            reply(messages.DistributionStarted())
            return

        def start() -> tuple[int, list[str]]:
            disks.mount_disk(request.disk)
            return distributions.start_init(request, self._facts(), self._network.hosts)

        def started(result: tuple[int, list[str]] | None, error: Exception | None) -> None:
            if result is None:
                reply(failure_of(error or AgentError("no result")))
                return
            pid, warnings = result
            try:
                distribution = self._distributions[identity] = Distribution(
                    self._loop,
                    identity,
                    request.name,
                    request.disk,
                    pid,
                    self._on_distribution_stopped,
                )
            except OSError as connect_error:
                reply(failure_of(connect_error))
                return
            warnings += self._listen(distribution)
            user = distribution.files.find_user("", request.default_uid)

            def mounted(more: list[str]) -> None:
                run_boot_command(distribution, self._link.send_event)
                reply(messages.DistributionStarted(warnings=(*warnings, *more)))

            self._drives.mount_all(distribution, request.drives, user, mounted)

        self._loop.run_in_thread(start, started)

    def _announce_drive(self, request: messages.AnnounceDrive, reply: Reply) -> None:
        self._drives.announce(request.port, request.nonce)
        reply(Done())

    def _use_bulk_disk(self, request: messages.UseBulkDisk, reply: Reply) -> None:
        def work() -> Message:
            use_bulk_disk(request.port, request.disk)
            return Done()

        self._in_thread(work, reply)

    def _end_drive(self, request: messages.EndDrive, reply: Reply) -> None:
        self._drives.end(request.port)
        reply(Done())

    def _stop_distribution(self, request: messages.StopDistribution, reply: Reply) -> None:
        distribution = self._distributions.get(request.identity)
        if distribution is None:
            reply(Done())
            return
        self._ask_to_stop(distribution, request.grace_ms)

        def stop() -> Message:
            grace_s = request.grace_ms / 1000
            distributions.end_init(distribution, grace_s, self._drives.end_all)
            return Done()

        self._in_thread(stop, reply)

    def _ask_to_stop(self, distribution: Distribution, grace_ms: int) -> None:
        if grace_ms > 0:
            try:
                distribution.request(initclient.Stop(), (), lambda reply: None)
                return
            except AgentError as error:
                print(f"agent: {distribution.name}: {error}", file=sys.stderr)
        distribution.kill()

    def _listen(self, distribution: Distribution) -> list[str]:
        """Open the socket for a distribution's programs; warnings where that fails."""
        try:
            self._helpers.listen(distribution)
        except OSError as error:
            warning = f"Windows programs cannot be started: {error}"
            print(f"agent: {distribution.name}: {warning}", file=sys.stderr)
            return [warning]
        return []

    def _facts(self) -> dict[str, str]:
        """What programs in the distributions can be told of the machine (wslinfo)."""
        return {
            "networking-mode": self._network.mode,
            "version": self._version,
            "vm-id": self._system.boot_id(),
        }

    def _on_distribution_stopped(self, distribution: Distribution) -> None:
        self._helpers.forget(distribution)
        self._distributions.pop(distribution.identity, None)
        self._link.send_event(messages.DistributionStopped(identity=distribution.identity))

    def _spawn(self, request: messages.Spawn, reply: Reply) -> None:
        self._sessions.start(request, reply)

    def _find_user(self, request: messages.FindUser, reply: Reply) -> None:
        distribution = self._distributions.get(request.distribution)
        if distribution is None:
            raise AgentError("the distribution does not run")
        reply(messages.UserFound(uid=distribution.files.find_user(request.name, 0).uid))

    def _set_up_network(self, request: messages.SetUpNetwork, reply: Reply) -> None:
        self._network.set_up(request)
        reply(Done())

    def _change_names(self, request: messages.ChangeNames, reply: Reply) -> None:
        self._network.change_names(request.names)
        reply(Done())

    def _power_off_request(self, request: messages.PowerOff, reply: Reply) -> None:
        def stop_all() -> Message:
            for distribution in list(self._distributions.values()):
                distributions.end_init(distribution, 2.0, self._drives.end_all)
            os.sync()
            return Done()

        def done(_answer: Message | None, error: Exception | None) -> None:
            reply(failure_of(error) if error else Done())
            self._loop.call_later(0, self._system.power_off)

        for distribution in self._distributions.values():
            self._ask_to_stop(distribution, 2000)
        self._loop.run_in_thread(stop_all, done)

    # -- events --------------------------------------------------------------------------------

    def _resize(self, event: Resize) -> None:
        self._sessions.resize(event)

    def _signal(self, event: Signal) -> None:
        self._sessions.signal(event)

    def _hangup(self, event: Hangup) -> None:
        self._sessions.hangup(event)

    def _launched(self, event: messages.Launched) -> None:
        self._launches.launched(event)

    def _exited(self, event: Exited) -> None:
        self._launches.exited(event)

    _EVENTS: dict[type[Message], Callable[[Agent, Any], None]] = {  # noqa: RUF012
        Resize: _resize,
        Signal: _signal,
        Hangup: _hangup,
        messages.ExpectDisk: _expect_disk,
        messages.Launched: _launched,
        Exited: _exited,
    }
    _REQUESTS: dict[type[Message], Callable[[Agent, Any, Reply], None]] = {  # noqa: RUF012
        messages.Hello: _hello,
        messages.Reseed: _reseed,
        messages.Reclaim: _reclaim,
        **dict.fromkeys(disks.WORK, _disk_request),
        messages.AddModules: _add_modules,
        messages.Unpack: _unpack,
        messages.Pack: _pack,
        messages.InspectRoot: _inspect,
        messages.StartDistribution: _start_distribution,
        messages.StopDistribution: _stop_distribution,
        messages.AnnounceDrive: _announce_drive,
        messages.UseBulkDisk: _use_bulk_disk,
        messages.EndDrive: _end_drive,
        messages.Spawn: _spawn,
        messages.FindUser: _find_user,
        messages.SetUpNetwork: _set_up_network,
        messages.ChangeNames: _change_names,
        messages.PowerOff: _power_off_request,
    }
