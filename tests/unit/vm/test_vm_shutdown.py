"""The ladder, rung by rung, on real processes; QEMU's monitor is a fake where one is needed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping

import pytest

from tests.unit.vm.vm_samples import ASKED, connected, ok
from vm.exit_report import ExitReport, ShutdownRung
from vm.process import ChildProcess, spawn
from vm.qmp import Qmp
from vm.shutdown import Deadlines, climb_down

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM and processes deaf to it")

OBEDIENT = "import sys, time; print('up', file=sys.stderr, flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {OBEDIENT}"
SHORT = Deadlines(guest_s=0.1, quit_s=0.1, terminate_s=0.1, kill_s=30)
AMPLE = Deadlines(guest_s=30, quit_s=30, terminate_s=30, kill_s=30)

Ask = Callable[[], Awaitable[None]]


class Stage:
    """A child, the future that is done when it ends, and the rungs that were tried."""

    def __init__(self, child: ChildProcess) -> None:
        self.child = child
        self.rungs: list[ShutdownRung] = []
        self.ended: asyncio.Future[ExitReport] = asyncio.get_running_loop().create_future()
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        await self.child.wait()
        self.ended.set_result(ASKED)

    async def climb(self, qmp: Qmp | None, ask: Ask | None, deadlines: Deadlines) -> None:
        await climb_down(self.child, qmp, self.ended, ask, deadlines, self.rungs.append)
        await self.ended


async def stage(code: str) -> Stage:
    child = await spawn([sys.executable, "-S", "-E", "-c", code])
    while not child.stderr_tail:  # noqa: ASYNC110  (it says "up" there, and nowhere else)
        await asyncio.sleep(0.001)
    return Stage(child)


def test_a_guest_that_obeys_is_enough() -> None:
    async def scenario() -> list[ShutdownRung]:
        on = await stage(OBEDIENT)

        async def ask() -> None:
            on.child.kill()  # what the guest's power-off does to QEMU

        await on.climb(None, ask, AMPLE)
        return on.rungs

    assert asyncio.run(scenario()) == [ShutdownRung.GUEST]


def test_a_guest_that_never_answers_is_not_waited_for_beyond_its_deadline() -> None:
    async def scenario() -> list[ShutdownRung]:
        on = await stage(OBEDIENT)
        deadlines = Deadlines(guest_s=0.1, quit_s=30, terminate_s=30, kill_s=30)
        await on.climb(None, asyncio.Event().wait, deadlines)  # type: ignore[arg-type]
        return on.rungs

    assert asyncio.run(scenario()) == [ShutdownRung.GUEST, ShutdownRung.TERMINATE]


def test_a_guest_that_cannot_be_asked_is_not_waited_for_at_all() -> None:
    async def scenario() -> list[ShutdownRung]:
        on = await stage(OBEDIENT)

        async def ask() -> None:
            raise ConnectionError("the agent is gone")

        await on.climb(None, ask, AMPLE)
        return on.rungs

    assert asyncio.run(scenario()) == [ShutdownRung.GUEST, ShutdownRung.TERMINATE]


def test_qemu_flushes_before_it_quits() -> None:
    async def scenario() -> tuple[list[ShutdownRung], list[str]]:
        on = await stage(DEAF)

        def answer(command: str, _: Mapping[str, object]) -> list[dict[str, object]]:
            if command == "quit":
                on.child.kill()
            return [ok()]

        async with connected(answer) as (qmp, monitor):
            await on.climb(qmp, None, AMPLE)
            return on.rungs, monitor.commands

    rungs, commands = asyncio.run(scenario())
    assert rungs == [ShutdownRung.QUIT]
    assert commands[1:] == ["stop", "quit"]


def test_a_monitor_that_is_stuck_leads_on_to_signals_and_a_deaf_process_to_the_last() -> None:
    async def scenario() -> list[ShutdownRung]:
        on = await stage(DEAF)
        async with connected(lambda *_: None) as (qmp, _):
            await on.climb(qmp, None, SHORT)
        return on.rungs

    assert asyncio.run(scenario()) == [
        ShutdownRung.QUIT,
        ShutdownRung.TERMINATE,
        ShutdownRung.KILL,
    ]


def test_a_lost_monitor_is_not_tried() -> None:
    async def scenario() -> list[ShutdownRung]:
        on = await stage(OBEDIENT)
        async with connected(lambda *_: [ok()]) as (qmp, monitor):
            monitor.hang_up()
            await qmp.lost.wait()
            await on.climb(qmp, None, AMPLE)
        return on.rungs

    assert asyncio.run(scenario()) == [ShutdownRung.TERMINATE]
