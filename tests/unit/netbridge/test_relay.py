"""Connections passed on by the service, and why the host refuses a port, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from netbridge.hostports import why_refused
from netbridge.relay import Relay, Stream, has_ipv6
from tests.unit.service.link_harness import asynchronous, settle, until

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def relayed(handle: Handle | None) -> AsyncIterator[tuple[Relay, int]]:
    """A server, and the port of a relay to it; None: a port that refuses."""
    with socket.socket() as server_socket, socket.socket() as probe:
        server_socket.bind(("127.0.0.1", 0))
        server = None if handle is None else await asyncio.start_server(handle, sock=server_socket)
        connect = partial(asyncio.open_connection, *server_socket.getsockname())
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        relay = await Relay.listen("127.0.0.1", port, connect)
        try:
            yield relay, port
        finally:
            relay.abort()
            if server is not None:
                server.close()
            await settle()


async def client(port: int) -> Stream:
    return await asyncio.open_connection("127.0.0.1", port)


async def ending(stream: Stream) -> bytes:
    """What still comes, to whichever kind of end."""
    try:
        return await stream[0].read()
    except ConnectionResetError:
        return b""
    finally:
        stream[1].close()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers what it is sent, to the end, with its digest."""
    with contextlib.suppress(ConnectionResetError):
        writer.write(hashlib.sha256(await reader.read()).hexdigest().encode())
    writer.close()


@asynchronous
async def test_bytes_and_half_close() -> None:
    async with relayed(digest) as (_, port):
        data = os.urandom(3_000_000)
        reader, writer = await client(port)
        writer.write(data)
        writer.write_eof()
        assert (await ending((reader, writer))).decode() == hashlib.sha256(data).hexdigest()


@asynchronous
async def test_a_server_that_dies_takes_the_client_with_it() -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()

    async with relayed(die) as (_, port):
        reader, writer = await client(port)
        writer.write(b"x")
        assert await ending((reader, writer)) == b""


@asynchronous
async def test_a_client_that_dies_takes_the_servers_end_with_it() -> None:
    ended: list[bytes] = []

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(await ending((reader, writer)))

    async with relayed(wait) as (_, port):
        _, writer = await client(port)
        writer.write(b"x")
        await writer.drain()
        writer.transport.abort()
        await until(lambda: bool(ended))


@asynchronous
async def test_no_server_no_connection() -> None:
    async with relayed(None) as (_, port):
        assert await ending(await client(port)) == b""


@asynchronous
async def test_close_lets_connections_go_on() -> None:
    async with relayed(digest) as (relay, port):
        reader, writer = await client(port)
        writer.write(b"abc")
        await writer.drain()
        await settle()
        relay.close()
        with pytest.raises(OSError):
            await client(port)
        writer.write_eof()
        assert (await ending((reader, writer))).decode() == hashlib.sha256(b"abc").hexdigest()


@asynchronous
async def test_abort_ends_connections() -> None:
    async with relayed(digest) as (relay, port):
        stream = await client(port)
        await settle()
        relay.abort()
        assert await ending(stream) == b""


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_why_a_port_is_refused(address: str) -> None:
    if address == "::1" and not has_ipv6():
        address = "127.0.0.1"
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as holder:
        holder.bind((address, 0))
        port = holder.getsockname()[1]
        holder.listen(1)
        assert why_refused("tcp", port, address) == "used by another program of the host"
        assert why_refused("udp", port, address) == ""
    assert why_refused("tcp", port, address) == ""
