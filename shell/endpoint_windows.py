"""Reaching the service on Windows: the loopback port and token that it has left for its user."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

from wire.places import Places

assert sys.platform == "win32"

DETACHED: dict[str, Any] = {
    "creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
}
"""subprocess options for a service without a console window, deaf to this console's Ctrl-C."""


def current_user() -> str:
    """What tells users apart in names of shared directories."""
    return os.environ.get("USERNAME", "")


def connect(places: Places) -> tuple[socket.socket, str] | None:
    """A connected socket and the token its greeting needs; None if no service runs."""
    try:
        with open(places.endpoint, encoding="utf-8") as file:
            body = json.load(file)
        address = ("127.0.0.1", int(body["port"]))
        return socket.create_connection(address, timeout=None), str(body["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
