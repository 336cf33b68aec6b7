"""Jumps of the host's clock, noticed against one that has none."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from service.agentwatch import AgentWatch, HostClock
from service.link import AgentLink
from vm.machine import VirtualMachine
from wire.agent import Hello, Reseed, Welcome
from wire.codec import Message
from wire.common import PROTOCOL_VERSION, Done

SECOND = 10**9


class Clocks:
    """Both of a host, set by hand."""

    def __init__(self) -> None:
        self.wall_ns = 1_700_000_000 * SECOND
        self.steady_ns = 0

    def pass_by(self, seconds: float) -> None:
        self.wall_ns += int(seconds * SECOND)
        self.steady_ns += int(seconds * SECOND)

    def host_clock(self) -> HostClock:
        return HostClock(lambda: self.wall_ns, lambda: self.steady_ns)


@pytest.mark.parametrize("jump_s", [3600, -3600, 1, -1, 10 * 365 * 86400])
def test_a_jump_is_noticed_until_the_time_is_told(jump_s: int) -> None:
    """Also the one that a host's sleep is, through which the steady clock stands still."""
    clocks = Clocks()
    clock = clocks.host_clock()
    clocks.pass_by(100)
    assert not clock.has_jumped()
    clocks.wall_ns += jump_s * SECOND
    assert clock.has_jumped()
    assert clock.tell() == clocks.wall_ns
    assert not clock.has_jumped()


def test_time_that_passes_and_slewing_are_no_jumps() -> None:
    clocks = Clocks()
    clock = clocks.host_clock()
    for _ in range(1000):
        clocks.pass_by(1000)
        clocks.wall_ns += SECOND // 4000  # an NTP daemon at work
    assert not clock.has_jumped()


class Resumed:
    """A machine's monitor that says once that the machine goes on, and then nothing more."""

    def __init__(self) -> None:
        self.qmp = self

    @contextlib.contextmanager
    def events(self, *names: str) -> Iterator[AsyncIterator[dict[str, str]]]:
        assert names == ("RESUME",)

        async def stream() -> AsyncIterator[dict[str, str]]:
            yield {"event": "RESUME"}

        yield stream()


class Greeted:
    """A link that keeps the greetings it is asked to send."""

    def __init__(self) -> None:
        self.hellos: list[Hello] = []

    async def wait_synchronised(self) -> None:
        pass

    async def request(self, message: Hello, reply: type[Welcome]) -> Welcome:
        self.hellos.append(message)
        return Welcome(protocol=PROTOCOL_VERSION, version="", kernel="", boot_id="")


def test_a_machine_that_goes_on_is_told_the_time() -> None:
    """It was paused, and the host's own clock has not jumped."""
    link = Greeted()

    async def follow() -> None:
        vm = cast(VirtualMachine, Resumed())
        watch = AgentWatch(vm, cast(AgentLink, link), "port", 1000, lambda: None)
        await asyncio.wait_for(watch.follow_time(), 10)

    before = time.time_ns()
    asyncio.run(follow())
    (hello,) = link.hellos
    assert before <= hello.time_ns <= time.time_ns()


class Woken:
    """A link to an agent that goes on from a snapshot: what is written to it, in order."""

    def __init__(self) -> None:
        self.written: list[str] = []

    async def wait_synchronised(self) -> None:
        pass

    async def request(self, message: Message, reply: type[Message]) -> Message:
        self.written.append(message.NAME)
        await asyncio.sleep(0.001)
        self.written.append(f"{message.NAME} answered")
        if isinstance(message, Reseed):
            return Done()
        return Welcome(protocol=PROTOCOL_VERSION, version="", kernel="", boot_id="")


class Endless:
    """A machine that does not end."""

    async def wait(self) -> None:
        await asyncio.Event().wait()


def test_what_is_told_early_comes_after_the_entropy() -> None:
    """And the time, which grows old on its way, is told once the entropy is in place."""
    link = Woken()

    async def greet() -> None:
        vm = cast(VirtualMachine, Endless())
        watch = AgentWatch(vm, cast(AgentLink, link), "port", 1000, lambda: None)
        await watch.greet(10, is_awakened=True, on_seeded=lambda: link.written.append("early"))

    asyncio.run(greet())
    assert link.written == ["reseed", "early", "reseed answered", "hello", "hello answered"]


class Booted:
    """A machine whose agent may have opened its port before anybody could be told."""

    def __init__(self, *, is_open: bool) -> None:
        self.qmp = self
        self.spec = SimpleNamespace(ports=("other", "port"))
        self._is_open = is_open
        self._queue: list[dict[str, object]] = []
        if is_open:
            self._queue.append(self._event())  # as it came while the question was under way

    @staticmethod
    def _event() -> dict[str, object]:
        return {"event": "VSERPORT_CHANGE", "data": {"id": "port", "open": True}}

    async def is_frontend_open(self, chardev: str) -> bool:
        assert chardev == "port2"
        return self._is_open

    @contextlib.contextmanager
    def events(self, *names: str) -> Iterator[Booted]:
        assert names == ("VSERPORT_CHANGE",)
        if not self._is_open:
            self._queue.append(self._event())
        yield self

    def discard(self) -> None:
        self._queue.clear()

    def __aiter__(self) -> Booted:
        return self

    async def __anext__(self) -> dict[str, object]:
        if not self._queue:
            raise StopAsyncIteration
        return self._queue.pop(0)


@pytest.mark.parametrize("is_open", [True, False])
def test_an_agent_that_was_there_first_is_found_once(is_open: bool) -> None:
    opened: list[None] = []
    link = SimpleNamespace(port_opened=lambda: opened.append(None))
    vm = cast(VirtualMachine, Booted(is_open=is_open))
    watch = AgentWatch(vm, cast(AgentLink, link), "port", 1000, lambda: None)
    asyncio.run(watch.follow_port(is_booting=True))
    assert len(opened) == 1
