"""What is done beside the start of a machine, and what its agent is told of it."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from service.link import AgentLink
from service.starting import _beside, _tell
from vm.errors import VmError
from vm.machine import VirtualMachine
from wire.agent import ExpectDisk
from wire.codec import Message

VM = cast(VirtualMachine, object())
EVENT = ExpectDisk(disk="d")


class Link:
    """Keeps what it is to send."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send_event(self, event: Message) -> None:
        self.sent.append(event)


@pytest.mark.parametrize("delay_s", [0.0, 0.05])
def test_the_agent_is_told_what_has_been_done_by_then(delay_s: float) -> None:
    """What takes longer is done to its end all the same."""
    link, done = Link(), []

    async def early(vm: VirtualMachine) -> Message:
        await asyncio.sleep(delay_s)
        done.append(vm)
        return EVENT

    async def start() -> None:
        async with _beside(early, VM) as task:
            for _ in range(3):
                await asyncio.sleep(0)
            _tell(cast(AgentLink, link), task)

    asyncio.run(start())
    assert done == [VM]
    assert link.sent == ([] if delay_s else [EVENT])


def test_what_fails_is_told_nobody_and_ends_no_start() -> None:
    link = Link()

    async def early(vm: VirtualMachine) -> Message:
        raise VmError("no such disk")

    async def start() -> str:
        async with _beside(early, VM) as task:
            await asyncio.sleep(0)
            _tell(cast(AgentLink, link), task)
        async with _beside(None, VM) as task:
            _tell(cast(AgentLink, link), task)
        return "started"

    assert asyncio.run(start()) == "started"
    assert link.sent == []


def test_a_start_that_fails_waits_for_what_has_begun() -> None:
    """Half a plug-in would be worse than none."""
    done = []

    async def early(vm: VirtualMachine) -> Message:
        await asyncio.sleep(0.02)
        done.append(vm)
        return EVENT

    async def start() -> None:
        async with _beside(early, VM):
            raise VmError("it ended")

    with pytest.raises(VmError):
        asyncio.run(start())
    assert done == [VM]
