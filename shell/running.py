"""Running a command: request, streams, terminal, exit status."""

from __future__ import annotations

import os

from shell.connection import Connection
from shell.exitcodes import status_of_signal
from shell.failure import ClientError
from shell.invocations import RunCommand
from shell.progress import ProgressLine
from shell.streams import SESSION, Reader, Writer, read_fd
from shell.terminal import RawTerminal, UserTerminal, forward_signals, terminal_of
from wire import failures
from wire.client import Run, Running
from wire.codec import Message
from wire.common import Exited, Failure, Resize, Signal, Terminal
from wire.errors import WireError
from wire.frame import Frame, FrameKind, StreamId, decode_credit

_TERMINAL_VARIABLES = ("TERM", "COLORTERM")


class Session:
    """Session 1 of a connection, seen from the user's side."""

    def __init__(self, connection: Connection, progress: ProgressLine) -> None:
        self._connection = connection
        self._progress = progress
        self._writers: dict[int, Writer] = {}
        self._readers: dict[int, Reader] = {}
        self._exited: Exited | None = None
        self._warnings: tuple[str, ...] = ()
        self._raw: RawTerminal | None = None
        self.terminal = terminal_of()
        connection.on_event = self._on_event

    def run(self, request: Run) -> int:
        """Run the command to its end; returns the exit status for our caller.

        Raises ClientError.
        """
        number = self._connection.send_request(request)
        forward_signals(self._send_signal)
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
        """The process runs: the user's input is its input from now on."""
        self._progress.clear()
        if reply.warnings:
            from shell import render

            os.write(2, "".join(map(render.warning, reply.warnings)).encode())
        if self.terminal is None:
            self._read(StreamId.STDIN, 0)
            return
        if self._exited is None:
            self._raw = RawTerminal(self.terminal, self._send_size)
            self._raw.enter()
        self._read(StreamId.TERMINAL, self.terminal.keys)
        if 0 in self.terminal.redirected:
            self._read(StreamId.STDIN, 0)

    def _read(self, stream: int, fd: int) -> None:
        self._readers[stream] = Reader(self._connection, stream, read_fd(fd))

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind == FrameKind.DATA:
            self._progress.clear()
            self._writer(frame.stream).receive(frame.payload)
        elif frame.stream in self._readers:
            if frame.kind == FrameKind.CREDIT:
                self._readers[frame.stream].grant(decode_credit(frame))
            elif frame.kind == FrameKind.STOP:
                self._readers[frame.stream].stop()

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

    def _send_size(self, size: Terminal) -> None:
        event = Resize(session=SESSION, rows=size.rows, columns=size.columns)
        self._connection.send_event(event)

    def _send_signal(self, number: int) -> None:
        self._connection.send_event(Signal(session=SESSION, number=number))

    def _finish(self) -> None:
        """Everything that came is shown, and the terminal is the user's again."""
        self._progress.clear()
        for writer in self._writers.values():
            writer.finish()
        if self._raw is not None:
            self._raw.leave()


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
        host_directory=command.host_directory or os.getcwd(),
        environment=environment,
        terminal=None if terminal is None else terminal.size(),
        redirected=() if terminal is None else terminal.redirected,
        system=command.system or command.debug_shell,
    )
