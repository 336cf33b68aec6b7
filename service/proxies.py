"""Which of the host's web proxies a command in Linux is told of (autoProxy in .wslconfig)."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from netbridge.proxies import linux_proxies
from service.settings import Settings
from wire.network import HOST_ADDRESS, MIRRORED, NAT

_LOOPBACK = {NAT: HOST_ADDRESS, MIRRORED: "127.0.0.1"}
"""By networking mode: where the host's 127.0.0.1 is in Linux. By number, so that it is found
where no hosts file of ours is."""


def command_proxies(client: Mapping[str, str], settings: Settings, mode: str) -> dict[str, str]:
    """Environment variables for a command; `client` are those of who has typed it.

    Without any, those that Windows has in its settings count. In a machine without a network
    there are none.
    """
    if not settings.auto_proxy or settings.networking_mode == "None":
        return {}
    host = client
    if not host and sys.platform == "win32":
        from netbridge.proxies_windows import user_proxies

        host = user_proxies()
    return linux_proxies(host, _LOOPBACK.get(mode, ""))
