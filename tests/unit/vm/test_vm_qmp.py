"""The QMP wrapper against a fake QEMU that speaks the protocol over a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

import pytest

from tests.unit.vm.vm_samples import KILLED, FakeMonitor, connected, event, ok, refusal
from vm.errors import MachineDied, QmpOutcomeUnknown, QmpRefused
from vm.qmp import Qmp, event_data


def silent(command: str, arguments: Mapping[str, object]) -> None:
    """QEMU understood and says nothing."""


def test_a_result_comes_back() -> None:
    async def scenario() -> None:
        async with connected(lambda *_: [ok({"status": "paused"})]) as (qmp, monitor):
            assert await qmp.query_status() == "paused"
            assert monitor.commands == ["qmp_capabilities", "query-status"]

    asyncio.run(scenario())


def test_a_refusal_is_told_from_silence() -> None:
    async def scenario() -> None:
        async with connected(lambda *_: [refusal("Duplicate nodes")]) as (qmp, _):
            with pytest.raises(QmpRefused) as refused:
                await qmp.blockdev_add({"driver": "null-co"})
            assert refused.value.command == "blockdev-add"
            assert refused.value.description == "Duplicate nodes"
            assert refused.value.error_class == "GenericError"
        async with connected(silent) as (qmp, _):
            with pytest.raises(QmpOutcomeUnknown, match=r"0\.05 s"):
                await qmp.execute("query-block", deadline_s=0.05)

    asyncio.run(scenario())


def test_commands_go_on_after_one_that_was_not_answered() -> None:
    def answer(command: str, _: Mapping[str, object]) -> list[dict[str, object]] | None:
        return None if command == "stop" else [ok({"status": "running"})]

    async def scenario() -> None:
        async with connected(answer) as (qmp, _):
            with pytest.raises(QmpOutcomeUnknown):
                await qmp.stop(deadline_s=0.05)
            assert await qmp.query_status() == "running"

    asyncio.run(scenario())


def test_a_lost_connection_is_explained_by_whoever_knows() -> None:
    async def scenario(explained: bool) -> Exception:
        async def explain() -> MachineDied | None:
            return MachineDied(KILLED) if explained else None

        ours, theirs = socket.socketpair()
        monitor = FakeMonitor(theirs, silent)
        serving = asyncio.create_task(monitor.serve())
        qmp = await Qmp.connect(ours, explain=explain)
        try:
            command = asyncio.create_task(qmp.execute("query-block"))
            await monitor.wait_for("query-block")
            monitor.hang_up()
            with pytest.raises((MachineDied, QmpOutcomeUnknown)) as caught:
                await command
            assert qmp.lost.is_set()
            with pytest.raises(type(caught.value)):  # and so is every later one
                await qmp.execute("query-block")
            return caught.value
        finally:
            await qmp.close()
            serving.cancel()
            await asyncio.wait({serving})

    assert isinstance(asyncio.run(scenario(True)), MachineDied)
    assert isinstance(asyncio.run(scenario(False)), QmpOutcomeUnknown)


def test_nobody_at_the_other_end() -> None:
    async def scenario(hang_up: bool) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            if hang_up:
                theirs.close()
            with pytest.raises(QmpOutcomeUnknown):
                await Qmp.connect(ours, deadline_s=0.05 if not hang_up else 10)
            assert ours.fileno() == -1

    asyncio.run(scenario(True))
    asyncio.run(scenario(False))


@pytest.mark.parametrize(
    "greeting", [b"\n", b"[]\r\n", b"{}\r\n", b"\xff\xfe\r\n", b'{"QMP": 1}\r\n']
)
def test_whoever_is_not_qemu_is_hung_up_on(greeting: bytes) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(greeting)
            with pytest.raises(QmpOutcomeUnknown):
                await Qmp.connect(ours)
            assert ours.fileno() == -1

    asyncio.run(scenario())


def test_a_qemu_that_ends_right_after_its_greeting_is_no_crash() -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # Everything a connection takes, and then the end, before the client has read any.
            theirs.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\r\n{"return": {}}\r\n')
            theirs.shutdown(socket.SHUT_WR)
            with pytest.raises(QmpOutcomeUnknown):
                qmp = await Qmp.connect(ours)
                try:
                    await qmp.query_status()
                finally:
                    await qmp.close()

    asyncio.run(scenario())


def test_events_are_seen_from_the_moment_they_are_asked_for() -> None:
    async def scenario() -> list[str]:
        async with connected(
            lambda *_: [event("STOP"), event("RESUME"), event("JOB", id=1), ok()]
        ) as (qmp, monitor):
            with qmp.events("STOP", "JOB") as events:
                await qmp.execute("anything")
                monitor.hang_up()
                seen = []
                async for each in events:
                    seen.append(str(each["event"]))
                    assert event_data(each) == ({"id": 1} if each["event"] == "JOB" else {})
                return seen

    assert asyncio.run(scenario()) == ["STOP", "JOB"]


def test_unplugging_waits_for_the_device_in_question() -> None:
    async def scenario() -> None:
        async with connected(
            lambda *_: [
                event("DEVICE_DELETED", path="/machine/x"),
                event("DEVICE_DELETED", device="lun7", path="/machine/y"),
                ok(),
            ]
        ) as (qmp, monitor):
            removal = asyncio.create_task(qmp.device_del("lun1"))
            await monitor.wait_for("device_del")
            await qmp.execute("query-block")  # answered after the events above
            assert not removal.done()
            monitor.send(event("DEVICE_DELETED", device="lun1", path="/machine/z"))
            await removal

    asyncio.run(scenario())


def test_a_removal_that_is_never_reported_is_of_unknown_outcome() -> None:
    async def scenario() -> None:
        async with connected(lambda *_: [ok()]) as (qmp, _):
            with pytest.raises(QmpOutcomeUnknown, match="lun1"):
                await qmp.device_del("lun1", deadline_s=0.05)

    asyncio.run(scenario())


def test_a_pause_that_was_asked_for_is_remembered() -> None:
    async def scenario() -> None:
        async with connected(lambda *_: [ok()]) as (qmp, _):
            assert not qmp.pause_requested
            await qmp.stop()
            assert qmp.pause_requested
            await qmp.cont()
            assert not qmp.pause_requested

    asyncio.run(scenario())


def test_closing_twice_is_harmless() -> None:
    async def scenario() -> None:
        async with connected(silent) as (qmp, _):
            await qmp.close()
            await qmp.close()

    asyncio.run(scenario())
