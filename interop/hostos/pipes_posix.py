"""Pipes and pseudo terminals between this process and its children, as asyncio's streams."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import sys
import termios
from asyncio import StreamReader, StreamWriter
from asyncio.streams import FlowControlMixin

from interop.hostos.contract import ConsoleSize

assert sys.platform != "win32"


class ReadEnd:
    """The reading end of a pipe or terminal; implements contract.Output."""

    def __init__(self, reader: StreamReader, transport: asyncio.ReadTransport) -> None:
        self._reader = reader
        self._transport = transport

    @classmethod
    async def open(cls, fd: int) -> ReadEnd:
        """Take `fd` over."""
        reader = StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
        )
        return cls(reader, transport)

    async def read(self, n: int = -1, /) -> bytes:
        """As in contract.Output."""
        return await self._reader.read(n)

    def close(self) -> None:
        """Close the descriptor; whoever writes to it gets EPIPE."""
        self._transport.close()


class _Writing(FlowControlMixin):
    """Knows when the transport has given its descriptor up; aborting it then is an error."""

    is_lost = False

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the descriptor is closed."""
        self.is_lost = True
        super().connection_lost(exc)


class WriteEnd:
    """The writing end of a pipe or terminal; implements contract.Input."""

    def __init__(self, writer: StreamWriter, protocol: _Writing) -> None:
        self._writer = writer
        self._protocol = protocol

    @classmethod
    async def open(cls, fd: int) -> WriteEnd:
        """Take `fd` over."""
        loop = asyncio.get_running_loop()
        file = os.fdopen(fd, "wb", buffering=0)
        transport, protocol = await loop.connect_write_pipe(_Writing, file)
        return cls(StreamWriter(transport, protocol, None, loop), protocol)

    def write(self, data: bytes) -> None:
        """As in contract.Input."""
        self._writer.write(data)

    async def drain(self) -> None:
        """As in contract.Input."""
        await self._writer.drain()

    def close(self) -> None:
        """As in contract.Input: once everything is written."""
        self._writer.close()

    def abort(self) -> None:
        """Close the descriptor now."""
        if not self._protocol.is_lost:
            self._writer.transport.abort()


def open_terminal(size: ConsoleSize) -> tuple[int, int]:
    """A pseudo terminal of that size: master and slave. Raises OSError."""
    master, slave = os.openpty()
    set_size(master, size)
    return master, slave


def set_size(terminal: int, size: ConsoleSize) -> None:
    """Set a terminal's size; its foreground process group gets SIGWINCH. Raises OSError."""
    packed = struct.pack("HHHH", size.rows, size.columns, 0, 0)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, packed)


def become_controlling() -> None:
    """In a child that leads a session: descriptor 0 becomes its controlling terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
