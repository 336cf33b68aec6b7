"""A channel over one accepted TCP connection on 127.0.0.1.

Windows lets any local user connect to a loopback port, so a connection counts only when the
system's connection table says that QEMU's process holds its other end; others are closed and
their pids kept for the error. The listener is closed as soon as QEMU is in.

Nothing in here needs Windows, which lets the tests run it against a real QEMU anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from weakref import WeakKeyDictionary

import psutil

from vm.errors import ChannelFailure

_log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_NOBODY = -1
_BACKLOG = 16  # strangers may knock first; QEMU must still find room

_Address = tuple[str, int]
_Ends = tuple[_Address, _Address]


class LoopbackChannel:
    """Fulfils `vm.channels.Channel` on Windows."""

    def __init__(self) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # Without this, another process may bind the same port on Windows and be given our
        # connections (Winsock, "Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE").
        exclusive: int | None = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
        try:
            if exclusive is not None:
                listener.setsockopt(socket.SOL_SOCKET, exclusive, 1)
            listener.bind((_LOOPBACK, 0))
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self._listener: socket.socket | None = listener
        self._port: int = listener.getsockname()[1]

    @property
    def backend(self) -> str:
        """QEMU's socket chardev as a TCP client, with Nagle's delay off."""
        return f"socket,host={_LOOPBACK},port={self._port},server=off,nodelay=on"

    @property
    def inherited_fds(self) -> tuple[int, ...]:
        """None: QEMU makes the connection itself."""
        return ()

    def spawned(self) -> None:
        """Nothing to give up."""

    async def connected(self, pid: int, deadline_s: float) -> socket.socket:
        """Accept until the peer is process `pid`; every other peer is hung up on.

        Raises ChannelFailure if it has not connected after `deadline_s` seconds.
        """
        if self._listener is None:
            raise ValueError("the channel's socket was taken already")
        strangers: list[int] = []
        try:
            async with asyncio.timeout(deadline_s):
                return await self._accept_from(pid, strangers)
        except TimeoutError:
            raise ChannelFailure(
                f"QEMU (pid {pid}) did not connect to {_LOOPBACK}:{self._port} "
                f"within {deadline_s:g} s",
                strangers,
            ) from None
        finally:
            self.close()

    def close(self) -> None:
        """Close the listener."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _accept_from(self, pid: int, strangers: list[int]) -> socket.socket:
        assert self._listener is not None
        loop = asyncio.get_running_loop()
        while True:
            sock, peer = await loop.sock_accept(self._listener)
            try:
                connections = _connections.setdefault(loop, _Connections())
                owner = await connections.owner(peer, sock.getsockname())
                if owner == pid:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    sock.setblocking(False)
                    return sock
            except BaseException:
                sock.close()
                raise
            sock.close()
            if owner != _NOBODY:  # else it has hung up itself, as QEMU does when it fails to start
                strangers.append(owner)
                _log.warning("hung up on process %d, which connected in QEMU's place", owner)


class _Connections:
    """The system's TCP connections, read for all who ask meanwhile at once.

    A machine has nearly twenty channels, which connect together, and under load reading them all
    takes the better part of a second.
    """

    def __init__(self) -> None:
        self._reading: asyncio.Task[dict[_Ends, int]] | None = None
        self._next: asyncio.Task[dict[_Ends, int]] | None = None

    async def owner(self, local: _Address, remote: _Address) -> int:
        """The pid that holds a connection's end `local` -> `remote`; _NOBODY if none does.

        As it is after this was called: what is being read already may be from before.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read(self._reading))
        owners = await asyncio.shield(self._next)
        return owners.get((local, remote), _NOBODY)

    async def _read(self, before: asyncio.Task[dict[_Ends, int]] | None) -> dict[_Ends, int]:
        if before is not None:
            await asyncio.wait({before})
        self._reading, self._next = self._next, None
        return await asyncio.to_thread(_read_owners)


_connections: WeakKeyDictionary[asyncio.AbstractEventLoop, _Connections] = WeakKeyDictionary()


def _read_owners() -> dict[_Ends, int]:
    return {
        ((one.laddr.ip, one.laddr.port), (one.raddr.ip, one.raddr.port)): one.pid or _NOBODY
        for one in psutil.net_connections("tcp4")
        if one.laddr and one.raddr
    }
