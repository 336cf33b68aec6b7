"""Which ports of the host lead where in the machine. Pure.

As WSL does it, what a Linux program serves at 127.0.0.1, 0.0.0.0, ::1 or :: is served at the
host's localhost under the same number, and at no other address of the host. What is bound to
another address (127.0.0.53, a container bridge) was not meant for localhost.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from wire.agent import Port

PROTOCOLS = ("tcp", "udp")


@dataclass(frozen=True, order=True)
class Forward:
    """A port of the host's localhost."""

    port: int
    protocol: str

    def __str__(self) -> str:
        return str(self.port) if self.protocol == "tcp" else f"{self.port}/{self.protocol}"


class Target(Enum):
    """Where in the machine a forward leads."""

    MACHINE = "machine"
    """To its own address: the server is bound to all."""
    LOOPBACK = "loopback"
    """To its 127.0.0.1: the server is bound to nothing else."""
    LOOPBACK_V6 = "loopback-v6"
    """To its ::1: the server does not speak IPv4."""


_ORDER = (Target.MACHINE, Target.LOOPBACK, Target.LOOPBACK_V6)
"""If several servers share a port, by address, the first is meant."""


EPHEMERAL_PORTS = range(32768, 61000)
"""What Linux gives to sockets that ask for no port (ip-sysctl.rst, ip_local_port_range)."""
SETTLE_S = 1.0


def settled(served: Mapping[Port, float], now: float) -> tuple[set[Port], float | None]:
    """Those of `served` that count, and in how many seconds one more will (None: never).

    served: since when, in seconds. A client's datagram socket looks like a server's, lives for one
    question, and has a port of EPHEMERAL_PORTS: those count after SETTLE_S only.
    """
    counting: set[Port] = set()
    waiting: list[float] = []
    for port, since in served.items():
        age = now - since
        if port.protocol == "udp" and port.number in EPHEMERAL_PORTS and age < SETTLE_S:
            waiting.append(SETTLE_S - age)
        else:
            counting.add(port)
    return counting, min(waiting, default=None)


def target_of(port: Port) -> Target | None:
    """How the host reaches what is served at `port`; None if that is not at localhost."""
    try:
        address = ipaddress.ip_address(port.address)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_unspecified and not port.v6_only:
            return Target.MACHINE  # takes IPv4 as well (ipv6(7))
        if address.is_unspecified or address.is_loopback:
            return Target.LOOPBACK_V6
        if address.ipv4_mapped is None:
            return None
        address = address.ipv4_mapped
    if address.is_unspecified:
        return Target.MACHINE
    return Target.LOOPBACK if str(address) == "127.0.0.1" else None


def wanted_forwards(
    served: Iterable[Port], ignored: frozenset[int] = frozenset()
) -> dict[Forward, Target]:
    """What to forward when `served` is what the machine serves, but for the ports `ignored`."""
    wanted: dict[Forward, Target] = {}
    for port in served:
        target = target_of(port)
        if target is None or port.protocol not in PROTOCOLS or not 0 < port.number < 65536:
            continue
        if port.number not in ignored:
            forward = Forward(port.number, port.protocol)
            wanted[forward] = min(target, wanted.get(forward, target), key=_ORDER.index)
    return wanted
