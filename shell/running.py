"""Running a command: request, streams, terminal, exit status."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Mapping, Sequence

from shell.connection import Connection, open_connection, places
from shell.exitcodes import status_of_signal
from shell.failure import ClientError
from shell.invocations import RunCommand
from shell.progress import ProgressLine
from shell.streams import SESSION, Reader, Writer, discard, read_fd, write_all
from shell.terminal import RawTerminal, UserTerminal, forward_signals, terminal_of
from wire import failures
from wire.client import Run, Running
from wire.codec import Message
from wire.common import Exited, Failure, Resize, Signal, Terminal
from wire.errors import WireError
from wire.frame import Frame, FrameKind, StreamId, decode_credit
from wire.network import PROXY_VARIABLES

_TERMINAL_VARIABLES = ("TERM", "COLORTERM")


class Session:
    """Session 1 of a connection, seen from the user's side."""

    def __init__(self, connection: Connection, progress: ProgressLine) -> None:
        self._connection = connection
        self._progress = progress
        self._writers: dict[int, Writer] = {}
        self._readers: dict[int, Reader] = {}
        self._exited: Exited | None = None
        self._unwanted: set[int] = set()
        self._events: deque[Message | None] = deque()
        """To be sent; None: the terminal's size, as it is by then."""
        self._asked_size: Terminal | None = None
        self._is_sending = False
        self._raw: RawTerminal | None = None
        self.terminal = terminal_of()
        connection.on_event = self._on_event

    def run(self, request: Run) -> int:
        """Run the command to its end; returns the exit status for our caller.

        Raises ClientError.
        """
        self._asked_size = request.terminal
        number = self._connection.send_request(request)
        try:
            while self._exited is None:
                frame = self._connection.receive()
                if frame.kind != FrameKind.MESSAGE:
                    self._on_frame(frame)
                    continue
                reply = self._connection.receive_message(frame, number)
                if isinstance(reply, Running):
                    self._started(reply)
        except WireError as error:
            raise ClientError(
                failures.PROTOCOL, f"malformed data from the service: {error}"
            ) from None
        finally:
            self._finish()
        if self._exited.signal:
            return status_of_signal(self._exited.signal)
        return self._exited.status

    def _started(self, reply: Running) -> None:
        """The process runs: the user's input and signals are its own from now on.

        Not before: a Ctrl-C while the machine boots ends this command, there is nothing else.
        """
        self._progress.clear()
        self._connection.wake_for_signals()
        forward_signals(self._send_signal)
        self._warn(reply.warnings)
        if self.terminal is None:
            self._read(StreamId.STDIN, 0)
            return
        if self._exited is None:
            self._raw = RawTerminal(self.terminal, self._send_size)
            self._raw.enter()
            if self.terminal.size() != self._asked_size:  # changed while the machine booted
                self._send_size()
        self._read(StreamId.TERMINAL, self.terminal.keys)
        if 0 in self.terminal.redirected:
            self._read(StreamId.STDIN, 0)

    @staticmethod
    def _warn(warnings: Sequence[str]) -> None:
        if warnings:
            from shell import render

            with contextlib.suppress(OSError):
                write_all(2, "".join(map(render.warning, warnings)).encode())

    def _read(self, stream: int, fd: int) -> None:
        if stream in self._unwanted:
            self._refuse_input(stream)
        else:
            self._readers[stream] = Reader(self._connection, stream, read_fd(fd))

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind == FrameKind.DATA:
            self._progress.clear()
            self._writer(frame.stream).receive(frame.payload)
        elif frame.kind == FrameKind.CREDIT:
            if frame.stream in self._readers:
                self._readers[frame.stream].grant(decode_credit(frame))
        elif frame.kind == FrameKind.STOP:
            self._unwanted.add(frame.stream)  # it may come before we know that the process runs
            if frame.stream in self._readers:
                self._readers[frame.stream].stop()
                self._refuse_input(frame.stream)
        elif frame.stream == StreamId.STDOUT:  # FrameKind.EOF
            self._writer(frame.stream).end()

    def _refuse_input(self, stream: int) -> None:
        """Nobody reads what we are fed: whoever feeds us must see a closed pipe."""
        if stream == StreamId.STDIN:
            discard(0)

    def _writer(self, stream: int) -> Writer:
        if stream not in self._writers:
            fd = stream
            if stream == StreamId.TERMINAL:
                fd = self.terminal.screen if self.terminal is not None else 1
            self._writers[stream] = Writer(self._connection, stream, fd)
        return self._writers[stream]

    def _on_event(self, event: Message) -> None:
        if isinstance(event, Exited):
            self._exited = event
        elif isinstance(event, Failure):  # the machine under the command is gone
            raise ClientError.from_failure(event)
        else:
            self._progress.on_event(event)

    def _send_size(self) -> None:
        self._send_from_handler(None)

    def _send_signal(self, number: int) -> None:
        self._send_from_handler(Signal(session=SESSION, number=number))

    def _send_from_handler(self, event: Message | None) -> None:
        """Send an event from a signal handler, which may have interrupted another one at this.

        The interrupted one holds the connection's lock, perhaps with half a frame sent: it is
        left to send our event as well. The size is only read when its turn comes: of two handlers
        the one that has read it first might be the one that sends it last.
        """
        if self._exited is not None:
            return
        self._events.append(event)
        while self._events and not self._is_sending:
            self._is_sending = True
            try:
                while self._events:
                    self._connection.send_event(self._events.popleft() or self._size())
            finally:
                self._is_sending = False

    def _size(self) -> Message:
        assert self.terminal is not None  # only its changes of size are told
        size = self.terminal.size()
        return Resize(session=SESSION, rows=size.rows, columns=size.columns)

    def _finish(self) -> None:
        """Everything that came is shown, and the terminal is the user's again."""
        self._progress.clear()
        for writer in self._writers.values():
            writer.finish()
        if self._raw is not None:
            self._raw.leave()
        self._warn(
            [
                f"output was lost: {writer.problem.strerror}"
                for writer in self._writers.values()
                if writer.problem
            ]
        )


def run_request(command: RunCommand, terminal: UserTerminal | None) -> Run:
    """The request that a command line stands for, given the terminal it was typed in."""
    environment = {name: os.environ[name] for name in _TERMINAL_VARIABLES if name in os.environ}
    return Run(
        distribution=command.distribution,
        line=command.line,
        argv=command.argv,
        login=command.login,
        user=command.user,
        directory=command.directory,
        host_directory=command.host_directory or _working_directory(),
        environment=environment,
        host_environment=shared_variables(os.environ),
        proxies={name: os.environ[name] for name in os.environ if name.lower() in PROXY_VARIABLES},
        terminal=None if terminal is None else terminal.size(),
        redirected=() if terminal is None else terminal.redirected,
        system=command.system or command.debug_shell,
    )


def shared_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """WSLENV and the variables that it names; nothing without it. Pure."""
    listed = environment.get("WSLENV", "")
    if not listed:
        return {}
    names = {entry.partition("/")[0] for entry in listed.split(":")}
    return {name: environment[name] for name in ("WSLENV", *names) if name in environment}


def _working_directory() -> str:
    """Where we stand on the host; "" if that directory has been deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def run_command(command: RunCommand) -> int:
    """Run a command line's program in this terminal; returns the exit status.

    Raises ClientError.
    """
    session = Session(open_connection(places(), for_command=True), ProgressLine())
    return session.run(run_request(command, session.terminal))
