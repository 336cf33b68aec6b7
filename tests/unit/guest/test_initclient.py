"""The client of distro-init against a fake init: partial reads, descriptors, the end."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest.initclient import (
    Done,
    Event,
    ExitEvent,
    InitClient,
    InitClosedError,
    InitError,
    InitProtocolError,
    InitRequestError,
    Kill,
    Op,
    Open,
    OpenReply,
    Spawn,
    SpawnReply,
    SpawnStage,
    Stop,
)
from guest.initprotocol import (
    HEAD,
    MAX_BODY_BYTES,
    REPLY_BIT,
    ZERO,
)

assert sys.platform != "win32"


class FakeInit:
    """The other end of a client: reads requests, writes what it is told."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        self.client = InitClient(theirs)
        ours.settimeout(20)

    def read_request(self) -> tuple[int, int, bytes, list[int]]:
        """Op, token, body and descriptors of the next request."""
        head, fds, _, _ = socket.recv_fds(self.socket, HEAD.size, 8)
        length, op, zero, token = HEAD.unpack(head)
        assert zero == ZERO
        body = self.socket.recv(length, socket.MSG_WAITALL) if length else b""
        return op, token, body, fds

    def send(self, data: bytes, fds: tuple[int, ...] = ()) -> None:
        if fds:
            assert socket.send_fds(self.socket, [data], fds) == len(data)
        else:
            self.socket.sendall(data)


@pytest.fixture
def fake() -> Iterator[FakeInit]:
    fake = FakeInit()
    yield fake
    fake.client.close()
    fake.socket.close()


def reply(op: int, token: int, error: int, rest: bytes = b"") -> bytes:
    body = struct.pack("<i", error) + rest
    return HEAD.pack(len(body), op | REPLY_BIT, ZERO, token) + body


def exit_event(pid: int, status: int = 0) -> bytes:
    body = struct.pack("<iiQQQ", pid, status, 1, 2, 3)
    return HEAD.pack(len(body), Op.EXIT, ZERO, 0) + body


def open_fds() -> set[str]:
    """Descriptors of this process, without the one that lists them."""
    with os.scandir("/proc/self/fd") as entries:
        return {entry.name for entry in entries if not os.readlink(entry.path).endswith("/fd")}


@pytest.mark.parametrize(
    "request_",
    [
        Spawn((), (), b"sh"),
        Spawn((b"a\0b",), (), b"sh"),
        Spawn((b"a",), (b"A=\0",), b"sh"),
        Spawn((b"a",), (), b"s\0h"),
        Spawn((b"a",), (), b"sh", directories=(b"/\0",)),
        Open(b"/\0etc"),
        Spawn((b"x" * MAX_BODY_BYTES,), (), b"sh"),
    ],
    ids=["no argv", "argv", "environment", "file", "directory", "path", "too long"],
)
def test_requests_that_cannot_be_carried(fake: FakeInit, request_: Spawn | Open) -> None:
    with open(os.devnull, "rb") as null, pytest.raises(InitRequestError) as raised:
        fake.client.request(request_, [null.fileno()] * (3 if isinstance(request_, Spawn) else 0))
    assert raised.value.message
    # Nothing was sent, and the client works on.
    assert fake.client.request(Stop()) == 1
    assert fake.read_request()[:2] == (Op.STOP, 1)


def test_a_wrong_number_of_descriptors_is_a_mistake_of_the_caller(fake: FakeInit) -> None:
    with pytest.raises(ValueError, match="SPAWN takes 3 descriptors, not 0"):
        fake.client.request(Spawn((b"x",), (), b"x"))
    with pytest.raises(ValueError, match="KILL takes 0 descriptors, not 1"):
        fake.client.request(Kill(1, 1), [0])


def test_each_reply(fake: FakeInit) -> None:
    with open(os.devnull, "rb") as null:
        tokens = [
            fake.client.request(Spawn((b"x",), (), b"x"), [null.fileno()] * 3),
            fake.client.request(Spawn((b"x",), (), b"x"), [null.fileno()] * 3),
            fake.client.request(Kill(7, 9)),
            fake.client.request(Open(b"/none")),
            fake.client.request(Stop()),
        ]
    assert tokens == [1, 2, 3, 4, 5]
    seen = [fake.read_request() for _ in tokens]
    assert [(op, token, len(fds)) for op, token, _, fds in seen] == [
        (1, 1, 3), (1, 2, 3), (2, 3, 0), (3, 4, 0), (4, 5, 0),
    ]  # fmt: skip
    for *_, fds in seen:
        for fd in fds:
            os.close(fd)
    # In another order than asked.
    fake.send(reply(Op.STOP, 5, 0))
    fake.send(reply(Op.SPAWN, 2, errno.ENOENT, struct.pack("<IiI", 7, 0, 0)))
    fake.send(reply(Op.SPAWN, 1, 0, struct.pack("<IiI", 0, 33, 2)))
    fake.send(exit_event(33, 256))
    fake.send(reply(Op.OPEN, 4, errno.EACCES))
    fake.send(reply(Op.KILL, 3, errno.ESRCH))
    assert fake.client.on_readable() == [
        Done(5, 0),
        SpawnReply(2, errno.ENOENT, SpawnStage.EXEC, 0, 0),
        SpawnReply(1, 0, SpawnStage.NONE, 33, 2),
        ExitEvent(33, 256, 1, 2, 3),
        OpenReply(4, errno.EACCES, -1),
        Done(3, errno.ESRCH),
    ]
    assert fake.client.on_readable() == []


def test_a_descriptor_comes_with_its_own_reply_and_is_not_inherited(fake: FakeInit) -> None:
    for _ in range(4):
        fake.client.request(Open(b"/x"))
    with open("/etc/passwd", "rb") as passwd, open(os.devnull, "rb") as null:
        fake.send(reply(Op.OPEN, 1, errno.ENOENT))
        fake.send(reply(Op.OPEN, 2, 0), (passwd.fileno(),))
        fake.send(reply(Op.OPEN, 3, 0), (null.fileno(),))
        fake.send(reply(Op.OPEN, 4, errno.EIO))
        wanted = [os.fstat(passwd.fileno()).st_ino, os.fstat(null.fileno()).st_ino]
    replies = [event for event in fake.client.on_readable() if isinstance(event, OpenReply)]
    assert [(r.error, r.fd >= 0) for r in replies] == [
        (errno.ENOENT, False), (0, True), (0, True), (errno.EIO, False),
    ]  # fmt: skip
    fds = [replies[1].fd, replies[2].fd]
    assert [os.fstat(fd).st_ino for fd in fds] == wanted
    assert not any(os.get_inheritable(fd) for fd in fds)
    for fd in fds:
        os.close(fd)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8))
def test_messages_in_pieces(sizes: list[int]) -> None:
    fake = FakeInit()
    with open(os.devnull, "rb") as null:
        fake.client.request(Open(b"/x"))
        data = reply(Op.OPEN, 1, 0) + exit_event(5) + exit_event(6)
        events: list[Event] = []
        at = 0
        while at < len(data):
            size = sizes[at % len(sizes)]
            fake.send(data[at : at + size], (null.fileno(),) if at == 0 else ())
            at += size
            events += fake.client.on_readable()
    assert [type(event) for event in events] == [OpenReply, ExitEvent, ExitEvent]
    assert isinstance(events[0], OpenReply)
    os.close(events[0].fd)
    fake.client.close()
    fake.socket.close()


def test_at_most_64_events_at_once(fake: FakeInit) -> None:
    fake.send(b"".join(exit_event(pid) for pid in range(1, 101)))
    assert len(fake.client.on_readable()) == 64
    assert select.select([fake.client], [], [], 0)[0]
    assert len(fake.client.on_readable()) == 36


VIOLATIONS = {
    "reply to nothing": reply(Op.STOP, 2, 0),
    "reply to another op": reply(Op.KILL, 1, 0),
    "token 0": reply(Op.STOP, 0, 0),
    "a request": HEAD.pack(0, Op.STOP, ZERO, 1),
    "op 0": HEAD.pack(4, 0, ZERO, 1) + bytes(4),
    "op 255": HEAD.pack(4, 255, ZERO, 1) + bytes(4),
    "exit with bit": HEAD.pack(32, Op.EXIT | REPLY_BIT, ZERO, 0) + bytes(32),
    "exit with token": HEAD.pack(32, Op.EXIT, ZERO, 1) + bytes(32),
    "exit short": HEAD.pack(31, Op.EXIT, ZERO, 0) + bytes(31),
    "padding": HEAD.pack(4, Op.STOP | REPLY_BIT, b"\0\0\1", 1) + bytes(4),
    "body too long": HEAD.pack(33, Op.STOP | REPLY_BIT, ZERO, 1),
    "body of 4 GiB": HEAD.pack(2**32 - 1, Op.STOP | REPLY_BIT, ZERO, 1),
    "no errno": HEAD.pack(0, Op.STOP | REPLY_BIT, ZERO, 1),
    "surplus": reply(Op.STOP, 1, 0, b"\0"),
    "spawn reply without its rest": reply(Op.SPAWN, 1, 0),
    "open without descriptor": reply(Op.OPEN, 1, 0),
}


@pytest.mark.parametrize("data", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_violations(fake: FakeInit, data: bytes) -> None:
    assert fake.client.request(Stop()) == 1
    fake.send(data)
    with pytest.raises(InitProtocolError):
        fake.client.on_readable()


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (reply(Op.STOP, 1, 0), 1),
        (reply(Op.OPEN, 2, errno.EIO), 1),
        (reply(Op.OPEN, 2, 0), 2),
        (reply(Op.OPEN, 2, 0), 20),
        (exit_event(5), 1),
        (reply(Op.OPEN, 3, 0), 1),
    ],
    ids=["with STOP", "with an error", "two", "twenty", "with an event", "reply to nothing"],
)
def test_descriptors_that_do_not_belong_are_closed(fake: FakeInit, data: bytes, count: int) -> None:
    fake.client.request(Stop())
    fake.client.request(Open(b"/x"))
    before = open_fds()
    with open(os.devnull, "rb") as null:
        fake.send(data, (null.fileno(),) * count)
    with pytest.raises(InitProtocolError):
        fake.client.on_readable()
    assert open_fds() == before


def test_descriptors_given_before_a_violation_are_closed(fake: FakeInit) -> None:
    fake.client.request(Open(b"/x"))
    before = open_fds()
    with open(os.devnull, "rb") as null:
        fake.send(reply(Op.OPEN, 1, 0), (null.fileno(),))
    fake.send(VIOLATIONS["op 0"])
    with pytest.raises(InitProtocolError):
        fake.client.on_readable()
    assert open_fds() == before


@given(st.binary(max_size=60))
def test_any_bytes_are_events_or_a_violation(data: bytes) -> None:
    fake = FakeInit()
    fake.client.request(Stop())
    fake.send(data)
    fake.socket.shutdown(socket.SHUT_WR)
    with pytest.raises((InitProtocolError, InitClosedError)):
        while True:
            fake.client.on_readable()
    fake.client.close()
    fake.socket.close()


def test_the_end_comes_after_the_last_event(fake: FakeInit) -> None:
    fake.send(exit_event(5) + exit_event(6)[:20])
    fake.socket.close()
    assert fake.client.on_readable() == [ExitEvent(5, 0, 1, 2, 3)]
    for _ in range(2):
        with pytest.raises(InitClosedError) as raised:
            fake.client.on_readable()
    assert isinstance(raised.value, InitError)
    assert isinstance(raised.value, ConnectionError)
    assert raised.value.hint


def test_a_request_to_a_closed_connection(fake: FakeInit) -> None:
    fake.socket.close()
    with pytest.raises(InitClosedError):
        fake.client.request(Stop())


def test_a_request_that_the_socket_does_not_take_at_once(fake: FakeInit) -> None:
    """Its descriptors arrive all the same, though the caller has closed its own."""
    big = Spawn((b"x" * 3_000_000,), (), b"x")
    before = open_fds()
    for _ in range(3):
        read, write = os.pipe()
        fake.client.request(big, (read, write, write))
        os.close(read)
        os.close(write)
    assert fake.client.wants_write
    for token in (1, 2, 3):
        head, fds, _, _ = socket.recv_fds(fake.socket, HEAD.size, 3)
        left = HEAD.unpack(head)[0]
        assert (HEAD.unpack(head)[3], len(fds)) == (token, 3)
        while left:
            left -= len(fake.socket.recv(left))
            fake.client.on_writable()
        os.write(fds[1], b"through")
        assert os.read(fds[0], 10) == b"through"
        for fd in fds:
            os.close(fd)
    assert not fake.client.wants_write
    assert open_fds() == before


def test_what_an_init_that_does_not_read_may_be_sent_is_bounded(fake: FakeInit) -> None:
    big = Open(b"x" * 4_000_000)
    with pytest.raises(InitRequestError, match="does not read"):
        for _ in range(10):
            fake.client.request(big)
    before = open_fds()
    fake.client.close()
    assert len(before - open_fds()) == 1  # the socket; nothing else was held
    fake.client.close()
    assert fake.client.fileno() == -1


def test_close_closes_what_waits(fake: FakeInit) -> None:
    before = open_fds()
    with open(os.devnull, "rb") as null:
        for _ in range(3):
            fake.client.request(Spawn((b"x" * 3_000_000,), (), b"x"), [null.fileno()] * 3)
    assert len(open_fds()) > len(before)
    fake.client.close()
    assert open_fds() < before


def test_connecting_waits_for_room_and_not_for_ever(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with pytest.raises(FileNotFoundError):
        InitClient.connect(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        with pytest.raises(ConnectionRefusedError):
            InitClient.connect(path)
        listener.listen(1)
        client = InitClient.connect(path)
        accepted, _ = listener.accept()
        accepted.close()
        with pytest.raises(InitClosedError):
            client.on_readable()
        client.close()


def test_importing_it_is_cheap() -> None:
    """It is imported by the agent under emulation; each of these costs more than all of it."""
    script = "import guest.initclient, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"dataclasses", "inspect", "asyncio", "logging"} & set(done.stdout.split())
