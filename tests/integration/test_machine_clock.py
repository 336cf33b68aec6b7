"""The guest's clock after a pause, and after the host's was moved: right although nobody asks."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from service.errors import ServiceError
from service.link import AgentLink
from service.machine import Machine
from service.settings import SettingsFile
from wire.agent import Spawn, Spawned
from wire.common import Exited
from wire.frame import Frame
from wire.places import Places

pytestmark = pytest.mark.vm

NS = 1_000_000_000
PAUSE_S = 3.0
DEADLINE_S = 30.0


class Answer:
    """What a program in the guest prints."""

    def __init__(self) -> None:
        self.text = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_frame(self, frame: Frame) -> None:
        self.text += bytes(frame.payload)

    def on_exit(self, exited: Exited) -> None:
        self.ended.set_result(None)

    def on_lost(self, error: ServiceError) -> None:
        self.ended.set_exception(error)


async def guest_is_behind_s(link: AgentLink) -> float:
    """How far the guest's clock is behind the host's, at least, in seconds; negative: ahead."""
    program = "import time; print(time.time_ns())"
    answer = Answer()
    argv = ("python3", "-I", "-S", "-c", program)
    number = link.open_session(answer)
    before = time.time_ns()
    await link.request(Spawn(session=number, distribution="", argv=argv), Spawned)
    await answer.ended
    guest = int(answer.text)
    if before <= guest <= time.time_ns():
        return 0.0
    return (before if guest < before else time.time_ns()) / NS - guest / NS


async def until_right(link: AgentLink) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while abs(await guest_is_behind_s(link)) > 0.01:
            pass  # each look takes a program's start


def with_machine(work: Callable[[Machine, AgentLink], Awaitable[None]]) -> None:
    """Run `work` on a machine of its own, and end that."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="isthmus-") as home:
            places = Places(home, home)
            Path(places.logs).mkdir()
            settings = SettingsFile(Path(home) / "wslconfig")
            machine = Machine(
                places, settings, lambda event: None, {}, lambda vm, link: None, lambda: None
            )
            link = await machine.ensure_running(lambda *progress: None)
            try:
                await work(machine, link)
            finally:
                await machine.close()

    asyncio.run(run())


def test_it_is_right_after_a_pause_and_a_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(machine: Machine, link: AgentLink) -> None:
        await until_right(link)
        qmp = machine.vm.qmp
        await qmp.stop()
        await asyncio.sleep(PAUSE_S)  # the guest's clock stands still
        await qmp.cont()
        await until_right(link)
        real_ns = time.time_ns
        for hours in (1, -1):
            monkeypatch.setattr(time, "time_ns", lambda hours=hours: real_ns() + hours * 3600 * NS)
            await until_right(link)
        monkeypatch.undo()
        await until_right(link)

    with_machine(work)
