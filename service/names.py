"""What Linux is told of names, and of each change of how the host finds them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from netbridge.hostnames import HostNames, HostNamesReader
from netbridge.names import reachable_servers
from service.settings import Settings
from wire.agent import Names
from wire.network import NAME_SERVER

log = logging.getLogger(__name__)

_LOOK_S = 2.0
"""How often to look whether the host has other name servers: it takes three system calls, and
nothing tells of all the ways to change them (links, VPN clients, name services)."""


def linux_names(host: HostNames, settings: Settings) -> Names:
    """What `settings` make of the host's names. Pure."""
    servers: tuple[str, ...] = (NAME_SERVER,)
    if not settings.dns_proxy:
        servers = reachable_servers(host.name_servers, NAME_SERVER, ipv6=settings.ipv6)
    return Names(name_servers=servers, search=host.search, hosts=host.hosts)


class NameWatch:
    """Follows the host's names for one agent after another."""

    def __init__(
        self, settings: Callable[[], Settings], read: Callable[[], HostNames] | None = None
    ) -> None:
        """`read` tells how the host finds names now."""
        self._settings = settings
        self._read = read or HostNamesReader().read
        self._following: asyncio.Task[None] | None = None

    def read(self) -> Names:
        """As of now."""
        return linux_names(self._read(), self._settings())

    def follow(self, known: Names, tell: Callable[[Names], Awaitable[None]]) -> None:
        """Call `tell` with each change since `known`, until `end`."""
        self.end()
        self._following = asyncio.create_task(self._follow(known, tell))

    def end(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()
            self._following = None

    async def _follow(self, known: Names, tell: Callable[[Names], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            names = self.read()
            if names != known:
                log.info("the host finds names in another way: %s", names)
                await tell(names)
                known = names
