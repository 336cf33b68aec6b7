"""The helper socket: who asks, what is refused, and that nobody else notices."""

from __future__ import annotations

import errno
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest import helperprotocol
from guest.agent import distributions, helpers
from guest.agent.helpers import Helpers
from guest.agent.loop import Loop
from guest.helperprotocol import (
    HEAD,
    MAX_BODY_BYTES,
    REFUSED,
    ZERO,
    Body,
    HelperProtocolError,
    LaunchMessage,
    Op,
    encode_message,
    strings,
    u32,
)
from tests.unit.guest.agent_harness import open_descriptors, run_until
from tests.unit.guest.helper_world import ECHO, FAIL, KEEP, REFUSE, World

assert sys.platform != "win32"

NATIVE = Path(helperprotocol.__file__).parent / "native"


@pytest.fixture
def world(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(distributions, "RUN_DIRECTORY", str(tmp_path))
    before = open_descriptors()
    world = World(loop)
    yield world
    world.helpers.forget(world.distribution)
    assert open_descriptors() == before


def test_python_and_c_declare_the_same() -> None:
    text = re.sub(r"/\*.*?\*/", "", (NATIVE / "helper_protocol.h").read_text(), flags=re.DOTALL)
    declared = {
        name: eval(value)
        for name, value in re.findall(r"\b((?:HELPER|LAUNCH)_\w+)\s*=\s*([^,}]+)", text)
    }
    assert declared == {
        "HELPER_HEAD_BYTES": HEAD.size,
        "HELPER_MAX_BODY_BYTES": MAX_BODY_BYTES,
        "HELPER_REPLY_BIT": helperprotocol.REPLY_BIT,
        "HELPER_REFUSED": REFUSED,
        **{f"HELPER_OP_{op.name}": op.value for op in Op},
        "LAUNCH_CONSOLE": helperprotocol.LAUNCH_CONSOLE,
        "LAUNCH_GUI": helperprotocol.LAUNCH_GUI,
        "LAUNCH_FDS": helperprotocol.LAUNCH_FDS,
        "LAUNCH_MAX_PROGRAM_BYTES": helperprotocol.LAUNCH_MAX_PROGRAM_BYTES,
        **{f"LAUNCH_{message.name}": message.value for message in LaunchMessage},
    }


def test_the_caller_is_known_by_the_kernel(world: World) -> None:
    body = strings(["a b", b"\xff"])
    assert world.ask(encode_message(ECHO, body)) == encode_message(ECHO | 0x80, b"a b\0\xff\0")
    (call,) = world.calls
    assert (call.pid, call.uid, call.gid) == (os.getpid(), os.getuid(), os.getgid())
    assert call.distribution is world.distribution
    assert os.stat(world.path).st_mode & 0o777 == 0o666


def test_a_request_may_come_in_pieces(world: World) -> None:
    client = world.connect()
    for byte in encode_message(ECHO, strings(["x"])):
        client.send(bytes([byte]))
        world.loop.post(world.loop.stop)
        world.loop.run()
    assert world.receive(client) == encode_message(ECHO | 0x80, b"x\0")


@pytest.mark.parametrize(
    ("op", "number", "message", "hint"),
    [
        (REFUSE, errno.EIO, "not today", "Come tomorrow."),
        (FAIL, errno.EACCES, "Permission denied", ""),
    ],
)
def test_refusals(world: World, op: int, number: int, message: str, hint: str) -> None:
    body = Body(world.ask(encode_message(op))[HEAD.size :])
    assert (body.i32(), body.string(), body.string()) == (number, message, hint)


@pytest.mark.parametrize(
    "data",
    [
        HEAD.pack(MAX_BODY_BYTES + 1, ECHO, ZERO),
        HEAD.pack(0, ECHO, b"\0\0\1"),
        encode_message(99),
        encode_message(ECHO, u32(1)),
        encode_message(ECHO, u32(2**32 - 1)),
        encode_message(ECHO, u32(1) + b"no end"),
        encode_message(ECHO, u32(1) + b"x\0rest"),
        encode_message(ECHO, b"\0"),
    ],
)
def test_what_is_malformed_closes_the_connection(
    world: World, data: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    bystander = world.connect()
    bystander.send(encode_message(KEEP))
    run_until(world.loop, lambda: bool(world.calls))
    assert world.ask(data) == b""
    assert f"test: pid {os.getpid()}: bad request" in capfd.readouterr().err
    bystander.send(encode_message(1, b"still here"))
    run_until(world.loop, lambda: world.later == [(1, b"still here")])
    bystander.close()


def test_a_second_request_is_malformed_unless_it_is_waited_for(world: World) -> None:
    client = world.connect()
    client.send(encode_message(KEEP))
    run_until(world.loop, lambda: bool(world.calls))
    world.calls[0].on_message = None
    client.send(encode_message(KEEP))
    assert world.receive(client) == encode_message(KEEP | 0x80)
    assert world.closed == world.calls


def test_descriptors_are_closed_with_the_connection(world: World) -> None:
    client = world.connect()
    reader, writer = os.pipe()
    socket.send_fds(client, [encode_message(ECHO, strings([]))], [writer])
    os.close(writer)
    assert world.receive(client) == b""
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_program_that_ends_is_noticed(world: World) -> None:
    client = world.connect()
    client.send(encode_message(KEEP))
    run_until(world.loop, lambda: bool(world.calls))
    client.close()
    run_until(world.loop, lambda: world.closed == world.calls)
    world.calls[0].send(1)  # harmless


def test_a_program_that_does_not_read_is_cut_off(world: World) -> None:
    client = world.connect()
    client.send(encode_message(KEEP))
    run_until(world.loop, lambda: bool(world.calls))
    (call,) = world.calls
    for _ in range(100):
        call.send(1, bytes(100_000))
    assert not call.is_open
    assert world.closed == [call]
    client.close()


def test_whoever_asks_nothing_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "REQUEST_TIMEOUT_S", 0.05)
    kept = world.connect()
    kept.send(encode_message(KEEP))
    client = world.connect()
    client.send(encode_message(ECHO, strings(["x"]))[:-1])
    assert world.receive(client) == b""
    assert world.calls[0].is_open
    kept.close()


def test_too_many_connections_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "MAX_CONNECTIONS", 2)
    clients = [world.connect() for _ in range(3)]
    refused = Body(world.receive(clients.pop())[HEAD.size :])
    assert refused.i32() == errno.EAGAIN
    clients.pop().close()
    assert world.ask(encode_message(REFUSE))[4] == REFUSED
    clients.pop().close()


def test_an_earlier_socket_is_replaced(world: World) -> None:
    again = Helpers(world.loop, {})
    world.helpers.forget(world.distribution)
    again.listen(world.distribution)
    assert world.ask(encode_message(ECHO)) == b""  # it serves nothing, but it listens
    again.forget(world.distribution)


@given(st.lists(st.binary().filter(lambda data: b"\0" not in data)))
def test_strings_come_back(texts: list[bytes]) -> None:
    body = Body(strings(texts) + u32(7))
    assert [text.encode("utf-8", "surrogateescape") for text in body.strings()] == texts
    assert body.u32() == 7
    body.finish()


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        body = Body(data)
        body.strings()
        body.finish()
    except HelperProtocolError:
        pass
