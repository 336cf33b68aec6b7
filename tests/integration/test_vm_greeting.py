"""The agent is greeted however late: a busy host may need longer than the guest to be ready."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.agentwatch import AgentWatch
from service.link import AgentLink
from service.starting import AGENT_PORT
from vm.cache import JsonCache
from vm.find import find_qemu
from vm.image.prepare import prepare
from vm.machine import VirtualMachine
from vm.probe import choose_accelerator
from vm.spec import MachineSpec, choose_machine, choose_processors
from wire.codec import Message

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


async def start_machine(directory: Path) -> VirtualMachine:
    cache = JsonCache(directory / "host.json")
    qemu = await find_qemu(cache=cache)
    image = await asyncio.to_thread(prepare)
    probe = await choose_accelerator(qemu, cache)
    assert probe.chosen is not None
    spec = MachineSpec(
        qemu=qemu,
        machine=choose_machine(qemu, image.origin),
        accelerator=probe.chosen,
        boot=image,
        memory_mib=768,
        processors=choose_processors(probe.chosen, image.origin, 2),
        serial_log=directory / "serial.log",
        ports=(AGENT_PORT,),
    )
    return await VirtualMachine.start(spec)


def test_an_agent_that_is_ready_before_it_is_asked_for(tmp_path: Path) -> None:
    def nothing(event: Message) -> None:
        """No event matters here."""

    async def scenario() -> str:
        vm = await start_machine(tmp_path)
        try:
            with vm.qmp.events("VSERPORT_CHANGE") as events:
                async for _ in events:
                    break  # the agent has opened its port, and only this test has heard of it
            link = await AgentLink.open(vm.port(AGENT_PORT), nothing, {})
            watch = AgentWatch(vm, link, AGENT_PORT, 10_000, lambda: None)
            following = asyncio.create_task(watch.follow_port(is_booting=True))
            try:
                await watch.greet(60)
                return await asyncio.to_thread((tmp_path / "serial.log").read_text, "utf-8")
            finally:
                following.cancel()
        finally:
            await vm.shutdown()

    assert asyncio.run(scenario()).count("agent: ready") == 1
