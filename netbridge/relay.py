"""TCP connections that the service itself passes on: those to the host's ::1.

QEMU's forwards are IPv4 only, and do the work for all others.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import socket
from collections.abc import Awaitable, Callable

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Stream]]
"""Opens the other side of a connection. Raises OSError."""

_READ_BYTES = 256 * 1024
_BACKLOG = 100


class Relay:
    """A listening port of this host; each connection to it is joined to one that `connect` makes.

    When one side ends its half, so does the other; when one is reset, so is the other.
    """

    def __init__(self, server: asyncio.Server, joined: set[asyncio.Task[None]]) -> None:
        self._server = server
        self._joined = joined

    @classmethod
    async def listen(cls, address: str, port: int, connect: Connect) -> Relay:
        """Listen at `address`, a loopback address. Raises OSError."""
        joined: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(_join((reader, writer), connect))
            joined.add(task)
            task.add_done_callback(joined.discard)

        server = await asyncio.start_server(
            accept, address, port, limit=_READ_BYTES, backlog=_BACKLOG
        )
        return cls(server, joined)

    def close(self) -> None:
        """Take no more connections; those that are there go on until they end."""
        self._server.close()

    def abort(self) -> None:
        """Close, connections too."""
        self.close()
        for task in self._joined:
            task.cancel()


@functools.cache
def has_ipv6() -> bool:
    """Whether this host has the address ::1."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return True


async def _join(near: Stream, connect: Connect) -> None:
    """Pass on what each side sends until both have ended."""
    try:
        far = await connect()
    except OSError:
        near[1].transport.abort()
        return
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(near[0], far[1]))
            group.create_task(_pump(far[0], near[1]))
    except* OSError:
        pass  # one side is gone, and so the other must go
    finally:
        for _, writer in (near, far):
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on one direction to its end. Raises OSError when a side is gone."""
    while data := await reader.read(_READ_BYTES):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):  # has ended its half already
        writer.write_eof()
