"""What serves in this network namespace, as this host's kernel tells it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest.agent import ports
from guest.agent.listenevents import ListenEvents, parse_events
from guest.agent.loop import Loop
from guest.agent.ports import PortWatch
from guest.agent.sockdiag import Departures, Listener, SockDiag, parse_dump
from tests.unit.guest.agent_harness import run_until
from wire.agent import Port, PortsChanged
from wire.codec import Message

LOOPBACK = socket.inet_aton("127.0.0.1")


def listener(address: str = "127.0.0.1", *, v6_only: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_only)
    server.bind((address, 0))
    server.listen(1)
    return server


def number(server: socket.socket) -> int:
    return int(server.getsockname()[1])


# -- sock_diag ---------------------------------------------------------------------------------


@pytest.fixture
def diag() -> Iterator[SockDiag]:
    diag = SockDiag()
    yield diag
    diag.close()


def test_tcp_servers_are_found_while_they_listen(diag: SockDiag) -> None:
    with listener() as server, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        entry = (socket.AF_INET, LOOPBACK, number(server), False)
        with socket.create_connection(server.getsockname()) as client:
            found = diag.listening("tcp")
            assert entry in found
            assert not {number(bound), number(client)} & {port for _, _, port, _ in found}
    assert entry not in diag.listening("tcp")


@pytest.mark.parametrize("v6_only", [False, True])
def test_whether_a_v6_server_takes_v4(diag: SockDiag, v6_only: bool) -> None:
    with listener("::", v6_only=v6_only) as server:
        assert (socket.AF_INET6, bytes(16), number(server), v6_only) in diag.listening("tcp")


def test_udp_servers_have_no_peer(diag: SockDiag) -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as server,
        socket.socket(type=socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
        found = diag.listening("udp")
        assert (socket.AF_INET, LOOPBACK, number(server), False) in found
        assert not [entry for entry in found if entry[2] == number(client)]


def test_many_servers_take_several_answers(diag: SockDiag) -> None:
    servers = [listener() for _ in range(600)]
    try:
        found = {entry[2] for entry in diag.listening("tcp")}
        assert {number(server) for server in servers} <= found
    finally:
        for server in servers:
            server.close()


def test_the_kernels_refusal_is_an_error() -> None:
    answer = struct.pack("=IHHIIi", 20, 2, 0, 7, 0, -errno.ENOENT)
    with pytest.raises(OSError) as caught:
        parse_dump(answer, 7, set())
    assert caught.value.errno == errno.ENOENT
    assert not parse_dump(answer, 8, set())  # the answer to another question


@given(st.binary(max_size=400))
def test_no_answer_confuses_the_parser(answer: bytes) -> None:
    found: set[Listener] = set()
    with contextlib.suppress(OSError):
        parse_dump(answer, 1, found)
    header = struct.pack("=IHHII", 16 + len(answer), 20, 0, 1, 0)
    parse_dump(header + answer, 1, found)


# -- trace events ------------------------------------------------------------------------------

LINE = (
    " nc-123 [000] ..... 4.5: inet_sock_set_state: family={family} protocol=IPPROTO_TCP "
    "sport={port} dport=0 saddr={v4} daddr=0.0.0.0 saddrv6={v6} daddrv6=:: "
    "oldstate={old} newstate={new}\n"
)


def line(family: str, port: int, v4: str, v6: str, new: str = "TCP_LISTEN") -> str:
    old = "TCP_CLOSE" if new == "TCP_LISTEN" else "TCP_LISTEN"
    return LINE.format(family=family, port=port, v4=v4, v6=v6, old=old, new=new)


def test_events_name_the_sockets_that_begin_to_listen() -> None:
    text = (
        line("AF_INET", 80, "127.0.0.1", "::ffff:127.0.0.1")
        + line("AF_INET6", 81, "0.0.0.0", "::1")
        + line("AF_INET", 82, "0.0.0.0", "::ffff:0.0.0.0", new="TCP_CLOSE")
        + "CPU:1 [LOST 12 EVENTS]\n"
        + line("AF_INET", 83, "127.0.0.1", "::")[:90]
    )
    assert parse_events(text) == {
        (socket.AF_INET, LOOPBACK, 80),
        (socket.AF_INET6, socket.inet_pton(socket.AF_INET6, "::1"), 81),
    }


@given(st.text())
def test_no_text_confuses_the_parser(text: str) -> None:
    parse_events(text)
    parse_events(f"x: inet_sock_set_state: newstate=TCP_LISTEN {text}")


# -- the watch ---------------------------------------------------------------------------------


class Told:
    """What a PortWatch has told, as a set of what is served now."""

    def __init__(self) -> None:
        self.served: set[Port] = set()

    def __call__(self, event: Message) -> None:
        assert isinstance(event, PortsChanged)
        assert not set(event.opened) & self.served
        assert set(event.closed) <= self.served
        self.served = (self.served - set(event.closed)) | set(event.opened)

    def has(self, server_port: int) -> bool:
        return any(port.number == server_port for port in self.served)


@pytest.fixture
def tracing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tracing instance in which the test writes the kernel's part."""
    base = tmp_path / "instances" / "isthmus"
    (base / "events/sock/inet_sock_set_state").mkdir(parents=True)
    os.mkfifo(base / "trace_pipe")
    monkeypatch.setattr(ports, "SOURCES", {"tcp": lambda: [ListenEvents(str(tmp_path))]})
    return base


@pytest.fixture
def no_tracing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = str(tmp_path / "nothing")
    monkeypatch.setattr(ports, "SOURCES", {"tcp": lambda: [ListenEvents(nothing)]})


@pytest.mark.usefixtures("no_tracing")
def test_without_events_ports_are_looked_for(loop: Loop) -> None:
    told = Told()
    watch = PortWatch(loop, told)
    with listener() as early:
        watch.start()
        assert told.has(number(early))
        with listener("::1") as late:
            late_port = number(late)
            run_until(loop, lambda: told.has(late_port))
        run_until(loop, lambda: not told.has(late_port))
        assert told.has(number(early))
    watch.stop()


def test_a_watch_that_rests_tells_nothing_and_then_all(loop: Loop, tracing: Path) -> None:
    """What it has announced by the kernel it keeps: the file is not opened a second time."""
    told = Told()
    watch = PortWatch(loop, told)
    watch.start()
    watch.rest()
    (tracing / "events/sock/inet_sock_set_state/enable").write_text("untouched")
    with listener() as early, open(tracing / "trace_pipe", "w") as pipe:
        with listener() as late:
            pipe.write(line("AF_INET", number(late), "127.0.0.1", "::ffff:127.0.0.1"))
            pipe.flush()
            looks: list[int] = []
            loop.call_later(0.05, lambda: looks.append(1))
            run_until(loop, lambda: bool(looks))
            assert not told.has(number(late))
            told.served.clear()
            watch.start()
            assert told.has(number(late)) and told.has(number(early))
        assert (tracing / "events/sock/inet_sock_set_state/enable").read_text() == "untouched"
    watch.stop()


def test_an_event_is_a_reason_to_look(loop: Loop, tracing: Path) -> None:
    told = Told()
    watch = PortWatch(loop, told)
    watch.start()
    event = tracing / "events/sock/inet_sock_set_state"
    assert (event / "filter").read_text() == "newstate==10 || oldstate==10"
    assert [(tracing / "buffer_percent").read_text(), (event / "enable").read_text()] == ["0", "1"]
    with open(tracing / "trace_pipe", "w") as pipe, listener() as server:
        port = number(server)
        pipe.write(line("AF_INET", port, "127.0.0.1", "::ffff:127.0.0.1"))
        pipe.flush()
        run_until(loop, lambda: told.has(port))
        server.close()
        pipe.write(line("AF_INET", port, "127.0.0.1", "::ffff:127.0.0.1", new="TCP_CLOSE"))
        pipe.flush()
        run_until(loop, lambda: not told.has(port))
        watch.stop()


def test_an_event_that_comes_before_its_socket(loop: Loop, tracing: Path) -> None:
    told = Told()
    watch = PortWatch(loop, told)
    watch.start()
    with open(tracing / "trace_pipe", "w") as pipe, socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = number(server)
        pipe.write(line("AF_INET", port, "127.0.0.1", "::ffff:127.0.0.1"))
        pipe.flush()
        looks: list[int] = []
        loop.call_later(0.01, lambda: looks.append(1))
        run_until(loop, lambda: bool(looks))
        assert not told.has(port)
        server.listen(1)
        run_until(loop, lambda: told.has(port))
        watch.stop()


def test_a_datagram_socket_that_ends_is_told(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel, of this namespace only; what begins is not."""
    monkeypatch.setattr(ports, "SOURCES", {"udp": lambda: [Departures("udp")]})
    told = Told()
    watch = PortWatch(loop, told)
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = number(server)
        watch.start()
        assert told.has(port)
    run_until(loop, lambda: not told.has(port))
    watch.stop()


def test_many_ports_are_told_in_several_events(loop: Loop, tracing: Path) -> None:
    events: list[PortsChanged] = []

    def note(event: Message) -> None:
        assert isinstance(event, PortsChanged)
        events.append(event)

    servers = [listener() for _ in range(300)]
    watch = PortWatch(loop, note)
    watch.start()
    watch.stop()
    watch.start()  # once more: all anew
    watch.stop()
    assert len(events) == 4
    assert max(len(event.opened) for event in events) == 256
    for server in servers:
        server.close()
