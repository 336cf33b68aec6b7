"""Clients on Windows: a loopback port, and a token that only this user can read.

asyncio has no unix sockets on Windows. The file with the port and the token lies below
%LOCALAPPDATA%, whose access list names the user alone; a connection whose greeting lacks the
token is closed before anything else of it is read.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from vm.files import write_atomically
from wire.places import Places

if TYPE_CHECKING:
    from service.endpoint import ProtocolFactory


def current_user() -> str:
    """What tells users apart in names of shared directories."""
    return os.environ.get("USERNAME", "")


async def serve_windows(places: Places, factory: ProtocolFactory) -> asyncio.Server:
    """Listen on a free port of 127.0.0.1 and write {port, token, pid} to places.endpoint."""
    os.makedirs(places.run_directory, exist_ok=True)
    token = secrets.token_hex(32)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: factory(token=token), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    body = {"port": port, "token": token, "pid": os.getpid()}
    write_atomically(Path(places.endpoint), json.dumps(body).encode())
    return server
