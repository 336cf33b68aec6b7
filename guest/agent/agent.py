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
from guest.agent import archives, disks, distributions
from guest.agent.distributions import Distribution
from guest.agent.distroconf import Oobe, read_oobe
from guest.agent.errors import AgentError, failure_of
from guest.agent.link import Link
from guest.agent.loop import Loop
from guest.agent.roots import describe_root
from guest.agent.session import Channels, Session, make_channels
from guest.agent.setup import FirstRun, first_run_done, run_boot_command
from guest.agent.spawning import (
    group_killer,
    spawn_error,
    spawn_in_system,
    spawn_request,
)
from guest.agent.system import System
from wire import agent as messages
from wire.codec import Message, decode_message
from wire.common import PROTOCOL_VERSION, Done, Hangup, Resize, Signal
from wire.errors import FrameError, MessageError, WireError
from wire.frame import MAX_CHANNEL, Frame, FrameKind, Role


class Starting:
    """A session whose terminal is being opened; it may be hung up before it has begun."""

    __slots__ = ("is_hung_up",)

    def __init__(self) -> None:
        self.is_hung_up = False


class Agent:
    """State of the agent: running distributions and open sessions."""

    def __init__(
        self, loop: Loop, open_port: Callable[[], int], version: str, system: System
    ) -> None:
        self._loop = loop
        self._version = version
        self._system = system
        self._sessions: dict[int, Session] = {}
        self._starting: dict[int, Starting] = {}
        self._distributions: dict[str, Distribution] = {}
        self._link = Link(loop, open_port, self._on_frame, self._drop_sessions, system.power_off)
        for distribution in distributions.left_running(loop, self._on_distribution_stopped):
            self._distributions[distribution.identity] = distribution

    # -- frames --------------------------------------------------------------------------------

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind == FrameKind.MESSAGE:
            self._on_message(frame)
            return
        session = self._sessions.get(frame.channel)
        if session is not None:  # else it has just ended; its last frames cross ours
            session.on_frame(frame)

    def _on_message(self, frame: Frame) -> None:
        message = decode_message(frame.payload)
        if frame.stream == Role.EVENT:
            handle_event = self._EVENTS.get(type(message))
            if handle_event is None:
                raise MessageError(f"{message.NAME} is not an event for the agent")
            handle_event(self, message)
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

    def _drop_sessions(self) -> None:
        """The link has lost its state: nobody waits for these sessions any more."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.drop()
        starting, self._starting = self._starting, {}
        for start in starting.values():
            start.is_hung_up = True

    def _in_thread(self, work: Callable[[], Message], reply: Reply) -> None:
        """Answer with what `work` returns, or with its failure."""

        def done(answer: Message | None, error: Exception | None) -> None:
            reply(failure_of(error) if error else answer or Done())

        self._loop.run_in_thread(work, done)

    # -- requests ------------------------------------------------------------------------------

    def _hello(self, hello: messages.Hello, reply: Reply) -> None:
        self._system.set_clock(hello.time_ns)
        self._system.set_hostname(hello.hostname)
        reply(
            messages.Welcome(
                protocol=PROTOCOL_VERSION,
                version=self._version,
                kernel=os.uname().release,
                boot_id=self._system.boot_id(),
                running=tuple(self._distributions),
            )
        )

    def _disk_request(self, request: Any, reply: Reply) -> None:
        work = self._DISK_WORK[type(request)]

        def body() -> Message:
            work(request.disk)
            return Done()

        self._in_thread(body, reply)

    def _inspect(self, request: messages.InspectRoot, reply: Reply) -> None:
        self._in_thread(lambda: describe_root(disks.mount_point(request.disk)), reply)

    def _unpack(self, request: messages.Unpack, reply: Reply) -> None:
        self._run_archiver(request.session, archives.unpack_argv(request.disk), reply)

    def _pack(self, request: messages.Pack, reply: Reply) -> None:
        self._run_archiver(request.session, archives.pack_argv(request.disk), reply)

    def _run_archiver(self, number: int, argv: list[str], reply: Reply) -> None:
        def started(answer: Message) -> None:
            reply(Done() if isinstance(answer, messages.Spawned) else answer)

        self._start_session(
            messages.Spawn(session=number, distribution="", argv=tuple(argv)), started
        )

    def _start_distribution(self, request: messages.StartDistribution, reply: Reply) -> None:
        identity = request.identity
        if identity in self._distributions:
            reply(messages.DistributionStarted())
            return

        def start() -> tuple[int, list[str]]:
            disks.mount_disk(request.disk)
            return distributions.start_init(identity, request.name, request.disk, request.hostname)

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
            run_boot_command(distribution, self._link.send_event)
            reply(messages.DistributionStarted(warnings=tuple(warnings)))

        self._loop.run_in_thread(start, started)

    def _stop_distribution(self, request: messages.StopDistribution, reply: Reply) -> None:
        distribution = self._distributions.get(request.identity)
        if distribution is None:
            reply(Done())
            return
        self._ask_to_stop(distribution, request.grace_ms)

        def stop() -> Message:
            distributions.end_init(distribution, request.grace_ms / 1000)
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

    def _on_distribution_stopped(self, distribution: Distribution) -> None:
        self._distributions.pop(distribution.identity, None)
        self._link.send_event(messages.DistributionStopped(identity=distribution.identity))

    def _start_session(self, request: messages.Spawn, reply: Reply) -> None:
        number = request.session
        if number in self._sessions or number in self._starting or not 0 < number <= MAX_CHANNEL:
            raise MessageError(f"session {number} exists already or cannot exist")
        if not request.distribution:
            self._start_in_system(request, reply)
            return
        distribution = self._distributions.get(request.distribution)
        if distribution is None:
            raise AgentError("the distribution does not run")
        if request.terminal is None:
            self._start_in_distribution(distribution, request, -1, reply)
            return

        starting = self._starting[number] = Starting()

        def on_master(answer: initclient.OpenReply) -> None:
            if self._starting.get(number) is starting:
                del self._starting[number]
            try:
                if answer.error:
                    raise AgentError(f"no terminal: {os.strerror(answer.error)}")
                if starting.is_hung_up:
                    os.close(answer.fd)
                    raise AgentError("the session was hung up before it started")
                self._start_in_distribution(distribution, request, answer.fd, reply)
            except Exception as error:
                reply(failure_of(error))

        # The terminal must belong to the distribution's own /dev/pts, or ttyname(3) fails there.
        flags = os.O_RDWR | os.O_NOCTTY
        try:
            distribution.request(initclient.Open(path=b"/dev/ptmx", flags=flags), (), on_master)
        except BaseException:
            del self._starting[number]
            raise

    def _start_in_system(self, request: messages.Spawn, reply: Reply) -> None:
        master = -1
        if request.terminal is not None:
            master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        channels = make_channels(request.terminal, master, request.redirected)
        session = self._open_session(request.session, channels)
        try:
            pid = spawn_in_system(self._loop, request, channels, session)
        except BaseException:
            self._abandon(session, channels)
            raise
        channels.close_theirs()
        reply(messages.Spawned(pid=pid, directory="/"))

    def _start_in_distribution(
        self,
        distribution: Distribution,
        request: messages.Spawn,
        master: int,
        reply: Reply,
    ) -> None:
        files = distribution.files
        default_uid = request.default_uid
        if request.first_run and not distribution.is_in_first_run:
            oobe = read_oobe(disks.mount_point(distribution.disk))
            if oobe.command:
                self._start_first_run(distribution, oobe, request, master, reply)
                return
            self._link.send_event(first_run_done(distribution, oobe))
            default_uid = oobe.default_uid
        try:
            user = files.find_user(request.user, default_uid)
            umask = files.conf.umask
            spawn = spawn_request(request, user, distribution.name, files.language, umask)
        except BaseException:
            if master >= 0:
                os.close(master)
            raise
        channels = make_channels(request.terminal, master, request.redirected)
        session = self._open_session(request.session, channels)

        def on_spawned(answer: initclient.SpawnReply) -> None:
            if answer.error:
                self._abandon(session, channels)
                reply(spawn_error(answer, spawn).to_failure())
                return
            channels.close_theirs()
            distribution.expect_exit(answer.pid, session.exited)
            session.started(group_killer(distribution, answer.pid))
            directory = os.fsdecode(spawn.directories[answer.directory])
            reply(messages.Spawned(pid=answer.pid, directory=directory))

        try:
            distribution.request(spawn, channels.theirs, on_spawned)
        except BaseException:
            self._abandon(session, channels)
            raise

    def _start_first_run(
        self,
        distribution: Distribution,
        oobe: Oobe,
        request: messages.Spawn,
        master: int,
        reply: Reply,
    ) -> None:
        """Run the setup that the distribution brings with it, and the shell after it."""
        channels = make_channels(request.terminal, master, request.redirected)
        session = self._open_session(request.session, channels)

        def on_spawned(spawn: initclient.Spawn, answer: initclient.SpawnReply) -> None:
            if answer.error:
                self._abandon(session, channels)
                reply(spawn_error(answer, spawn).to_failure())
                return
            directory = os.fsdecode(spawn.directories[answer.directory])
            reply(messages.Spawned(pid=answer.pid, directory=directory))

        send = self._link.send_event
        try:
            FirstRun(distribution, oobe, request, session, channels, send).start(on_spawned)
        except BaseException:
            self._abandon(session, channels)
            raise

    def _find_user(self, request: messages.FindUser, reply: Reply) -> None:
        distribution = self._distributions.get(request.distribution)
        if distribution is None:
            raise AgentError("the distribution does not run")
        reply(messages.UserFound(uid=distribution.files.find_user(request.name, 0).uid))

    def _open_session(self, number: int, channels: Channels) -> Session:
        session = Session(self._loop, self._link, number, channels, self._on_session_end)
        self._sessions[number] = session
        return session

    def _on_session_end(self, session: Session) -> None:
        if self._sessions.get(session.number) is session:
            del self._sessions[session.number]

    def _abandon(self, session: Session, channels: Channels) -> None:
        """A session whose process could not be started."""
        channels.close_theirs()
        session.close_streams()
        self._on_session_end(session)

    def _power_off_request(self, request: messages.PowerOff, reply: Reply) -> None:
        def stop_all() -> Message:
            for distribution in list(self._distributions.values()):
                distributions.end_init(distribution, 2.0)
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
        session = self._sessions.get(event.session)
        if session is not None:
            session.resize(event.rows, event.columns)

    def _signal(self, event: Signal) -> None:
        session = self._sessions.get(event.session)
        if session is not None and 0 < event.number < 65:
            session.signal(event.number)

    def _hangup(self, event: Hangup) -> None:
        session = self._sessions.get(event.session)
        starting = self._starting.get(event.session)
        if session is not None:
            session.hang_up()
        elif starting is not None:
            starting.is_hung_up = True

    _EVENTS: dict[type[Message], Callable[[Agent, Any], None]] = {  # noqa: RUF012
        Resize: _resize,
        Signal: _signal,
        Hangup: _hangup,
    }
    _REQUESTS: dict[type[Message], Callable[[Agent, Any, Reply], None]] = {  # noqa: RUF012
        messages.Hello: _hello,
        messages.FormatDisk: _disk_request,
        messages.CheckDisk: _disk_request,
        messages.MountDisk: _disk_request,
        messages.UnmountDisk: _disk_request,
        messages.Unpack: _unpack,
        messages.Pack: _pack,
        messages.InspectRoot: _inspect,
        messages.StartDistribution: _start_distribution,
        messages.StopDistribution: _stop_distribution,
        messages.Spawn: _start_session,
        messages.FindUser: _find_user,
        messages.PowerOff: _power_off_request,
    }
    _DISK_WORK: dict[type[Message], Callable[[str], None]] = {  # noqa: RUF012
        messages.FormatDisk: disks.format_disk,
        messages.CheckDisk: disks.check_disk,
        messages.MountDisk: disks.mount_disk,
        messages.UnmountDisk: disks.unmount_disk,
    }


Reply = Callable[[Message], None]
"""Sends the one answer to a request."""
