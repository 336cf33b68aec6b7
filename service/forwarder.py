"""The host's side of forwarded ports: QEMU's forwards for 127.0.0.1, relays of ours for ::1."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from netbridge.datagrams import DatagramRelay
from netbridge.forwards import Forward, Target
from netbridge.hostfwd import (
    HOST_ADDRESS,
    add_command,
    can_forward,
    remove_command,
    was_added,
    was_removed,
)
from netbridge.hostports import why_refused
from netbridge.relay import Relay, Stream, has_ipv6
from vm.qmp import Qmp

log = logging.getLogger(__name__)

HOST_ADDRESS_V6 = "::1"


class PortRefused(Exception):
    """The host does not give the port away; the message says why."""


class Forwarder:
    """Opens and closes ports of the host's localhost, for one machine."""

    def __init__(self, qmp: Qmp) -> None:
        self._qmp = qmp
        self._relays: dict[Forward, Relay | DatagramRelay] = {}

    async def open(self, forward: Forward, target: Target) -> None:
        """Make `forward` lead to `target`. Raises PortRefused, VmError."""
        if not can_forward(forward, target):
            raise PortRefused("the server speaks IPv6 only")
        reason = why_refused(forward.protocol, forward.port)
        if reason:
            raise PortRefused(reason)
        answer = await self._qmp.human_monitor(add_command(forward, target))
        if not was_added(answer):
            # The reason, unless the port was taken, and given up again, in between.
            reason = why_refused(forward.protocol, forward.port)
            log.warning("QEMU does not forward %s: %s", forward, answer.strip())
            raise PortRefused(reason or "QEMU could not bind it")
        if has_ipv6():
            try:
                self._relays[forward] = await _relay_ipv6(forward)
            except OSError as error:
                log.info("%s is not forwarded at %s: %s", forward, HOST_ADDRESS_V6, error)

    async def close(self, forward: Forward) -> None:
        """Remove a forward. Raises VmError."""
        relay = self._relays.pop(forward, None)
        if relay is not None:
            relay.close()
        answer = await self._qmp.human_monitor(remove_command(forward))
        if not was_removed(answer):
            log.warning("QEMU goes on forwarding %s: %s", forward, answer.strip())

    def abandon(self) -> None:
        """The machine is gone, and its own forwards with it."""
        for relay in self._relays.values():
            relay.abort()
        self._relays.clear()


async def _relay_ipv6(forward: Forward) -> Relay | DatagramRelay:
    """Pass on to 127.0.0.1 what comes to ::1. Raises OSError."""
    if forward.protocol == "udp":
        return await DatagramRelay.listen(
            HOST_ADDRESS_V6, forward.port, (HOST_ADDRESS, forward.port)
        )
    return await Relay.listen(HOST_ADDRESS_V6, forward.port, partial(_connect, forward.port))


async def _connect(port: int) -> Stream:
    return await asyncio.open_connection(HOST_ADDRESS, port)
