"""What of the host's network the machine is connected to, made before it and removed after."""

from __future__ import annotations

import asyncio
import hashlib
import sys

from netbridge.errors import NetworkError
from service.errors import ServiceError
from service.settings import Settings
from vm.spec import TapNetwork, UserNetwork
from wire import failures

_turn = asyncio.Lock()
"""One machine's interface is removed before the next one's, of the same name, is made."""


async def connect_network(settings: Settings, home: str) -> UserNetwork | TapNetwork | None:
    """What `settings` ask for, ready for use; `home` is whose. Raises ServiceError."""
    if settings.networking_mode == "None":
        return None
    if settings.networking_mode != "Bridged":
        return UserNetwork(ipv6=settings.ipv6)
    if sys.platform == "win32":
        raise ServiceError(
            failures.UNSUPPORTED,
            "networkingMode=bridged is for Linux hosts only",
            hint="Set it to Nat or Mirrored in .wslconfig.",
        )
    else:
        from netbridge.bridge_posix import make_tap

        network = tap_network(settings, home)
        try:
            async with _turn:
                await asyncio.to_thread(make_tap, network.interface, settings.bridge)
        except NetworkError as error:
            raise ServiceError(failures.VM_FAILED, error.message, hint=error.hint) from error
        return network


async def disconnect_network(network: UserNetwork | TapNetwork | None) -> None:
    """The machine that used it is over."""
    if sys.platform != "win32" and isinstance(network, TapNetwork):
        from netbridge.bridge_posix import remove_tap

        async with _turn:
            await asyncio.to_thread(remove_tap, network.interface)


def tap_network(settings: Settings, home: str) -> TapNetwork:
    """The name and the hardware address of a home's machine: always the same. Pure.

    So a DHCP server gives it the same address each time. 52:54:00 is QEMU's.
    """
    digest = hashlib.sha256(home.encode()).hexdigest()
    mac = ":".join(("52:54:00", digest[0:2], digest[2:4], digest[4:6]))
    return TapNetwork(f"isthmus-{digest[:7]}", settings.mac_address or mac)
