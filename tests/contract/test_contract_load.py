"""Many sessions, one after another and at once; and a distribution that goes wild."""

from __future__ import annotations

import asyncio
import time

import pytest

from service.errors import ServiceError
from tests.contract.guests import VmGuest
from tests.contract.sessions import SIZE, Place

QUICK = 200
CONCURRENT = 50


async def agent_descriptors(place: Place) -> int:
    """How many the agent has, with those of the session that counts them."""
    process = await place.system().start("read go; ls /proc/$PPID/fd | wc -l")
    await process.write(b"go\n")  # it runs: the agent has closed what it only had for its start
    await process.wait()
    return int(process.output())


async def agent_children(place: Place) -> int:
    text = await place.system().text("cat /proc/$PPID/task/*/children; echo; echo $$")
    *children, own = text.split()
    return len(set(children) - {own})


async def test_quick_sessions_leave_nothing(place: Place) -> None:
    await place.text("true")
    descriptors, children = await agent_descriptors(place), await agent_children(place)
    for number in range(QUICK):
        process = await place.start(f"exit {number % 100}")
        if number % 3:
            process.end_input()
        exited = await process.wait()
        assert exited.status == number % 100
    assert await agent_descriptors(place) == descriptors
    assert await agent_children(place) == children


async def test_sessions_that_end_badly_leave_nothing(place: Place) -> None:
    descriptors, children = await agent_descriptors(place), await agent_children(place)
    for _ in range(20):
        with pytest.raises(ServiceError):
            await place.start(None, "/no/such/program")
        with pytest.raises(ServiceError):
            await place.start(None, "/no/such/program", terminal=SIZE)
        hung_up = await place.start("sleep 1000", terminal=SIZE)
        hung_up.hang_up()
        await hung_up.wait()
        killed = await place.start("cat")
        await killed.write(b"x" * 100_000)
        killed.signal(9)
        await killed.wait()
    assert await agent_descriptors(place) == descriptors
    assert await agent_children(place) == children


async def test_sessions_at_once(place: Place) -> None:
    async def one(number: int) -> None:
        process = await place.start("read x; echo $x; echo $x >&2; exit $x")
        await process.write(f"{number}\n".encode())
        exited = await process.wait()
        assert exited.status == number
        assert process.output() == process.errors() == f"{number}\n".encode()

    descriptors = await agent_descriptors(place)
    await asyncio.gather(*(one(number) for number in range(CONCURRENT)))
    assert await agent_descriptors(place) == descriptors


async def test_terminals_at_once(place: Place) -> None:
    async def one(number: int) -> None:
        process = await place.start("stty size; read x; exit $x", terminal=SIZE)
        await process.press(f"{number}\r".encode())
        assert (await process.wait()).status == number

    descriptors = await agent_descriptors(place)
    await asyncio.gather(*(one(number) for number in range(CONCURRENT)))
    assert await agent_descriptors(place) == descriptors


@pytest.mark.deadline(600)
async def test_a_fork_storm_leaves_the_agent_answering(distribution: Place) -> None:
    """Every process of the distribution makes two more, until there may be no more."""
    guest = distribution.guest
    assert isinstance(guest, VmGuest)
    system = distribution.system()
    cgroup = f"/sys/fs/cgroup/distributions/{guest.IDENTITY}"
    storm = await distribution.start("f() { f & f & wait; }; f")
    refusals = f"cat {cgroup}/../pids.events {cgroup}/pids.events"
    while not any(int(word) for word in (await system.text(refusals)).split()[1::2]):
        assert storm.lost is None
    for number in range(5):
        nonce = f"{number} {time.time_ns()}"
        assert await system.text(f"echo {nonce}; uname -r") == f"{nonce}\n{guest.welcome.kernel}\n"  # type: ignore[union-attr]
    await guest.stop_distribution()
    storm.read_from_now_on()
    assert (await storm.wait()).signal == 9
    assert guest.greeted == 1 or guest.link._synchronised.is_set()
    await guest.start_distribution()
    assert await distribution.text("echo calm") == "calm\n"
