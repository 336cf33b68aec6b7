"""Windows programs that distributions start (docs/interop.md): from the agent's request to the end.

A program's streams are a session of the service-agent link in which this end is the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
from collections.abc import Callable
from pathlib import Path

from interop.commandline import windows_argv
from interop.hostos.contract import (
    ConsoleSize,
    Host,
    Input,
    Output,
    Program,
    WindowsProcess,
)
from interop.hostos.errors import HostError
from service.errors import LinkLost, ServiceError
from service.link import AgentLink
from service.relay import INPUTS, check_direction
from service.staging import StagedProgram, Staging
from wire.agent import Launch, Launched
from wire.codec import Message
from wire.common import Done, Exited, Hangup, Resize, Signal
from wire.errors import ArgumentError, PathError
from wire.flow import ReceiveWindow, SendWindow
from wire.frame import (
    CREDIT_PAYLOAD,
    MAX_DATA_BYTES,
    Frame,
    FrameKind,
    StreamId,
    decode_credit,
)

log = logging.getLogger(__name__)

_TAIL_IDLE_S = 0.25
"""A program has ended and something holds its pipe open: how long nothing has to come from it."""
_TAIL_BYTES = 1024 * 1024
"""And how much of that something's own output is sent at most."""


class _Inbox:
    """A stream from the launcher: bytes wait here, at most a window, until the program reads."""

    def __init__(self, link: AgentLink, session: int, stream: int) -> None:
        self._link = link
        self._session = session
        self._stream = stream
        self._window = ReceiveWindow()
        self._waiting = bytearray()
        self._has_ended = False
        self._changed = asyncio.Event()

    def receive(self, data: memoryview) -> None:
        """Raises FlowError where the agent had no credit for it."""
        self._window.receive(len(data))
        self._waiting += data
        self._changed.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._has_ended = True
        self._changed.set()

    async def take(self, most: int) -> bytes:
        """At most `most` bytes, b"" at the end."""
        while not self._waiting and not self._has_ended:
            self._changed.clear()
            await self._changed.wait()
        data = bytes(self._waiting[:most])
        del self._waiting[:most]
        return data

    def taken(self, count: int) -> None:
        """So many bytes have been passed on."""
        credit = self._window.consume(count)
        if credit:
            payload = CREDIT_PAYLOAD.pack(credit)
            self._link.send_frame(FrameKind.CREDIT, self._stream, self._session, payload)

    def stop(self) -> None:
        """Nobody reads it any more."""
        self._link.send_frame(FrameKind.STOP, self._stream, self._session)


class _Outbox:
    """A stream to the launcher: how much of it may be sent."""

    def __init__(self, link: AgentLink, session: int, stream: int) -> None:
        self._link = link
        self._session = session
        self._stream = stream
        self._window = SendWindow()
        self._granted = asyncio.Event()
        self.output: Output | None = None
        self.is_stopped = False

    def grant(self, count: int) -> None:
        """Raises FlowError past the window."""
        self._window.grant(count)
        self._granted.set()

    def stop(self) -> None:
        """The launcher's reader is gone."""
        self.is_stopped = True
        self._granted.set()

    async def send(self, data: bytes) -> None:
        """Send at most a frame's worth of data, as there is credit for it."""
        while data and not self.is_stopped:
            allowed = self._window.take(len(data))
            if not allowed:
                self._granted.clear()
                await self._granted.wait()
                continue
            self._link.send_frame(FrameKind.DATA, self._stream, self._session, data[:allowed])
            data = data[allowed:]

    def end(self) -> None:
        """Nothing more comes."""
        self._link.send_frame(FrameKind.EOF, self._stream, self._session)


class _Running:
    """One program. Implements service.link.Session."""

    def __init__(self, link: AgentLink, request: Launch) -> None:
        number = request.session
        has_console = request.terminal is not None
        inputs = (StreamId.STDIN, StreamId.TERMINAL) if has_console else (StreamId.STDIN,)
        outputs = (StreamId.TERMINAL,) if has_console else (StreamId.STDOUT, StreamId.STDERR)
        self._link = link
        self.request = request
        self.inputs = {stream: _Inbox(link, number, stream) for stream in inputs}
        self.outputs = {stream: _Outbox(link, number, stream) for stream in outputs}
        self.process: WindowsProcess | None = None
        self.is_hung_up = False
        self.task: asyncio.Task[None] | None = None

    # -- service.link.Session ------------------------------------------------------------------

    def on_frame(self, frame: Frame) -> None:
        """A stream frame from the agent. Raises FlowError."""
        check_direction(frame, inputs=INPUTS)
        if frame.kind in (FrameKind.DATA, FrameKind.EOF):
            inbox = self.inputs.get(frame.stream)
            if inbox is None:
                return
            if frame.kind == FrameKind.DATA:
                inbox.receive(frame.payload)
            else:
                inbox.end()
            return
        outbox = self.outputs.get(frame.stream)
        if outbox is None:
            return
        if frame.kind == FrameKind.CREDIT:
            outbox.grant(decode_credit(frame))
        else:
            outbox.stop()
            if self.process is not None and outbox.output is not None:
                self.process.close_output(outbox.output)

    def on_exit(self, exited: Exited) -> None:
        """The agent has no process at its end of these sessions."""

    def on_lost(self, error: ServiceError) -> None:
        """The link broke: the launcher will hear of nothing more."""
        self.hang_up()

    # -- events --------------------------------------------------------------------------------

    def on_event(self, event: Message) -> None:
        """The launcher's terminal has another size, it was interrupted, or it is gone."""
        if isinstance(event, Hangup):
            self.hang_up()
        elif self.process is None:
            return
        elif isinstance(event, Resize):
            self.process.resize(ConsoleSize(event.rows, event.columns))
        elif isinstance(event, Signal) and event.number == signal.SIGINT:
            self.process.interrupt()

    def hang_up(self) -> None:
        """The launcher is gone, and takes its program along, but for one that has windows."""
        self.is_hung_up = True
        for inbox in self.inputs.values():
            inbox.end()
        for outbox in self.outputs.values():
            outbox.stop()
        if self.process is None:
            if self.task is not None:
                self.task.cancel()
        elif not self.process.is_gui:
            self.process.kill()

    # -- the program ---------------------------------------------------------------------------

    async def run(self, host: Host, staging: Staging) -> int:
        """Start the program and carry its streams; its exit code.

        Raises HostError, WireError and OSError where it cannot be started.
        """
        with contextlib.ExitStack() as keep:
            path = self.request.program
            if self.request.program_bytes:
                staged = keep.enter_context(await self._stage(staging))
                path = host.windows_path(str(staged.path))
            self.process = process = await host.start(self._program(path))
            keep.callback(process.close)
            if self.is_hung_up:  # while it was being started
                self.hang_up()
            session = self.request.session
            self._link.send_event(Launched(session=session, is_gui=process.is_gui))
            return await self._carry(process)

    def _program(self, path: str) -> Program:
        request = self.request
        name, *arguments = windows_argv(request.file, request.argv)
        size = request.terminal
        return Program(
            path=path,
            arguments=arguments,
            directory=request.directory,
            environment=request.environment,
            name=name,
            console=ConsoleSize(size.rows, size.columns) if size is not None else None,
        )

    async def _stage(self, staging: Staging) -> StagedProgram:
        """Take the program itself in, which comes first on its standard input."""
        inbox = self.inputs[StreamId.STDIN]
        staged = staging.new(self.request.file, self.request.program_bytes)
        try:
            left = self.request.program_bytes
            while left:
                data = await inbox.take(min(left, MAX_DATA_BYTES))
                if not data:
                    raise HostError("the program did not arrive whole", number=errno.EIO)
                await asyncio.to_thread(staged.write, data)
                inbox.taken(len(data))
                left -= len(data)
            staged.complete()
        except BaseException:
            staged.close()
            raise
        return staged

    async def _carry(self, process: WindowsProcess) -> int:
        """Carry the streams to the program's end."""
        ended = asyncio.Event()
        keys = StreamId.TERMINAL if self.request.terminal is not None else StreamId.STDIN
        feeding = asyncio.create_task(_feed(self.inputs[keys], process.stdin))
        outputs = list(zip(self.outputs.values(), (process.stdout, process.stderr), strict=False))
        draining = [
            asyncio.create_task(_drain(outbox, output, ended))
            for outbox, output in outputs
            if output is not None
        ]
        for outbox, output in outputs:
            outbox.output = output
        try:
            status = await process.wait()
            ended.set()
            await asyncio.gather(*draining)
            return status
        finally:
            feeding.cancel()
            for task in draining:
                task.cancel()
            await asyncio.gather(feeding, *draining, return_exceptions=True)


async def _feed(inbox: _Inbox, stdin: Input) -> None:
    """Pass what comes for a program on to it."""
    try:
        while data := await inbox.take(MAX_DATA_BYTES):
            stdin.write(data)
            await stdin.drain()
            inbox.taken(len(data))
    except OSError:
        inbox.stop()
    with contextlib.suppress(OSError):
        stdin.close()


async def _drain(outbox: _Outbox, output: Output, ended: asyncio.Event) -> None:
    """Send what a program writes, then EOF: at the end of the pipe, or of the program.

    Something that it has started may hold the pipe open for ever. Then what the program itself
    has written is what can be read at once when it has ended.
    """
    ending = asyncio.create_task(ended.wait())
    left = _TAIL_BYTES
    try:
        while not outbox.is_stopped and left > 0:
            # Read before there is credit: that nothing more comes must be noticed without.
            data = await _read(output, min(MAX_DATA_BYTES, left), ending)
            if not data:
                break
            if ended.is_set():
                left -= len(data)
            await outbox.send(data)
    finally:
        ending.cancel()
        outbox.end()


async def _read(output: Output, most: int, ending: asyncio.Task[bool]) -> bytes:
    """The next bytes of a program; b"" at the end, or when it has ended and nothing comes."""
    reading = asyncio.create_task(output.read(most))
    try:
        await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            await asyncio.wait({reading}, timeout=_TAIL_IDLE_S)
        return reading.result() if reading.done() else b""
    except OSError:
        return b""  # a terminal that nobody holds any more
    finally:
        if not reading.done():
            reading.cancel()


class Launches:
    """All programs that run for distributions. `link` is that of the machine."""

    def __init__(
        self, link: Callable[[], AgentLink | None], host: Callable[[], Host], directory: Path
    ) -> None:
        self._link = link
        self._host = host
        self._staging = Staging(directory)
        self._running: dict[int, _Running] = {}

    def __len__(self) -> int:
        return len(self._running)

    async def launch(self, request: Launch) -> Done:
        """Answer the agent: the program is being started. Raises ServiceError, MessageError."""
        link = self._link()
        if link is None:
            raise LinkLost("the virtual machine has ended")
        running = _Running(link, request)
        link.adopt_session(request.session, running)
        self._running[request.session] = running
        running.task = asyncio.create_task(self._run(link, running))
        return Done()

    def on_event(self, event: Resize | Signal | Hangup) -> None:
        """The agent tells something of a program's launcher."""
        running = self._running.get(event.session)
        if running is not None:
            running.on_event(event)

    async def _run(self, link: AgentLink, running: _Running) -> None:
        session = running.request.session
        last: Message = Exited(session=session, status=0)
        try:
            last = Exited(session=session, status=await running.run(self._host(), self._staging))
        except asyncio.CancelledError:
            pass  # hung up before it was started
        except (HostError, PathError, ArgumentError) as error:
            last = _refusal(session, error.number, error)
        except OSError as error:
            last = _refusal(session, error.errno or errno.EIO, error)
        except Exception as error:
            log.exception("a Windows program failed")
            last = _refusal(session, errno.EIO, error)
        finally:
            if self._running.get(session) is running:
                del self._running[session]
            link.release_session(session, running)
            link.send_event(last)

    async def end(self) -> None:
        """End all console programs, and wait until they have ended."""
        tasks = [running.task for running in self._running.values() if running.task is not None]
        for running in list(self._running.values()):
            running.hang_up()
            if running.process is not None and running.process.is_gui and running.task is not None:
                running.task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _refusal(session: int, number: int, error: Exception) -> Launched:
    """Why a program does not run, for the launcher. Pure."""
    is_plain = getattr(error, "is_plain", False) or isinstance(error, OSError)
    return Launched(
        session=session,
        error=number,
        message="" if is_plain else str(error),
        hint=getattr(error, "hint", ""),
    )
