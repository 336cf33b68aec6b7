"""Malformed data from either side, resets, and an agent that dies."""

from __future__ import annotations

import asyncio
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import LinkLost
from tests.contract.guests import Guest, VmGuest
from tests.contract.sessions import Place, Process
from tests.unit.wire.strategies import FOLLOWING, is_refused, malformed
from wire.agent import Spawn
from wire.codec import encode_message
from wire.frame import HEADER, FrameKind, Role, StreamId, encode_credit, encode_frame
from wire.preamble import ECHO, MAGIC


def raw(length: int, kind: int, stream: int, reserved: int, channel: int) -> bytes:
    return HEADER.pack(length, kind, stream, reserved, channel)


def message(role: int, number: int, content: bytes) -> bytes:
    return encode_frame(FrameKind.MESSAGE, role, number, content)


MALFORMED = {
    "unknown kind": raw(0, 99, 0, 0, 0),
    "huge length": raw(2**32 - 1, FrameKind.MESSAGE, 0, 0, 1),
    "long data": raw(65_537, FrameKind.DATA, 0, 0, 1),
    "reserved": raw(0, FrameKind.EOF, 0, 1, 1),
    "stream": raw(0, FrameKind.EOF, 9, 0, 1),
    "reset": raw(0, FrameKind.RESET, 0, 0, 1),
    "json": message(Role.REQUEST, 1, b"{nonsense"),
    "deep json": message(Role.REQUEST, 1, b"[" * 100_000),
    "unknown message": message(Role.REQUEST, 1, b'{"t":"nonsense"}'),
    "missing field": message(Role.REQUEST, 1, b'{"t":"spawn","session":1}'),
    "surrogate": message(Role.REQUEST, 1, b'{"t":"mount-disk","disk":"\\ud800"}'),
    "event as request": message(Role.REQUEST, 1, b'{"t":"hangup","session":1}'),
    "request as event": message(Role.EVENT, 0, b'{"t":"power-off"}'),
    "reply": message(Role.REPLY, 1, b'{"t":"done"}'),
    "session 0": message(
        Role.REQUEST, 1, encode_message(Spawn(session=0, distribution="", line="true"))
    ),
    "echo": ECHO + bytes(16),
    "preamble": MAGIC + bytes(16),
}


async def start_long(place: Place) -> tuple[Process, int]:
    """A process that would run for long, and its pid."""
    process = await place.start("echo $$; exec sleep 1000")
    await process.until_output(b"\n")
    return process, int(process.output())


async def wait_gone(place: Place, pid: int) -> None:
    """Wait until no process has that number (or another one, by now)."""
    while (await place.run(f"grep -qx sleep /proc/{pid}/comm")).exited.status == 0:  # type: ignore[union-attr]
        pass


async def send_and_recover(guest: Guest, data: bytes) -> None:
    """Write bytes to the agent that it must refuse; wait until it has been greeted again."""
    before = guest.greeted
    guest.link._write(data)
    await guest.wait_greeted(before)


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_data_drops_the_sessions_and_nothing_else(place: Place, name: str) -> None:
    process, pid = await start_long(place)
    await send_and_recover(place.guest, MALFORMED[name])
    with pytest.raises(LinkLost):
        await process.wait()
    assert "link reset" in place.guest.log_text()
    await wait_gone(place, pid)
    assert await place.text("echo served again") == "served again\n"


async def test_a_stream_without_credit_drops_the_sessions(place: Place) -> None:
    process = await place.start("cat", reads=False)
    await send_and_recover(place.guest, encode_credit(StreamId.STDOUT, process.number, 1))
    other = await place.start("kill -STOP $$")
    too_much = encode_frame(FrameKind.DATA, StreamId.STDIN, other.number, b"x" * 65_536) * 17
    await send_and_recover(place.guest, too_much)
    for lost in (process, other):
        with pytest.raises(LinkLost):
            await lost.wait()
    assert await place.text("echo served again") == "served again\n"


async def test_a_reset_drops_the_sessions(place: Place) -> None:
    process, pid = await start_long(place)
    await send_and_recover(place.guest, encode_frame(FrameKind.RESET, 0, 0))
    with pytest.raises(LinkLost):
        await process.wait()
    await wait_gone(place, pid)


def check_any_bytes(runner: asyncio.Runner, place: Place, junk: bytes) -> None:
    async def check() -> None:
        await send_and_recover(place.guest, junk)
        assert await place.text("echo served again") == "served again\n"

    runner.run(asyncio.wait_for(check(), 60))


beginnings = st.one_of(
    st.builds(
        raw,
        st.integers(0, 100_000),
        st.integers(0, 8),
        st.integers(0, 5),
        st.integers(0, 1),
        st.integers(0, 3),
    ),
    st.sampled_from(sorted(MALFORMED.values())).flatmap(
        lambda data: st.integers(0, len(data)).map(lambda length: data[:length])
    ),
)
junk = malformed | beginnings.map(lambda data: data + FOLLOWING).filter(is_refused)


if sys.platform != "win32":

    @settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(junk)
    def test_the_fake_guest_serves_again_after_any_bytes(
        runner: asyncio.Runner, fake_guest: Guest, junk: bytes
    ) -> None:
        check_any_bytes(runner, Place("fake", fake_guest, ""), junk)


@pytest.mark.vm
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(junk)
def test_the_real_guest_serves_again_after_any_bytes(
    runner: asyncio.Runner, vm_guest: Guest, junk: bytes
) -> None:
    check_any_bytes(runner, Place("vm-distribution", vm_guest, VmGuest.IDENTITY), junk)


def deliver(guest: Guest, data: bytes) -> None:
    """As if the agent had sent `data`: what asyncio does when it has read from the port."""
    while data:
        space = guest.link.get_buffer(-1)
        count = min(len(space), len(data))
        space[:count] = data[:count]
        guest.link.buffer_updated(count)
        data = data[count:]


@pytest.mark.parametrize("name", ["unknown kind", "huge length", "json", "missing field", "echo"])
async def test_malformed_data_from_the_agent_starts_the_link_anew(place: Place, name: str) -> None:
    process, pid = await start_long(place)
    before = place.guest.greeted
    deliver(place.guest, MALFORMED[name])
    with pytest.raises(LinkLost, match="malformed"):
        await process.wait()
    await place.guest.wait_greeted(before)
    await wait_gone(place, pid)
    assert await place.text("echo served again") == "served again\n"


@pytest.mark.deadline(120)
async def test_an_agent_that_is_killed_is_started_again(system: Place) -> None:
    guest = system.guest
    process = await system.start("cat")
    boot_id = await system.text("cat /proc/sys/kernel/random/boot_id")
    agent = await system.text("echo $PPID")
    before = guest.greeted
    with pytest.raises(LinkLost):
        await system.run("kill -9 $PPID")
    with pytest.raises(LinkLost):
        await process.wait()
    await guest.wait_greeted(before)
    assert await system.text("echo $PPID") != agent, "it is another one"
    assert await system.text("cat /proc/sys/kernel/random/boot_id") == boot_id


@pytest.mark.deadline(120)
async def test_distributions_outlive_the_agent(distribution: Place) -> None:
    guest = distribution.guest
    survivor = await distribution.start("trap '' HUP; echo $$; exec sleep 1001")
    await survivor.until_output(b"\n")
    pid = int(survivor.output())
    mortal, mortal_pid = await start_long(distribution)
    pid_1 = "cut -d' ' -f22 /proc/1/stat"  # when it was started
    started = await distribution.text(pid_1)
    before = guest.greeted
    with pytest.raises(LinkLost):
        await distribution.system().run("kill -9 $PPID")
    welcome = await guest.wait_greeted(before)
    assert welcome.running == (distribution.distribution,)
    with pytest.raises(LinkLost):
        await mortal.wait()
    assert await distribution.text(pid_1) == started
    assert await distribution.text(f"tr '\\0' ' ' < /proc/{pid}/cmdline") == "sleep 1001 "
    await wait_gone(distribution, mortal_pid)
    await distribution.text(f"kill {pid}")
    assert guest.events == [] or guest.events[-1].NAME != "distribution-stopped"
