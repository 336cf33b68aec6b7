"""The network of the machine: which kind, and what its agent is told of it."""

from __future__ import annotations

import asyncio
import logging

from service.errors import ServiceError
from service.hostnetwork import disconnect_network
from service.link import AgentLink
from service.names import NameWatch
from service.ports import Ports
from service.settings import Settings, SettingsFile
from vm.machine import VirtualMachine
from vm.spec import MachineSpec, TapNetwork
from wire.agent import AddressesChanged, ChangeNames, Names, PortsChanged, SetUpNetwork
from wire.codec import Message
from wire.common import Done
from wire.network import BRIDGED, MACHINE_ADDRESS, MIRRORED, NAT, NONE

log = logging.getLogger(__name__)


def networking_mode(spec: MachineSpec, settings: Settings) -> str:
    """The mode, one of wire.network.MODES, of a machine that was started by `spec`. Pure.

    Consomme is WSL's network of the kind that ours is anyway.
    """
    if spec.network is None:
        return NONE
    if isinstance(spec.network, TapNetwork):
        return BRIDGED
    return MIRRORED if settings.networking_mode == "Mirrored" else NAT


class Network:
    """Follows the machine: set up by each agent that says hello, gone when the machine is."""

    def __init__(self, settings: SettingsFile) -> None:
        self._settings = settings
        self._vm: VirtualMachine | None = None
        self._setting_up: asyncio.Task[None] | None = None
        self._names = NameWatch(settings.current)
        self.ports = Ports(settings)
        self.mode = ""
        """One of wire.network.MODES; "" while no machine runs."""
        self.problem = ""
        """What of it does not work."""
        self.addresses: tuple[str, ...] = ()
        """The machine's own."""

    def on_greeted(self, vm: VirtualMachine, link: AgentLink) -> None:
        """An agent is there, of a new machine or anew of the same.

        What is sent to it after this is carried out with the network set up.
        """
        settings = self._settings.current()
        if vm is not self._vm:
            self.end()
            self._vm = vm
            self.mode = networking_mode(vm.spec, settings)
            self.addresses = (MACHINE_ADDRESS,) if self.mode in (NAT, MIRRORED) else ()
        forward = self.mode in (NAT, MIRRORED) and settings.localhost_forwarding
        if forward:
            self.ports.begin(vm)
        if self._setting_up is not None:
            self._setting_up.cancel()
        self._names.end()
        request = SetUpNetwork(mode=self.mode, forward=forward, names=self._names.read())
        self._setting_up = asyncio.create_task(self._set_up(link, request))

    async def _set_up(self, link: AgentLink, request: SetUpNetwork) -> None:
        try:
            await link.request(request, Done)
        except ServiceError as error:
            log.warning("the network is not as it should be: %s", error.message)
            self.problem = error.message
            return
        self.problem = ""
        if request.forward:
            self.ports.complete()

        async def tell(names: Names) -> None:
            try:
                await link.request(ChangeNames(names=names), Done)
            except ServiceError as error:
                log.warning("names are not found as they should be: %s", error.message)

        self._names.follow(request.names, tell)

    def on_event(self, event: Message) -> None:
        """The agent tells of its network, or of something else."""
        if isinstance(event, PortsChanged):
            self.ports.on_changed(event)
        elif isinstance(event, AddressesChanged):
            self.addresses = event.addresses

    async def on_machine_ended(self) -> None:
        """The machine is over: give back what it had of the host's network."""
        vm = self._vm
        self.end()
        if vm is not None:
            await disconnect_network(vm.spec.network)

    def end(self) -> None:
        """Forget the machine, and all forwards with it."""
        if self._setting_up is not None:
            self._setting_up.cancel()
        self._names.end()
        self._setting_up = self._vm = None
        self.mode = self.problem = ""
        self.addresses = ()
        self.ports.end()
