"""Processes in a guest, as a client has them: streams with flow control, and an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from service.errors import ServiceError
from tests.contract.guests import Guest
from wire.agent import Spawn, Spawned
from wire.common import Exited, Hangup, Resize, Signal, Terminal
from wire.errors import FlowError
from wire.flow import ReceiveWindow, SendWindow
from wire.frame import (
    CREDIT_PAYLOAD,
    MAX_DATA_BYTES,
    Frame,
    FrameKind,
    StreamId,
    decode_credit,
)

SIZE = Terminal(rows=24, columns=80)


class LinuxSignal(IntEnum):
    """Numbers that a guest knows (signal(7)), whatever the host's are."""

    HUP = 1
    INT = 2
    KILL = 9
    USR1 = 10
    SEGV = 11
    PIPE = 13
    TERM = 15
    CONT = 18
    STOP = 19
    REALTIME = 40


class Process:
    """A session. Implements service.link.Session; made by Place.start."""

    def __init__(self, guest: Guest, *, reads: bool) -> None:
        """With `reads`, credit is returned for all that comes; else only by `read_on`."""
        self._link = guest.link
        self._changed = asyncio.Event()
        self._reads = reads
        self._windows = [ReceiveWindow() for _ in range(StreamId.TERMINAL + 1)]
        self._credit = [SendWindow() for _ in range(StreamId.TERMINAL + 1)]
        self._unread = [0] * (StreamId.TERMINAL + 1)
        self._output = [bytearray() for _ in range(StreamId.TERMINAL + 1)]
        self.ended: set[int] = set()
        """Streams of which the end has come."""
        self.stopped: set[int] = set()
        """Streams that the process reads no more."""
        self.exited: Exited | None = None
        self.lost: ServiceError | None = None
        self.spawned: Spawned
        self.number = self._link.open_session(self)

    # -- service.link.Session ------------------------------------------------------------------

    def on_frame(self, frame: Frame) -> None:
        """service.link.Session: what the agent sends must obey the protocol."""
        stream = frame.stream
        if self.exited is not None or (stream in self.ended and frame.kind == FrameKind.DATA):
            raise FlowError(f"{frame} came after the end")
        if frame.kind == FrameKind.DATA:
            self._windows[stream].receive(len(frame.payload))
            self._output[stream] += frame.payload
            self._unread[stream] += len(frame.payload)
            if self._reads:
                self.read_on(stream)
        elif frame.kind == FrameKind.CREDIT:
            self._credit[stream].grant(decode_credit(frame))
        elif frame.kind == FrameKind.EOF:
            self.ended.add(stream)
        else:
            self.stopped.add(stream)
        self._changed.set()

    def on_exit(self, exited: Exited) -> None:
        """service.link.Session: the process has ended."""
        self.exited = exited
        self._changed.set()

    def on_lost(self, error: ServiceError) -> None:
        """service.link.Session: the link broke."""
        self.lost = error
        self._changed.set()

    # -- waiting -------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that this session is told; AssertionError if it ends before."""
        while not condition():
            if self.lost is not None:
                raise self.lost
            assert self.exited is None, f"{self.exited}, {self.output()!r}, {self.errors()!r}"
            self._changed.clear()
            await self._changed.wait()

    async def until_output(self, text: bytes, stream: int = StreamId.STDOUT) -> None:
        """Wait until `text` has come."""
        await self.until(lambda: text in self._output[stream])

    async def wait(self) -> Exited:
        """Wait for the end, which comes after that of every stream."""
        await self.until(lambda: self.exited is not None)
        assert self.exited is not None
        return self.exited

    # -- streams -------------------------------------------------------------------------------

    def output(self, stream: int = StreamId.STDOUT) -> bytes:
        """All that has come on a stream."""
        return bytes(self._output[stream])

    def errors(self) -> bytes:
        """All that has come on standard error."""
        return self.output(StreamId.STDERR)

    def read_on(self, stream: int = StreamId.STDOUT) -> None:
        """Take what has come, and return the credit for it."""
        count, self._unread[stream] = self._unread[stream], 0
        credit = self._windows[stream].consume(count)
        if credit:
            payload = CREDIT_PAYLOAD.pack(credit)
            self._link.send_frame(FrameKind.CREDIT, stream, self.number, payload)

    def read_from_now_on(self) -> None:
        """Be a fast reader after all."""
        self._reads = True
        for stream in range(StreamId.TERMINAL + 1):
            self.read_on(stream)

    async def write(self, data: bytes, stream: int = StreamId.STDIN) -> None:
        """Send as credit allows; returns early if the process reads no more."""
        view = memoryview(data)
        while view and stream not in self.stopped:
            count = self._credit[stream].take(min(len(view), MAX_DATA_BYTES))
            if count == 0:
                await self.until(
                    lambda: self._credit[stream].available > 0 or stream in self.stopped
                )
                continue
            self._link.send_frame(FrameKind.DATA, stream, self.number, view[:count])
            view = view[count:]

    async def press(self, keys: bytes) -> None:
        """Type on the terminal."""
        await self.write(keys, StreamId.TERMINAL)

    def end_input(self, stream: int = StreamId.STDIN) -> None:
        self._link.send_frame(FrameKind.EOF, stream, self.number)

    def stop_output(self, stream: int = StreamId.STDOUT) -> None:
        self._link.send_frame(FrameKind.STOP, stream, self.number)

    # -- events --------------------------------------------------------------------------------

    def signal(self, number: int) -> None:
        self._link.send_event(Signal(session=self.number, number=number))

    def resize(self, rows: int, columns: int) -> None:
        self._link.send_event(Resize(session=self.number, rows=rows, columns=columns))

    def hang_up(self) -> None:
        self._link.send_event(Hangup(session=self.number))


class Place:
    """Somewhere in a guest where processes run: the utility VM, or a distribution."""

    def __init__(self, name: str, guest: Guest, distribution: str) -> None:
        self.name = name
        self.guest = guest
        self.distribution = distribution

    async def start(
        self, line: str | None = None, *argv: str, reads: bool = True, **fields: Any
    ) -> Process:
        """A running process: `line` by the shell, or `argv`. Raises ServiceError if refused."""
        process = Process(self.guest, reads=reads)
        spawn = Spawn(
            session=process.number,
            distribution=self.distribution,
            line=line,
            argv=argv,
            **fields,
        )
        try:
            process.spawned = await self.guest.link.request(spawn, Spawned)
        except BaseException:
            self.guest.link.drop_session(process.number)
            raise
        return process

    async def run(self, line: str | None = None, *argv: str, **fields: Any) -> Process:
        """A process that has ended; its input was empty."""
        process = await self.start(line, *argv, **fields)
        process.end_input()
        await process.wait()
        return process

    async def text(self, line: str, **fields: Any) -> str:
        """What a command prints; it must succeed and complain of nothing."""
        process = await self.run(line, **fields)
        assert process.exited is not None
        assert (process.exited.status, process.exited.signal) == (0, 0), process.errors()
        assert process.errors() == b""
        return process.output().decode("utf-8", "surrogateescape")

    def system(self) -> Place:
        """The utility VM of the same guest, from which the agent itself can be seen."""
        return Place(f"{self.name} system", self.guest, "")
