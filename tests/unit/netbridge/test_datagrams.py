"""Datagrams to one address of the host, passed on to another: real sockets."""

from __future__ import annotations

import asyncio
import socket

import pytest

from netbridge import datagrams
from netbridge.datagrams import DatagramRelay
from tests.unit.service.link_harness import asynchronous, settle, until


class Echo(asyncio.DatagramProtocol):
    """Says from whom it has heard what; "nothing" is not answered."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport
        self.peers: list[object] = []

    def datagram_received(self, data: bytes, address: object) -> None:
        self.peers.append(address)
        if data != b"nothing":
            self.transport.sendto(b"heard " + data, address)  # type: ignore[arg-type]


class World:
    """An echo, a relay to it, and clients."""

    relay: DatagramRelay

    async def start(self) -> World:
        loop = asyncio.get_running_loop()
        transport, self.echo = await loop.create_datagram_endpoint(
            Echo, local_addr=("127.0.0.1", 0)
        )
        target = transport.get_extra_info("sockname")
        self.relay = await DatagramRelay.listen("127.0.0.1", 0, target)
        assert self.relay._transport is not None
        self.address = self.relay._transport.get_extra_info("sockname")
        self.sockets: list[socket.socket] = []
        return self

    def client(self) -> socket.socket:
        client = socket.socket(type=socket.SOCK_DGRAM)
        client.setblocking(False)
        client.connect(self.address)
        self.sockets.append(client)
        return client

    async def ask(self, client: socket.socket, data: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, data)
        return await loop.sock_recv(client, 65536)

    async def end(self) -> None:
        self.relay.close()
        self.echo.transport.close()
        for each in self.sockets:
            each.close()
        await settle()


@asynchronous
async def test_answers_find_their_clients() -> None:
    world = await World().start()
    first, second = world.client(), world.client()
    for number in range(3):
        for name, client in (("a", first), ("b", second)):
            data = f"{name}{number}".encode()
            assert await world.ask(client, data) == b"heard " + data
    assert world.relay.clients == 2 == len(set(world.echo.peers))
    largest = bytes(60000)
    assert await world.ask(first, largest) == b"heard " + largest
    await world.end()


@asynchronous
async def test_what_is_sent_at_once_arrives() -> None:
    """Before the client's own way is open."""
    world = await World().start()
    client = world.client()
    for _ in range(5):
        client.send(b"nothing")
    assert await world.ask(client, b"last") == b"heard last"
    assert len(world.echo.peers) == 6
    await world.end()


@asynchronous
async def test_clients_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The silent by and by, of too many the one that is silent for longest."""
    monkeypatch.setattr(datagrams, "MAX_CLIENTS", 2)
    world = await World().start()
    clients = [world.client() for _ in range(3)]
    for client in clients:
        assert await world.ask(client, b"x") == b"heard x"
    assert world.relay.clients == 2
    assert await world.ask(clients[0], b"again") == b"heard again"
    monkeypatch.setattr(datagrams, "EXPIRY_S", 0.01)
    assert await world.ask(world.client(), b"x") == b"heard x"
    await until(lambda: world.relay.clients == 0)
    await world.end()


@asynchronous
async def test_nobody_is_there() -> None:
    world = await World().start()
    world.echo.transport.close()
    client = world.client()
    client.send(b"lost")
    client.send(b"lost")
    await until(lambda: world.relay.clients == 1)
    await settle()
    world.relay.close()
    assert world.relay.clients == 0
    await world.end()
