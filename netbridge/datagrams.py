"""Datagrams that the service itself passes on: those to the host's ::1, as netbridge.relay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

EXPIRY_S = 240.0
"""A client that is silent, and hears nothing, for so long is forgotten: QEMU's own rule for the
datagrams of Linux (SO_EXPIRE, libslirp's socket.h)."""
MAX_CLIENTS = 256
_MAX_WAITING = 16
"""Datagrams of a client whose way is not open yet; more are lost, as datagrams are."""

Address = Any
"""A socket address, as socket.recvfrom returns it."""


class _Client(asyncio.DatagramProtocol):
    """One client's way to the other side: a socket of its own, so that answers find back."""

    def __init__(self, answer: Callable[[bytes], None]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: list[bytes] = []
        self._is_closed = False
        self.used = time.monotonic()

    def send(self, data: bytes) -> None:
        self.used = time.monotonic()
        if self._transport is not None:
            self._transport.sendto(data)
        elif len(self._waiting) < _MAX_WAITING:
            self._waiting.append(data)

    def close(self) -> None:
        self._is_closed = True
        if self._transport is not None:
            self._transport.close()

    # -- asyncio.DatagramProtocol --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        if self._is_closed:
            transport.close()
            return
        for data in self._waiting:
            self._transport.sendto(data)
        self._waiting.clear()

    def datagram_received(self, data: bytes, _address: Address) -> None:
        self.used = time.monotonic()
        self._answer(data)

    def error_received(self, exc: Exception) -> None:
        pass  # nobody is there any more: the client hears nothing, as over any network


class DatagramRelay(asyncio.DatagramProtocol):
    """A datagram port of this host; what comes there goes on to `target`, the answers back."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._transport: asyncio.DatagramTransport | None = None
        self._clients: dict[Address, _Client] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None

    @classmethod
    async def listen(cls, address: str, port: int, target: tuple[str, int]) -> DatagramRelay:
        """Bind `address`, a loopback address. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, relay = await loop.create_datagram_endpoint(
            lambda: cls(target), local_addr=(address, port)
        )
        return relay

    @property
    def clients(self) -> int:
        """How many are remembered."""
        return len(self._clients)

    def close(self) -> None:
        """Pass nothing on any more."""
        if self._transport is not None:
            self._transport.close()
        if self._sweep is not None:
            self._sweep.cancel()
        for task in self._opening:
            task.cancel()
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def abort(self) -> None:
        """As `close`: a datagram port has no connections to go on."""
        self.close()

    # -- asyncio.DatagramProtocol --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The port is bound."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: Address) -> None:
        """A client sends; one that is new gets a way of its own."""
        client = self._clients.get(address)
        if client is None:
            client = self._clients[address] = _Client(partial(self._send_back, address))
            self._forget()
            task = asyncio.create_task(self._open(client))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        client.send(data)

    def error_received(self, exc: Exception) -> None:
        """A client is gone."""

    # -- clients -------------------------------------------------------------------------------

    async def _open(self, client: _Client) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_datagram_endpoint(lambda: client, remote_addr=self._target)
        except OSError:
            client.close()  # no descriptors, say: it is forgotten when it has been silent

    def _send_back(self, address: Address, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, address)

    def _forget(self) -> None:
        """Leave out who has been silent for long, and whoever is too many; look again later."""
        now = time.monotonic()
        by_age = sorted(self._clients, key=lambda address: self._clients[address].used)
        for number, address in enumerate(by_age):
            is_old = now - self._clients[address].used >= EXPIRY_S
            if is_old or len(by_age) - number > MAX_CLIENTS:
                self._clients.pop(address).close()
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep = None
        if self._clients:
            self._sweep = asyncio.get_running_loop().call_later(EXPIRY_S, self._forget)
