"""Requests that break the protocol: their connection ends, and nothing else does."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guest.initclient import InitClosedError, Kill, Op, Spawn
from guest.initprotocol import HEAD, MAX_BODY_BYTES, ZERO, encode_request
from tests.unit.native.harness import DEADLINE_S, PATH, Client, Init, Launcher, shell

assert sys.platform != "win32"

TOKEN = 77


@pytest.fixture(scope="module")
def victim(launcher: Launcher) -> Init:
    """An init for these tests alone: some of what they send is well-formed by chance."""
    return launcher.start()


@pytest.fixture(scope="module")
def bystander(victim: Init) -> Iterator[Client]:
    """A connection that nothing here may disturb."""
    yield victim.connect()


def message(op: int, body: bytes, token: int = TOKEN, zero: bytes = ZERO) -> bytes:
    return HEAD.pack(len(body), op, zero, token) + body


def connect(init: Init) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    # First to connect: with a time-out it would not wait for room in the backlog.
    connection.connect(init.path)
    connection.settimeout(DEADLINE_S)
    return connection


def send(connection: socket.socket, data: bytes, fd_count: int = 0) -> None:
    """Send all of `data`, with descriptors of /dev/null on its first byte."""
    with open(os.devnull, "r+b") as null:
        try:
            sent = (
                socket.send_fds(connection, [data], [null.fileno()] * fd_count) if fd_count else 0
            )
            connection.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before it was all there


def answers(connection: socket.socket) -> bytes:
    """Everything until the init closes the connection."""
    parts: list[bytes] = []
    while True:
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            part = b""
        if not part:
            return b"".join(parts)
        parts.append(part)


def string(text: bytes) -> bytes:
    return text + b"\0"


def u32(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def spawn_body(
    flags: bytes = u32(0),
    ids: bytes = u32(0, 0),
    groups: bytes = u32(0),
    umask: bytes = u32(0o22),
    directories: bytes = u32(0),
    argv: bytes = u32(1) + b"x\0",
    environment: bytes = u32(0),
    file: bytes = b"/none\0",
) -> bytes:
    return flags + ids + groups + umask + directories + argv + environment + file


SPAWN, KILL, OPEN, STOP = Op.SPAWN, Op.KILL, Op.OPEN, Op.STOP
KILL_BODY = u32(1, 0, 0)
OPEN_BODY = u32(0, 0) + b"/\0"

MALFORMED = {
    "op 0": (message(0, b""), 0, "unknown op"),
    "op 5": (message(5, b""), 0, "unknown op"),
    "an event": (message(Op.EXIT, b""), 0, "unknown op"),
    "a reply": (message(SPAWN | 0x80, b""), 0, "unknown op"),
    "op 255": (message(255, b""), 0, "unknown op"),
    "padding 1": (message(KILL, KILL_BODY, zero=b"\1\0\0"), 0, "head not zero where it must be"),
    "padding 3": (message(KILL, KILL_BODY, zero=b"\0\0\1"), 0, "head not zero where it must be"),
    "body too long": (HEAD.pack(MAX_BODY_BYTES + 1, KILL, ZERO, 1), 0, "body too long"),
    "body far too long": (HEAD.pack(0xFFFFFFFF, SPAWN, ZERO, 1), 0, "body too long"),
    "kill short": (message(KILL, KILL_BODY[:-1]), 0, "bad KILL body"),
    "kill long": (message(KILL, KILL_BODY + b"\0"), 0, "bad KILL body"),
    "kill empty": (message(KILL, b""), 0, "bad KILL body"),
    "kill target": (message(KILL, u32(1, 0, 3)), 0, "bad KILL body"),
    "kill with descriptor": (message(KILL, KILL_BODY), 1, "wrong number of descriptors"),
    "open without NUL": (message(OPEN, OPEN_BODY[:-1]), 0, "bad OPEN body"),
    "open without path": (message(OPEN, u32(0, 0)), 0, "bad OPEN body"),
    "open with two paths": (message(OPEN, OPEN_BODY + b"x\0"), 0, "bad OPEN body"),
    "open with descriptors": (message(OPEN, OPEN_BODY), 3, "wrong number of descriptors"),
    "stop with body": (message(STOP, b"\0"), 0, "bad STOP body"),
    "stop with descriptor": (message(STOP, b""), 1, "wrong number of descriptors"),
    "no descriptors": (message(SPAWN, spawn_body()), 0, "wrong number of descriptors"),
    "two descriptors": (message(SPAWN, spawn_body()), 2, "wrong number of descriptors"),
    "four descriptors": (message(SPAWN, spawn_body()), 4, "descriptors out of place"),
    "eight descriptors": (message(SPAWN, spawn_body()), 8, "descriptors out of place"),
    "200 descriptors": (message(SPAWN, spawn_body()), 200, "too many descriptors"),
}

MALFORMED_SPAWN = {
    "empty": b"",
    "unknown flag": spawn_body(flags=u32(2)),
    "all flags": spawn_body(flags=u32(0xFFFFFFFF)),
    "umask": spawn_body(umask=u32(0o1000)),
    "groups beyond body": spawn_body(groups=u32(1000)),
    "groups beyond bound": spawn_body(groups=u32(65537) + bytes(4 * 65537)),
    "all groups": spawn_body(groups=u32(0xFFFFFFFF)),
    "group cut": spawn_body()[:17],
    "directories beyond bound": spawn_body(directories=u32(17) + b"/\0" * 17),
    "directories beyond body": spawn_body(directories=u32(16)),
    "argc 0": spawn_body(argv=u32(0)),
    "argc beyond body": spawn_body(argv=u32(2) + b"x\0"),
    "argc beyond bound": spawn_body(argv=u32(262145) + b"\0" * 262145),
    "argc of 2**32 - 1": spawn_body(argv=u32(0xFFFFFFFF) + b"x\0"),
    "envc of 2**31": spawn_body(environment=u32(0x80000000)),
    "no file": spawn_body(file=b""),
    "file without NUL": spawn_body(file=b"/none"),
    "trailing byte": spawn_body() + b"\0",
    "trailing string": spawn_body() + b"x\0",
    "4 MiB of zeros": bytes(MAX_BODY_BYTES),
}
MALFORMED |= {
    f"spawn: {name}": (message(SPAWN, body), 3, "bad SPAWN body")
    for name, body in MALFORMED_SPAWN.items()
}


@pytest.mark.parametrize(("data", "fd_count", "why"), MALFORMED.values(), ids=MALFORMED.keys())
def test_it_is_refused_and_logged(
    victim: Init, bystander: Client, data: bytes, fd_count: int, why: str
) -> None:
    before = len(victim.log())
    with connect(victim) as connection:
        send(connection, data, fd_count)
        assert answers(connection) == b""
    log = victim.log()[before:].splitlines()
    assert [line.partition("closed: ")[2] for line in log] == [why]
    assert bystander.call(Kill(1, 0)) == errno.ESRCH


def test_good_requests_before_a_bad_one_are_answered(victim: Init) -> None:
    with connect(victim) as connection:
        send(connection, message(KILL, KILL_BODY) * 3 + message(99, b""))
        reply = message(KILL | 0x80, struct.pack("<i", errno.ESRCH))
        assert answers(connection) == reply * 3


def test_descriptors_after_the_head(victim: Init) -> None:
    data = message(SPAWN, spawn_body())
    for split in (HEAD.size, HEAD.size + 1, len(data) - 1):
        before = len(victim.log())
        with connect(victim) as connection:
            send(connection, data[:split])
            send(connection, data[split:], 3)
            assert answers(connection) == b""
        assert "descriptors out of place" in victim.log()[before:]


def test_a_request_in_single_bytes(victim: Init) -> None:
    data = message(SPAWN, spawn_body())
    with connect(victim) as connection:
        send(connection, data[:1], 3)
        for at in range(1, len(data)):
            connection.sendall(data[at : at + 1])
        expected = message(SPAWN | 0x80, struct.pack("<iIiI", errno.ENOENT, 7, 0, 0))
        assert connection.recv(len(expected), socket.MSG_WAITALL) == expected


def test_many_requests_in_one_write(victim: Init) -> None:
    with connect(victim) as connection:
        data = b"".join(message(KILL, KILL_BODY, token) for token in range(1, 200))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        reply = struct.pack("<i", errno.ESRCH)
        assert answers(connection) == b"".join(
            message(KILL | 0x80, reply, token) for token in range(1, 200)
        )


def test_a_connection_that_ends_in_a_request(victim: Init, bystander: Client) -> None:
    data = message(SPAWN, spawn_body())
    for length in range(1, len(data)):
        with connect(victim) as connection:
            send(connection, data[:length], 3)
    assert bystander.call(Kill(1, 0)) == errno.ESRCH


def test_a_request_that_does_not_end_in_time(launcher: Launcher) -> None:
    init = launcher.start(extra=["--request-timeout-ms", "50"])
    bystander = init.connect()
    assert bystander.call(Kill(1, 0)) == errno.ESRCH
    with connect(init) as connection:
        send(connection, message(KILL, KILL_BODY)[:-1])
        assert answers(connection) == b""
    assert "request not complete in time" in init.log()
    # One that is only idle stays.
    assert bystander.call(Kill(1, 0)) == errno.ESRCH


def test_the_longest_request(client: Client) -> None:
    """A body of exactly 4 MiB is within the protocol, though not within execve's limits."""
    spawn = Spawn((b"x",), (PATH,), b"true")
    rest = MAX_BODY_BYTES - (len(encode_request(spawn, 1)) - HEAD.size) - 1
    reply = client.run(spawn._replace(environment=(PATH, b"e" * rest))).reply
    assert reply.error == errno.E2BIG


def test_the_client_sees_a_refusal_as_an_end(victim: Init) -> None:
    client = victim.connect()
    with open(os.devnull, "r+b") as null, pytest.raises(InitClosedError):
        client.spawn(shell("true")._replace(umask=0o7777), [null.fileno()] * 3)


strings = st.lists(st.binary(max_size=8).map(lambda b: b.replace(b"\0", b"") + b"\0"), max_size=4)
numbers = st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1)).map(u32)
counted = st.tuples(numbers, strings).map(lambda pair: pair[0] + b"".join(pair[1]))
true_count = strings.map(lambda items: u32(len(items)) + b"".join(items))
spawn_bodies = st.builds(
    spawn_body,
    flags=st.sampled_from([u32(0), u32(1)]),
    ids=st.tuples(numbers, numbers).map(b"".join),
    groups=st.lists(numbers, max_size=3).map(lambda items: u32(len(items)) + b"".join(items)),
    umask=st.sampled_from([u32(0o22), u32(0o777)]) | numbers,
    directories=true_count | counted,
    argv=true_count | counted,
    environment=true_count | counted,
    file=st.sampled_from([b"sh\0", b"/bin/true\0", b"/bin/none\0"]) | st.binary(max_size=20),
)
open_bodies = st.tuples(numbers, numbers, strings).map(lambda t: t[0] + t[1] + b"".join(t[2]))
bodies = spawn_bodies | open_bodies | st.binary(max_size=64)
messages = st.builds(
    message,
    st.sampled_from([SPAWN, SPAWN, KILL, OPEN, STOP]) | st.integers(0, 255),
    bodies,
    st.integers(0, 2**32 - 1),
    st.sampled_from([ZERO, ZERO, ZERO, b"\0\1\0"]),
)


@settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    parts=st.lists(st.tuples(messages, st.sampled_from([0, 0, 1, 3, 3, 4])), max_size=4),
    cut=st.integers(0, 40),
)
def test_nothing_that_is_sent_harms_pid_1(
    victim: Init, bystander: Client, parts: list[tuple[bytes, int]], cut: int
) -> None:
    with connect(victim) as connection:
        for index, (data, fd_count) in enumerate(parts):
            last = index == len(parts) - 1
            whole = data[: len(data) - cut] if last and len(data) > cut else data
            send(connection, whole, fd_count)
        connection.shutdown(socket.SHUT_WR)
        answers(connection)
    assert bystander.call(Kill(1, 0)) == errno.ESRCH
    assert victim.is_alive()


def test_afterwards_it_serves_as_before(victim: Init, bystander: Client) -> None:
    assert bystander.sh("echo fine").stdout == b"fine\n"
    assert len(os.listdir(f"/proc/{victim.pid}/fd")) < 20
    assert victim.connect().open("/etc").error == 0
