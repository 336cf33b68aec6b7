"""The machine's network as the service wants it: localhost, names, and what is told of ports."""

from __future__ import annotations

import os
from collections.abc import Callable

from guest.agent import etc
from guest.agent.dhcp import DhcpClient
from guest.agent.errors import AgentError
from guest.agent.loop import Loop
from guest.agent.loopback import INTERFACE, Loopback
from guest.agent.nethooks import put_hooks
from guest.agent.ports import PortWatch
from wire.agent import AddressesChanged, Names, SetUpNetwork
from wire.codec import Message
from wire.network import BRIDGED, HOST_ADDRESS, HOST_NAME, MIRRORED, MODES, NAT, NONE


class Network:
    """Set up anew for every service that says hello."""

    def __init__(self, loop: Loop, send_event: Callable[[Message], None]) -> None:
        self._ports = PortWatch(loop, send_event)
        self._loopback = Loopback(loop)
        self._mirror: list[int] = []
        """Descriptors of what makes localhost the host's as well, kept open while it should."""
        self._dhcp = DhcpClient(loop, self._on_address)
        self._send_event = send_event
        self._address = ""
        self.mode = NAT
        self.hosts: tuple[str, ...] = ()
        """Lines for the distributions' /etc/hosts."""

    def set_up(self, request: SetUpNetwork) -> None:
        """Raises AgentError, OSError for what cannot be had; the rest is done."""
        if request.mode not in MODES:
            raise AgentError(f"there is no networking mode {request.mode}")
        self.mode = request.mode
        self.change_names(request.names)
        if request.mode == BRIDGED:
            self._dhcp.start(INTERFACE)
            self._tell_address()
        self._ports.stop()
        if request.forward:
            self._loopback.open()
            self._ports.start()
        self._mirror_localhost(request.mode == MIRRORED)

    def change_names(self, names: Names) -> None:
        """Distributions have their names from `names` now, their /etc/hosts from when they start.

        Raises OSError.
        """
        own = () if self.mode in (BRIDGED, NONE) else (f"{HOST_ADDRESS}\t{HOST_NAME}",)
        self.hosts = (*own, *names.hosts)
        if self.mode != BRIDGED:  # where name servers come with the address
            etc.write_resolv_conf(names.name_servers, names.search)

    def drop(self) -> None:
        """The link has lost its state: there is nobody to tell."""
        self._ports.stop()

    def _on_address(self, address: str) -> None:
        self._address = address
        self._tell_address()

    def _tell_address(self) -> None:
        self._send_event(AddressesChanged(addresses=(self._address,) if self._address else ()))

    def _mirror_localhost(self, wanted: bool) -> None:
        if wanted and not self._mirror:
            self._mirror = put_hooks("mirror")
        elif not wanted:
            for fd in self._mirror:
                os.close(fd)
            self._mirror = []
