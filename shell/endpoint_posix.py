"""Reaching the service on POSIX hosts: its unix socket, in a directory that is surely ours."""

from __future__ import annotations

import os
import socket
import stat
import sys

from shell.failure import ClientError
from wire import failures
from wire.places import Places

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from typing import Any

assert sys.platform != "win32"

DETACHED: dict[str, Any] = {"start_new_session": True}
"""subprocess options for a service that outlives the terminal it was started from."""


def current_user() -> str:
    """What tells users apart in names of shared directories."""
    return str(os.getuid())


def connect(places: Places) -> tuple[socket.socket, str] | None:
    """A connected socket and the token its greeting needs; None if no service runs.

    Raises ClientError where the run directory belongs to somebody else, whose socket would see
    all that is typed, or may not be entered.
    """
    try:
        status = os.lstat(places.run_directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(places.run_directory, error) from None
    if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
        raise ClientError(
            failures.SERVICE_LOST,
            f"{places.run_directory} belongs to another user",
            hint="Remove it, or set ISTHMUS_HOME to a directory of your own.",
        )
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(places.endpoint)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise _unusable(places.endpoint, error) from None
    return connection, ""


def _unusable(path: str, error: OSError) -> ClientError:
    return ClientError(
        failures.SERVICE_LOST,
        f"{path}: {error.strerror or error}",
        hint="Make it usable for you, or set ISTHMUS_HOME to another directory.",
    )
