"""Clients on Windows: a loopback port, and a token that only this user can read.

asyncio has no unix sockets on Windows. The file with the port and the token lies in a directory
that nobody else can enter; a connection whose greeting lacks the token is closed before anything
else of it is read. The file names our process too, so that a client does not send its token, and
what its user types, to whoever has been given the port of a service that was killed.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import secrets
import socket
import sys
from ctypes import wintypes
from pathlib import Path
from typing import TYPE_CHECKING

from service import private_windows
from vm.files import write_atomically
from wire.places import Places

assert sys.platform == "win32"

if TYPE_CHECKING:
    from service.endpoint import ProtocolFactory

_BACKLOG = 128


async def serve_windows(places: Places, factory: ProtocolFactory) -> asyncio.Server:
    """Listen on a free port of 127.0.0.1 and write it to places.endpoint, for this user's eyes.

    The file holds {port, token, pid, started}; the last is what GetProcessTimes says, in units of
    100 ns. Raises ServiceError, OSError.
    """
    private_windows.make_private_directory(places.run_directory)
    token = secrets.token_hex(32)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Without this another process may bind the same port as well (Winsock, "Using SO_REUSEADDR
    # and SO_EXCLUSIVEADDRUSE").
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    listener.bind(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(
        lambda: factory(token=token), sock=listener, backlog=_BACKLOG
    )
    body = {
        "port": listener.getsockname()[1],
        "token": token,
        "pid": os.getpid(),
        "started": _own_start(),
    }
    write_atomically(Path(places.endpoint), json.dumps(body).encode())
    return server


def _own_start() -> int:
    """When this process was created, as clients will be told (shell.endpoint_windows)."""
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    pointer = wintypes.LPVOID
    kernel32.GetProcessTimes.argtypes = (wintypes.HANDLE, pointer, pointer, pointer, pointer)
    times = [ctypes.c_uint64() for _ in range(4)]
    process = kernel32.GetCurrentProcess()
    if not kernel32.GetProcessTimes(process, *(ctypes.byref(time) for time in times)):
        raise ctypes.WinError(ctypes.get_last_error())
    return times[0].value
