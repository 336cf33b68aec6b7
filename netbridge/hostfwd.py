"""QEMU's own forwards, from a port of the host's 127.0.0.1 into its user network. Pure.

They are made and removed in the human monitor (hostfwd_add, hostfwd_remove; net/slirp.c), which
answers in sentences, and carry the bytes in C. They are IPv4 only, on both sides.
"""

from __future__ import annotations

import ipaddress

from netbridge.forwards import Forward, Target
from wire.network import LOCALHOST6_NETWORK, LOCALHOST6_PORT, MACHINE_ADDRESS

NETDEV = "net0"
HOST_ADDRESS = "127.0.0.1"
"""The one address of the host that is ever bound."""


def can_forward(forward: Forward, target: Target) -> bool:
    """Whether there is a way at all: none leads by UDP to what does not speak IPv4."""
    return forward.protocol == "tcp" or target is not Target.LOOPBACK_V6


def guest_end(forward: Forward, target: Target) -> str:
    """Address and port that QEMU connects to.

    It reaches loopback addresses because the guest's kernel lets it (guest.agent.system,
    open_loopback), and answers for them when they are looked for (ARP).
    """
    if target is Target.MACHINE:
        return f"{MACHINE_ADDRESS}:{forward.port}"
    if target is Target.LOOPBACK:
        return f"127.0.0.1:{forward.port}"
    return f"{ipaddress.IPv4Address(LOCALHOST6_NETWORK | forward.port)}:{LOCALHOST6_PORT}"


def add_command(forward: Forward, target: Target) -> str:
    """Makes a forward that `can_forward`."""
    return f"hostfwd_add {NETDEV} {_rule(forward)}-{guest_end(forward, target)}"


def remove_command(forward: Forward) -> str:
    """Removes a forward; connections through it go on."""
    return f"hostfwd_remove {NETDEV} {_rule(forward)}"


def was_added(answer: str) -> bool:
    """Whether the monitor's answer to `add_command` says that it worked: by silence."""
    return not answer.strip()


def was_removed(answer: str) -> bool:
    """Whether there is no such forward any more after `remove_command`."""
    return answer.rstrip().endswith(("removed", "not found"))


def _rule(forward: Forward) -> str:
    return f"{forward.protocol}:{HOST_ADDRESS}:{forward.port}"
