"""QEMU's own forwards, from a port of the host's 127.0.0.1 into its user network. Pure.

They are made and removed in the human monitor (hostfwd_add, hostfwd_remove; net/slirp.c), which
answers in sentences, and carry the bytes in C. They are IPv4 only, on both sides.
"""

from __future__ import annotations

from netbridge.forwards import Forward, Target

NETDEV = "net0"
HOST_ADDRESS = "127.0.0.1"
"""The one address of the host that is ever bound."""

GUEST_ADDRESSES = {
    Target.MACHINE: "10.0.2.15",
    Target.LOOPBACK: "127.0.0.1",
}
"""What QEMU connects to. It reaches the guest's loopback address because the guest's kernel lets it
(guest.agent.system, open_loopback) and answers for that address when it is looked for (ARP)."""


def add_command(forward: Forward, target: Target) -> str:
    """Makes a forward to a `target` that is in GUEST_ADDRESSES."""
    guest = GUEST_ADDRESSES[target]
    return f"hostfwd_add {NETDEV} {_rule(forward)}-{guest}:{forward.port}"


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
