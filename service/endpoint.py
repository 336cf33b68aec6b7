"""Where clients reach the service: the contract, and which platform's file fulfils it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Protocol

from vm.files import delete
from wire.places import Places

if sys.platform == "win32":
    from service.endpoint_windows import serve_windows as serve_here
else:
    from service.endpoint_posix import serve_posix as serve_here

__all__ = ["ProtocolFactory", "serve", "withdraw"]


class ProtocolFactory(Protocol):
    """Makes the protocol of a new connection; `token` is what its greeting must carry."""

    def __call__(self, token: str) -> asyncio.BaseProtocol:
        """The protocol of one connection."""


async def serve(places: Places, factory: ProtocolFactory) -> asyncio.Server:
    """Listen for this user's clients, and for nobody else.

    Raises OSError or ServiceError when the run directory cannot be made safe.
    """
    return await serve_here(places, factory)


def withdraw(places: Places) -> None:
    """Remove what tells clients where the service is.

    A client that reads it at this moment keeps it there, on Windows: it is not believed once this
    process has ended.
    """
    with contextlib.suppress(OSError):
        delete(Path(places.endpoint))
