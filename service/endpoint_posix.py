"""Clients on POSIX hosts: a unix socket in a directory that only its user can enter."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
import sys
from typing import TYPE_CHECKING

from service.errors import ServiceError
from wire import failures
from wire.places import Places

assert sys.platform != "win32"

if TYPE_CHECKING:
    from service.endpoint import ProtocolFactory


async def serve_posix(places: Places, factory: ProtocolFactory) -> asyncio.Server:
    """Listen on places.endpoint. The caller holds the service's lock, so an old socket is stale."""
    make_private_directory(places.run_directory)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(places.endpoint)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(places.endpoint)
    os.chmod(places.endpoint, 0o600)
    return await asyncio.get_running_loop().create_unix_server(
        lambda: PeerCheck(factory), sock=listener, backlog=128
    )


def make_private_directory(path: str) -> None:
    """Create a directory that only this user can enter, or check that an old one is.

    Raises ServiceError: somebody else's directory may hold somebody else's socket.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ServiceError(
            failures.INTERNAL,
            f"{path} is not a directory of this user",
            hint="Remove it, or set ISTHMUS_HOME to a directory of your own.",
        )
    if status.st_mode & 0o077:
        os.chmod(path, 0o700)


class PeerCheck(asyncio.BaseProtocol):
    """Refuses other users' processes, then becomes the real protocol of the connection."""

    def __init__(self, factory: ProtocolFactory) -> None:
        self._factory = factory

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: somebody has connected."""
        assert isinstance(transport, asyncio.Transport)
        if not _is_same_user(transport.get_extra_info("socket")):
            transport.abort()
            return
        protocol = self._factory(token="")
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the refused connection is closed."""


def _is_same_user(connection: socket.socket) -> bool:
    """SO_PEERCRED (unix(7)) on Linux; elsewhere the directory's mode is what keeps others out."""
    if sys.platform != "linux":
        return True
    size = struct.calcsize("3i")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _pid, uid, _gid = struct.unpack("3i", raw)
    return uid in (os.getuid(), 0)
