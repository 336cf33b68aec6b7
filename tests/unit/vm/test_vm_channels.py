"""Both kinds of channel, with real processes at the other end."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from vm.channels import Channel, open_channel
from vm.channels_windows import LoopbackChannel
from vm.errors import ChannelFailure
from vm.process import spawn

# What QEMU does with a chardev: connect, or take the descriptor; then one line each way.
CLIENT = """
import socket, sys
options = dict(part.partition("=")[::2] for part in sys.argv[1].split(","))
if "fd" in options:
    peer = socket.socket(fileno=int(options["fd"]))
else:
    peer = socket.create_connection((options["host"], int(options["port"])))
peer.sendall(b"hello")
assert peer.recv(100) == b"bye"
"""
KINDS = [LoopbackChannel, open_channel]


def client(backend: str) -> list[str]:
    return [sys.executable, "-S", "-E", "-c", CLIENT, backend]


@pytest.mark.parametrize("kind", KINDS)
def test_the_started_process_is_at_the_other_end(kind: Callable[[], Channel]) -> None:
    async def scenario() -> int:
        channel = kind()
        child = await spawn(client(channel.backend), pass_fds=channel.inherited_fds)
        channel.spawned()
        sock = await channel.connected(child.pid, 30)
        with sock:
            assert sock.gettimeout() == 0
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(sock, 100) == b"hello"
            await loop.sock_sendall(sock, b"bye")
            exit_code = await child.wait()
            assert await loop.sock_recv(sock, 100) == b""  # its end is seen
        channel.close()
        return exit_code

    assert asyncio.run(scenario()) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_closing_early_leaves_nothing_open(kind: Callable[[], Channel]) -> None:
    # A descriptor that is free again is the next one to be given out.
    with socket.socket() as before:
        lowest = before.fileno()
    channel = kind()
    channel.close()
    channel.close()
    with socket.socket() as after:
        assert sys.platform == "win32" or after.fileno() == lowest


def test_a_stranger_on_loopback_is_hung_up_on() -> None:
    async def scenario() -> int:
        channel = LoopbackChannel()
        port = int(channel.backend.split("port=")[1].split(",")[0])
        stranger = socket.create_connection(("127.0.0.1", port))  # this very process
        child = await spawn(client(channel.backend))
        with stranger, await channel.connected(child.pid, 30) as sock:
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(sock, 100) == b"hello"
            stranger.settimeout(30)
            assert stranger.recv(1) == b""
            await loop.sock_sendall(sock, b"bye")
        with pytest.raises(OSError):  # nothing listens any more
            socket.create_connection(("127.0.0.1", port))
        return await child.wait()

    assert asyncio.run(scenario()) == 0


def test_who_they_are_is_looked_up_for_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's channels connect together; each look is slow on a busy Windows host."""
    looks = 0

    def counted(kind: str) -> Any:
        nonlocal looks
        looks += 1
        return real(kind)

    real = psutil.net_connections
    monkeypatch.setattr(psutil, "net_connections", counted)

    async def scenario() -> None:
        channels = [LoopbackChannel() for _ in range(18)]
        ports = [int(it.backend.split("port=")[1].split(",")[0]) for it in channels]
        clients = [socket.create_connection(("127.0.0.1", port)) for port in ports]
        pid = psutil.Process().pid
        for client, ours in zip(
            clients, await asyncio.gather(*(it.connected(pid, 30) for it in channels)), strict=True
        ):
            assert client.getsockname() == ours.getpeername()
            client.close()
            ours.close()

    asyncio.run(scenario())
    assert looks == 1


def test_only_strangers_is_a_failure_that_names_them() -> None:
    async def scenario() -> tuple[int, ...]:
        channel = LoopbackChannel()
        port = int(channel.backend.split("port=")[1].split(",")[0])
        stranger = socket.create_connection(("127.0.0.1", port))
        with stranger, pytest.raises(ChannelFailure) as caught:
            await channel.connected(2**22 + 1, 1.0)
        return caught.value.strangers

    assert asyncio.run(scenario()) == (psutil.Process().pid,)


def test_loopback_only() -> None:
    channel = LoopbackChannel()
    try:
        assert "host=127.0.0.1" in channel.backend
        assert "server=off" in channel.backend
    finally:
        channel.close()
