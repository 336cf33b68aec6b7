"""Windows programs that are started in a distribution (docs/interop.md).

The launcher asks by the helper socket; the agent has the service start the program and carries
its streams: sessions of the service-agent link in which the process is at the other end. Every
pipe is made here, and the launcher gets one end of it: a file description that a program of the
distribution shared could be made to block the agent.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from guest.agent.helpers import Call
from guest.agent.link import Link
from guest.agent.loop import Loop
from guest.agent.service import Service
from guest.agent.session import make_pipe
from guest.agent.streams import InputStream, OutputStream
from guest.helperprotocol import (
    LAUNCH_CONSOLE,
    LAUNCH_GUI,
    LAUNCH_MAX_PROGRAM_BYTES,
    REPLY_BIT,
    Body,
    HelperProtocolError,
    LaunchMessage,
    Op,
    i32,
    u32,
)
from wire.agent import Launch, Launched
from wire.codec import Message
from wire.common import Exited, Failure, Hangup, Resize, Signal, Terminal
from wire.errors import FlowError
from wire.frame import (
    FIRST_AGENT_SESSION,
    MAX_CHANNEL,
    Frame,
    FrameKind,
    StreamId,
    decode_credit,
)

_MAX_CELLS = 0xFFFF
"""struct winsize (ioctl_tty(2)) has 16 bits for each direction."""


def parse_launch(body: bytes, session: int, distribution: str) -> Launch:
    """The service's request that a launcher's stands for. Pure. Raises HelperProtocolError."""
    read = Body(body)
    flags, rows, columns, program_bytes = read.u32(), read.u32(), read.u32(), read.u32()
    file, program, directory = read.string(), read.string(), read.string()
    argv, variables = read.strings(), read.strings()
    read.finish()
    if flags & ~LAUNCH_CONSOLE or program_bytes > LAUNCH_MAX_PROGRAM_BYTES:
        raise HelperProtocolError("a launch that cannot be")
    if not argv or (program_bytes == 0) != bool(program):
        raise HelperProtocolError("a launch of nothing")
    pairs = (variable.partition("=") for variable in variables)
    return Launch(
        session=session,
        distribution=distribution,
        file=file,
        argv=tuple(argv),
        program=program,
        program_bytes=program_bytes,
        directory=directory,
        environment={name: value for name, _, value in pairs},
        terminal=_terminal(rows, columns) if flags & LAUNCH_CONSOLE else None,
    )


def _terminal(rows: int, columns: int) -> Terminal:
    if not 0 < rows <= _MAX_CELLS or not 0 < columns <= _MAX_CELLS:
        raise HelperProtocolError(f"a terminal of {rows} by {columns}")
    return Terminal(rows=rows, columns=columns)


class _Program:
    """A Windows program and its launcher, from the request to the program's end."""

    def __init__(self, loop: Loop, link: Link, call: Call, request: Launch) -> None:
        self._loop = loop
        self._link = link
        self._call = call
        self._outputs: dict[int, InputStream] = {}
        """What the program writes, on its way to the launcher."""
        self._inputs: dict[int, OutputStream] = {}
        """What the program reads, on its way from the launcher."""
        self._is_open = False
        self.request = request
        self._ours: list[int] = []
        theirs: list[int] = []
        has_console = request.terminal is not None
        try:
            for is_input in (True, False, has_console):
                reader, writer = make_pipe()
                self._ours.append(reader if is_input else writer)
                theirs.append(writer if is_input else reader)
            call.send(Op.LAUNCH | REPLY_BIT, fds=theirs)
        except BaseException:
            self.close_streams()
            raise
        finally:
            for fd in theirs:
                os.close(fd)

    def open(self) -> None:
        """The service takes streams: join them with the launcher's."""
        number = self.request.session
        if not self._call.is_open:
            self._link.send_event(Hangup(session=number))
            return
        stdin, output, third = self._ours
        self._ours = []
        self._is_open = True
        self._add_input(StreamId.STDIN, stdin)
        if self.request.terminal is None:
            self._add_output(StreamId.STDOUT, output)
            self._add_output(StreamId.STDERR, third)
        else:
            self._add_output(StreamId.TERMINAL, output)
            self._add_input(StreamId.TERMINAL, third)

    def _add_input(self, stream: int, fd: int) -> None:
        self._inputs[stream] = OutputStream(
            self._loop, self._link, self.request.session, stream, fd, on_end=lambda: None
        )

    def _add_output(self, stream: int, fd: int) -> None:
        self._outputs[stream] = InputStream(
            self._loop, self._link, self.request.session, stream, fd
        )

    def on_frame(self, frame: Frame) -> None:
        """A stream frame from the service. Raises FlowError."""
        if frame.kind in (FrameKind.DATA, FrameKind.EOF):
            if frame.stream == StreamId.STDIN:
                raise FlowError("a Windows program's input came from the service")
            output = self._outputs.get(frame.stream)
            if output is None:
                return
            if frame.kind == FrameKind.DATA:
                output.receive(frame.payload)
            else:
                output.end()
            return
        source = self._inputs.get(frame.stream)
        if source is None:
            return
        if frame.kind == FrameKind.CREDIT:
            source.grant(decode_credit(frame))
        else:
            source.end()

    def on_message(self, op: int, body: bytes) -> None:
        """The launcher tells something. Raises HelperProtocolError."""
        read, session = Body(body), self.request.session
        event: Message
        if op == LaunchMessage.RESIZE:
            size = _terminal(read.u32(), read.u32())
            event = Resize(session=session, rows=size.rows, columns=size.columns)
        elif op == LaunchMessage.SIGNAL:
            event = Signal(session=session, number=read.u32())
        else:
            raise HelperProtocolError(f"a message {op} from a launcher")
        read.finish()
        if self._is_open:
            self._link.send_event(event)

    def hang_up(self) -> None:
        """The launcher is gone."""
        if self._is_open:
            self._link.send_event(Hangup(session=self.request.session))
        self.close_streams()

    def launched(self, event: Launched) -> None:
        """The program runs, or does not."""
        if event.error:
            self.refuse(event.error, event.message, event.hint)
        else:
            self._call.send(LaunchMessage.STARTED, u32(LAUNCH_GUI if event.is_gui else 0))

    def exited(self, event: Exited) -> None:
        """The program has ended; what it wrote is here, if not yet with the launcher."""
        self._is_open = False
        for source in self._inputs.values():
            source.end()
        for output in self._outputs.values():
            output.end()  # once everything is written
        self._call.on_close = lambda: None
        status = event.status & 0xFFFF_FFFF
        signed = status - 2**32 if status >= 2**31 else status
        self._call.finish(LaunchMessage.EXITED, i32(signed))

    def refuse(self, number: int, message: str, hint: str) -> None:
        """The program does not run."""
        self._is_open = False
        self._call.refuse(number, message, hint)
        self.close_streams()

    def close_streams(self) -> None:
        """Close all descriptors."""
        self._is_open = False
        for fd in self._ours:
            os.close(fd)
        self._ours = []
        for output in self._outputs.values():
            output.close()
        for source in self._inputs.values():
            source.end()


class Launches:
    """Windows programs that have been asked for and have not ended."""

    def __init__(self, loop: Loop, link: Link, service: Service) -> None:
        self._loop = loop
        self._link = link
        self._service = service
        self._programs: dict[int, _Program] = {}
        self._last = FIRST_AGENT_SESSION - 1

    def __len__(self) -> int:
        return len(self._programs)

    def handle(self, call: Call, body: bytes) -> None:
        """A launcher asks (guest.agent.helpers.Handler)."""
        if not call.distribution.files.conf.interop_enabled:
            hint = "interop.enabled is false in its /etc/wsl.conf."
            call.refuse(errno.ENOEXEC, "this distribution starts no Windows programs", hint)
            return
        number = self._next_number()
        request = parse_launch(body, number, call.distribution.identity)
        program = self._programs[number] = _Program(self._loop, self._link, call, request)
        call.on_message = program.on_message
        call.on_close = program.hang_up
        self._service.request(request, self._answerer(program))

    def _next_number(self) -> int:
        while True:
            self._last = self._last + 1 if self._last < MAX_CHANNEL else FIRST_AGENT_SESSION
            if self._last not in self._programs:
                return self._last

    def _answerer(self, program: _Program) -> Callable[[Message], None]:
        def on_reply(reply: Message) -> None:
            if isinstance(reply, Failure):
                self._programs.pop(program.request.session, None)
                program.refuse(errno.EIO, reply.message, reply.hint)
            else:
                program.open()

        return on_reply

    def on_frame(self, frame: Frame) -> None:
        """A stream frame of an agent's session. Raises FlowError."""
        program = self._programs.get(frame.channel)
        if program is not None:  # else it has ended, and its last frames cross ours
            program.on_frame(frame)

    def launched(self, event: Launched) -> None:
        """The service tells whether a program runs."""
        program = self._programs.get(event.session)
        if program is None:
            return
        if event.error:
            del self._programs[event.session]
        program.launched(event)

    def exited(self, event: Exited) -> None:
        """The service tells that a program has ended, and sends nothing more of it."""
        program = self._programs.pop(event.session, None)
        if program is not None:
            program.exited(event)

    def drop_all(self) -> None:
        """The link has lost its state: the service ends these programs."""
        programs, self._programs = self._programs, {}
        for program in programs.values():
            program.refuse(errno.ECONNRESET, "the connection to the host was lost", "")
