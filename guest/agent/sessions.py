"""Sessions: processes that are started for the service, and the frames and events for them.

Everything here runs on the loop's thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from guest import initclient
from guest.agent import disks
from guest.agent.distributions import HELPER_SOCKET, Distribution, has_ended
from guest.agent.distroconf import Oobe, read_oobe
from guest.agent.errors import AgentError, failure_of
from guest.agent.link import Link
from guest.agent.loop import Loop
from guest.agent.session import Channels, Session, make_channels
from guest.agent.setup import FirstRun, first_run_done
from guest.agent.spawning import group_killer, spawn_error, spawn_in_system, spawn_request
from guest.agent.windowsview import seen_from
from wire import agent as messages
from wire.codec import Message
from wire.common import Done, Hangup, Resize, Signal
from wire.errors import MessageError
from wire.frame import FIRST_AGENT_SESSION, Frame
from wire.pathlists import HOME

Reply = Callable[[Message], None]
"""Sends the one answer to a request."""


def seen_from_distribution(
    distribution: Distribution, request: messages.Spawn
) -> tuple[messages.Spawn, tuple[str, ...]]:
    """`request` with what it says of Windows in the distribution's terms, and warnings.

    Raises OSError.
    """
    mounts = distribution.mount_table.mounts()
    conf = distribution.files.conf
    return seen_from(request, mounts, distribution.name, conf, HELPER_SOCKET)


class Starting:
    """A session whose terminal is being opened; it may be hung up before it has begun."""

    __slots__ = ("is_hung_up",)

    def __init__(self) -> None:
        self.is_hung_up = False


class Sessions:
    """Every session of the link; `distributions` are those that run, by identity."""

    def __init__(self, loop: Loop, link: Link, distributions: Mapping[str, Distribution]) -> None:
        self._loop = loop
        self._link = link
        self._distributions = distributions
        self._sessions: dict[int, Session] = {}
        self._starting: dict[int, Starting] = {}

    def __len__(self) -> int:
        """How many are open, or being opened."""
        return len(self._sessions) + len(self._starting)

    def on_frame(self, frame: Frame) -> None:
        """A stream frame. Raises FlowError."""
        session = self._sessions.get(frame.channel)
        if session is not None:  # else it has just ended; its last frames cross ours
            session.on_frame(frame)

    def drop_all(self) -> None:
        """The link has lost its state: nobody waits for these sessions any more."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.drop()
        starting, self._starting = self._starting, {}
        for start in starting.values():
            start.is_hung_up = True

    # -- starting ------------------------------------------------------------------------------

    def run_archiver(self, number: int, argv: list[str], reply: Reply) -> None:
        """Answer that `argv`, in the utility VM, runs as a session."""

        def started(answer: Message) -> None:
            reply(Done() if isinstance(answer, messages.Spawned) else answer)

        self.start(messages.Spawn(session=number, distribution="", argv=tuple(argv)), started)

    def start(self, request: messages.Spawn, reply: Reply) -> None:
        """Start a process as a new session, and answer with Spawned or why not.

        Raises MessageError for a session number that cannot be, and AgentError and OSError.
        """
        number = request.session
        in_use = number in self._sessions or number in self._starting
        if in_use or not 0 < number < FIRST_AGENT_SESSION:
            raise MessageError(f"session {number} exists already or cannot exist")
        if not request.distribution:
            self._start_in_system(request, reply)
            return
        distribution = self._distributions.get(request.distribution)
        if distribution is None:
            raise has_ended("the distribution")
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
        try:
            request, warnings = seen_from_distribution(distribution, request)
        except OSError:
            if master >= 0:
                os.close(master)
            raise
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
            told = warnings
            if answer.directory and request.directories[0] != HOME and request.windows_directory:
                told += (f"{request.directories[0]} cannot be entered; started in {directory}",)
            reply(messages.Spawned(pid=answer.pid, directory=directory, warnings=told))

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

    # -- events --------------------------------------------------------------------------------

    def resize(self, event: Resize) -> None:
        """The user's terminal has a new size."""
        session = self._sessions.get(event.session)
        if session is not None:
            session.resize(event.rows, event.columns)

    def signal(self, event: Signal) -> None:
        """Signal a session's process group; numbers that are none are ignored."""
        session = self._sessions.get(event.session)
        if session is not None and 0 < event.number < 65:
            session.signal(event.number)

    def hangup(self, event: Hangup) -> None:
        """A session's client is gone."""
        session = self._sessions.get(event.session)
        starting = self._starting.get(event.session)
        if session is not None:
            session.hang_up()
        elif starting is not None:
            starting.is_hung_up = True
