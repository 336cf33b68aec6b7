"""Served ports become forwards: a fake agent tells, and a fake monitor binds real ports."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import cast

from netbridge.relay import has_ipv6
from service.network import Network
from service.settings import SettingsFile
from tests.unit.service.link_harness import FakeAgent, asynchronous, settle, until
from tests.unit.vm.vm_samples import SPEC
from vm.machine import VirtualMachine
from wire.agent import Port, PortsChanged, SetUpNetwork
from wire.common import Done, Failure
from wire.frame import Role


class FakeMachine:
    """A VirtualMachine with nothing but a monitor that forwards as QEMU's does: by binding."""

    def __init__(self) -> None:
        self.qmp = self
        self.spec = SPEC
        self.bound: dict[str, socket.socket] = {}

    async def human_monitor(self, line: str) -> str:
        match = re.fullmatch(r"hostfwd_(add|remove) net0 (tcp|udp):127\.0\.0\.1:(\d+)(-.*)?", line)
        assert match, line
        verb, protocol, port, _target = match.groups()
        rule = f"{protocol}:{port}"
        if verb == "remove":
            if rule not in self.bound:
                return f"host forwarding rule for {rule} not found\r\n"
            self.bound.pop(rule).close()
            return f"host forwarding rule for {rule} removed\r\n"
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        bound = socket.socket(socket.AF_INET, kind)
        try:
            bound.bind(("127.0.0.1", int(port)))
            if protocol == "tcp":
                bound.listen(1)
        except OSError:
            bound.close()
            return f"Could not set up host forwarding rule '{line}'\r\n"
        self.bound[rule] = bound
        return ""


def free_ports(count: int) -> list[int]:
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        others = free_ports(count - 1) if count > 1 else []
        return [first.getsockname()[1], *others]


def served(number: int, address: str = "127.0.0.1", protocol: str = "tcp") -> Port:
    return Port(protocol=protocol, address=address, number=number)


class World:
    """Ports, an agent that tells them, and a machine that forwards."""

    agent: FakeAgent

    def __init__(self, tmp_path: Path, wslconfig: str = "") -> None:
        self.file = tmp_path / "wslconfig"
        self.file.write_text(wslconfig)
        self.network = Network(SettingsFile(self.file))
        self.machine = FakeMachine()

    async def start(self, *ports: Port) -> World:
        self.agent = await FakeAgent.start()
        await self.greet(*ports)
        return self

    async def greet(self, *ports: Port) -> None:
        """An agent has said hello, is asked for what is served, and tells."""
        self.network.on_greeted(cast(VirtualMachine, self.machine), self.agent.link)
        role, number, request = await self.agent.read_message()
        assert isinstance(request, SetUpNetwork)
        assert (role, request.mode, request.forward) == (Role.REQUEST, "nat", True)
        self.network.on_event(PortsChanged(opened=ports))
        self.agent.send_message(Role.REPLY, number, Done())

    def rows(self) -> dict[str, str]:
        return {f"{row.protocol}:{row.number}": row.problem for row in self.network.ports.status()}

    def bound(self) -> set[str]:
        return set(self.machine.bound)

    async def end(self) -> None:
        self.end_machine()
        await self.agent.close()
        self.agent.link.close()
        await settle()

    def end_machine(self) -> None:
        self.network.end()
        for bound in self.machine.bound.values():
            bound.close()


@asynchronous
async def test_ports_come_and_go(tmp_path: Path) -> None:
    first, second, third = free_ports(3)
    world = await World(tmp_path).start(served(first), served(second, "10.0.2.15"))
    await until(lambda: world.rows() == {f"tcp:{first}": ""})
    assert world.bound() == {f"tcp:{first}"}
    if has_ipv6():
        with socket.create_connection(("::1", first)):
            pass
    world.network.on_event(PortsChanged(opened=(served(third), served(third, protocol="udp"))))
    await until(lambda: world.bound() == {f"tcp:{first}", f"tcp:{third}", f"udp:{third}"})
    await until(lambda: world.rows() == dict.fromkeys(world.bound(), ""))
    gone = (served(first), served(third))
    world.network.on_event(PortsChanged(closed=gone))
    await until(lambda: world.bound() == {f"udp:{third}"})
    await until(lambda: world.rows() == {f"udp:{third}": ""})
    await world.end()
    assert world.rows() == {}


@asynchronous
async def test_a_taken_port_is_reported_and_had_when_it_is_free(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        holder.listen(1)
        world = await World(tmp_path).start(served(port))
        reason = "used by another program of the host"
        await until(lambda: world.rows() == {f"tcp:{port}": reason})
    await until(lambda: world.bound() == {f"tcp:{port}"})
    await until(lambda: world.rows() == {f"tcp:{port}": ""})
    await world.end()


@asynchronous
async def test_a_refused_port_that_is_served_no_more_is_forgotten(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        holder.listen(1)
        world = await World(tmp_path).start(served(port))
        await until(lambda: bool(world.rows()))
        world.network.on_event(PortsChanged(closed=(served(port),)))
        await until(lambda: not world.rows())
    await world.end()


@asynchronous
async def test_a_new_agent_tells_anew(tmp_path: Path) -> None:
    first, second = free_ports(2)
    world = await World(tmp_path).start(served(first))
    await until(lambda: world.bound() == {f"tcp:{first}"})
    await world.greet(served(second))
    await until(lambda: world.bound() == {f"tcp:{second}"})
    await world.end()


@asynchronous
async def test_a_new_machine_has_no_forwards_yet(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    world = await World(tmp_path).start(served(port))
    await until(lambda: world.bound() == {f"tcp:{port}"})
    world.end_machine()
    world.machine = FakeMachine()
    await world.greet(served(port))
    await until(lambda: world.bound() == {f"tcp:{port}"})
    await world.end()


@asynchronous
async def test_settings(tmp_path: Path) -> None:
    first, second = free_ports(2)
    world = World(tmp_path, f"[experimental]\nignoredPorts={first}\n")
    await world.start(served(first), served(second))
    await until(lambda: world.bound() == {f"tcp:{second}"})
    await world.end()
    world = World(tmp_path, "[wsl2]\nlocalhostForwarding=false\n")
    world.agent = await FakeAgent.start()
    world.network.on_greeted(cast(VirtualMachine, world.machine), world.agent.link)
    _, _, request = await world.agent.read_message()
    assert isinstance(request, SetUpNetwork)
    assert (request.mode, request.forward) == ("nat", False)
    await world.end()


@asynchronous
async def test_a_machine_that_cannot_tell_costs_nothing_else(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.agent = await FakeAgent.start()
    world.network.on_greeted(cast(VirtualMachine, world.machine), world.agent.link)
    _, number, _ = await world.agent.read_message()
    world.agent.send_message(Role.REPLY, number, Failure(code="E", message="no sock_diag"))
    await until(lambda: world.network.problem == "no sock_diag")
    await world.end()
