"""The agent is greeted however late: a busy host may need longer than the guest to be ready."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.agentwatch import AgentWatch
from service.link import AgentLink
from tests.contract.guests import AGENT_PORT, machine_spec
from vm.machine import VirtualMachine
from wire.codec import Message

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


def test_an_agent_that_is_ready_before_it_is_asked_for(tmp_path: Path) -> None:
    def nothing(event: Message) -> None:
        """No event matters here."""

    async def scenario() -> str:
        spec = await machine_spec(tmp_path, tmp_path / "serial.log")
        vm = await VirtualMachine.start(spec)
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
