"""Streams: separate, binary clean, closed one way at a time, and none at another's expense."""

from __future__ import annotations

import asyncio
import hashlib
import os

import pytest

from tests.contract.sessions import LinuxSignal, Place, Process
from wire.flow import WINDOW_BYTES
from wire.frame import StreamId

MANY_BYTES = 3 * WINDOW_BYTES + 12_345


async def agent_rss_kib(place: Place) -> int:
    """Resident memory of the agent, the parent of what runs in the utility VM."""
    text = await place.system().text("grep VmRSS /proc/$PPID/status")
    return int(text.split()[1])


async def test_output_and_errors_are_separate(place: Place) -> None:
    process = await place.run("echo out; echo err >&2; echo out2")
    assert process.output() == b"out\nout2\n"
    assert process.errors() == b"err\n"


async def test_any_bytes_pass_both_ways(place: Place) -> None:
    data = os.urandom(MANY_BYTES)
    process = await place.start("cat")
    await process.write(data)
    process.end_input()
    await process.wait()
    assert process.output() == data


async def test_any_bytes_pass_on_every_stream(place: Place) -> None:
    data = os.urandom(MANY_BYTES)
    process = await place.start("tee /dev/stderr")
    await process.write(data)
    process.end_input()
    await process.wait()
    assert process.output() == data
    assert process.errors() == data


async def test_the_end_of_input_leaves_output_open(place: Place) -> None:
    process = await place.start("cat; echo end; echo more")
    await process.write(b"in\n")
    process.end_input()
    await process.wait()
    assert process.output() == b"in\nend\nmore\n"


async def test_the_end_of_output_leaves_input_open(place: Place) -> None:
    process = await place.start("exec >&-; read line; echo got $line >&2")
    await process.until(lambda: StreamId.STDOUT in process.ended)
    assert process.exited is None
    await process.write(b"later\n")
    await process.wait()
    assert process.errors() == b"got later\n"


async def test_the_end_comes_after_all_output(place: Place) -> None:
    """Process checks that nothing follows; this has much to send when the process ends."""
    process = await place.run(f"head -c {WINDOW_BYTES // 2} /dev/zero; exit 5")
    assert process.exited is not None
    assert process.exited.status == 5
    assert len(process.output()) == WINDOW_BYTES // 2
    assert process.ended >= {StreamId.STDOUT, StreamId.STDERR}


async def test_a_reader_that_stops_is_a_closed_pipe(place: Place) -> None:
    process = await place.start(None, "yes")
    await process.until_output(b"y\n")
    process.stop_output()
    exited = await process.wait()
    assert (exited.status, exited.signal) == (0, LinuxSignal.PIPE)


async def test_stopping_one_stream_leaves_the_others(place: Place) -> None:
    process = await place.start("trap '' PIPE; read x; echo lost; echo kept >&2; exit 3")
    process.stop_output()
    await process.until(lambda: StreamId.STDOUT in process.ended)
    await process.write(b"go\n")
    exited = await process.wait()
    assert exited.status == 3
    assert process.output() == b""
    assert b"kept\n" in process.errors()


async def test_a_process_that_closes_its_input_stops_the_sender(place: Place) -> None:
    process = await place.start("exec <&-; echo closed; while :; do sleep 0.01; done")
    await process.until(lambda: StreamId.STDIN in process.stopped)
    assert process.exited is None
    process.signal(LinuxSignal.TERM)
    await process.wait()


async def test_a_process_that_takes_a_part_stops_the_sender(place: Place) -> None:
    process = await place.start("head -c 5; exec <&-; sleep 0.05")
    await process.write(b"x" * MANY_BYTES)  # returns: the rest is not wanted
    exited = await process.wait()
    assert exited.status == 0
    assert process.output() == b"xxxxx"


async def stream_through(place: Place) -> None:
    """Send and receive some windows through another session."""
    data = os.urandom(MANY_BYTES)
    process = await place.start("cat")
    await process.write(data)
    process.end_input()
    await process.wait()
    assert hashlib.sha256(process.output()).digest() == hashlib.sha256(data).digest()


async def test_a_slow_reader_stalls_its_own_stream_only(place: Place) -> None:
    slow = await place.start(None, "yes", reads=False)
    await slow.until(lambda: len(slow.output()) == WINDOW_BYTES)
    both = await place.start("yes >&2 & read x; echo $x; kill $!", reads=False)
    await both.until(lambda: len(both.errors()) == WINDOW_BYTES)
    await stream_through(place)
    await both.write(b"its other streams go on\n")
    await both.until_output(b"its other streams go on\n")
    assert len(slow.output()) == WINDOW_BYTES, "not a byte more than it has credit for"
    both.read_from_now_on()
    await both.wait()
    slow.read_from_now_on()
    await slow.until(lambda: len(slow.output()) > 3 * WINDOW_BYTES)
    slow.stop_output()
    assert (await slow.wait()).signal == LinuxSignal.PIPE


async def test_a_slow_process_stalls_its_own_sender_only(place: Place) -> None:
    slow = await place.start("read x <&2; cat >/dev/null", terminal=None)
    slow.signal(LinuxSignal.STOP)
    sending = asyncio.ensure_future(slow.write(b"x" * (2 * WINDOW_BYTES)))
    await stream_through(place)
    assert not sending.done()
    slow.signal(LinuxSignal.CONT)
    slow.signal(LinuxSignal.KILL)
    await slow.wait()
    sending.cancel()


async def test_memory_is_bounded_by_the_windows(place: Place) -> None:
    """Ten stalled outputs and ten stalled inputs: 10 MiB wait in the agent, at the very most."""
    await stream_through(place)
    before = await agent_rss_kib(place)
    processes: list[Process] = []
    sendings = []
    for _ in range(10):
        output = await place.start("yes", reads=False)
        reader = await place.start("kill -STOP $$; exit")
        sendings.append(asyncio.ensure_future(reader.write(b"x" * (2 * WINDOW_BYTES))))
        processes += [output, reader]
    for output in processes[::2]:
        await output.until(lambda output=output: len(output.output()) == WINDOW_BYTES)  # type: ignore[misc]
    await stream_through(place)
    assert await agent_rss_kib(place) - before < 16 * 1024
    assert not any(sending.done() for sending in sendings)
    for sending in sendings:
        sending.cancel()
    for process in processes:
        process.signal(LinuxSignal.KILL)
        process.read_from_now_on()
        await process.wait()


@pytest.mark.parametrize("size", [1, 7, 4096])
async def test_small_pieces_arrive_whole(place: Place, size: int) -> None:
    data = os.urandom(200 * size)
    process = await place.start("cat")
    for start in range(0, len(data), size):
        await process.write(data[start : start + size])
    process.end_input()
    await process.wait()
    assert process.output() == data
