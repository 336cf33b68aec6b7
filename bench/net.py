"""Localhost: Isthmus's forwards against one that a user of QEMU makes by hand.

    python -m bench.net

Both lead to the same servers in the same machine, in one run: a wrapper around QEMU adds
`hostfwd=` to its user network, which is why it cannot be run on Windows.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil

from bench.harness import BIN, Isthmus, Row, print_table
from netbridge.relay import has_ipv6

_LISTENS = 41
_CONNECTIONS = 100
_MEBIBYTES = 32
_ROUNDS = 5
_IDLE_S = 20
_PAUSE_S = 0.0005
"""Between two attempts of a client: what spins would take the processor from the machine."""

_WRAPPER = """\
#!{python} -I
import os, sys
real, argv = {real!r}, sys.argv[1:]
argv = [word + {forward!r} if word.startswith("user,id=net0") else word for word in argv]
os.execv(real, [real, *argv])
"""

_SERVER = """
import select, socket, sys
mib = bytes(1 << 20)
def serve(connection):
    with connection:
        command = connection.recv(1)
        if command == b"s":
            for _ in range(int(sys.argv[1])): connection.sendall(mib)
        elif command == b"r":
            space = bytearray(1 << 20)
            while connection.recv_into(space): pass
            connection.sendall(b"!")
        else:
            connection.sendall(b"!")
places = zip(sys.argv[2::2], map(int, sys.argv[3::2]))
servers = [socket.create_server(place, backlog=100) for place in places]
print("ready", flush=True)
while True:
    for server in select.select(servers, [], [])[0]:
        serve(server.accept()[0])
"""
"""Of one connection after another: s sends so many MiB, r takes all that comes, c just answers. One
program at all addresses: on which of the machine's processors it runs weighs more than the way."""

_LISTENER = """
import socket, sys
connection = socket.create_connection(("10.0.2.2", int(sys.argv[1])))
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while word := connection.recv(16):
    if word == b"?":
        connection.sendall(b"!")
        continue
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", int(word)))
        server.listen()
        server.accept()[0].sendall(b"!")
"""
"""Listens at each port that the host names, for one client; answers ? at once."""

_AGENT_TIME = """
import glob, sys, time
def seconds():
    for name in glob.glob("/proc/[0-9]*/cmdline"):
        if b"start.pyc" in open(name, "rb").read():
            fields = open(name.replace("cmdline", "stat")).read().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / 100
before = seconds()
time.sleep(float(sys.argv[1]))
print(seconds() - before)
"""
"""The agent's user and system time in seconds (proc(5)), of some time in which nothing happens."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _machine(peer: int, port: int) -> Iterator[Isthmus]:
    """A machine whose QEMU forwards the host's port `peer` to `port` of Linux by itself."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as name:
        home = Path(name)
        programs = home / "bin"
        programs.mkdir()
        real, image_tool = shutil.which("qemu-system-x86_64"), shutil.which("qemu-img")
        assert real is not None and image_tool is not None, "QEMU is needed"
        wrapper = programs / "qemu-system-x86_64"
        forward = f",hostfwd=tcp:127.0.0.1:{peer}-:{port}"
        wrapper.write_text(_WRAPPER.format(python=sys.executable, real=real, forward=forward))
        wrapper.chmod(0o755)
        (programs / "qemu-img").symlink_to(image_tool)
        (home / "state").mkdir()
        subject = Isthmus(str(home / "state"))
        subject.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
        # A second machine, which is to be saved, could not have the same port of the host's; and
        # what the agent does when memory is to be given back is no part of watching.
        with Path(subject.environment["ISTHMUS_WSLCONFIG"]).open("a") as file:
            file.write("[general]\ninstantStart=false\n[experimental]\n")
            file.write("autoMemoryReclaim=Disabled\n")
        try:
            yield subject
        finally:
            subject.end()


@contextlib.contextmanager
def _running(subject: Isthmus, program: str, *arguments: str) -> Iterator[IO[bytes]]:
    """A Python program in the machine, and its output."""
    process = subprocess.Popen(
        [BIN / "lx", "--system", "-e", "python3", "-c", program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=subject.environment,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    """Connect as soon as there is somebody."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection((host, port), 60)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"nobody is at port {port}"
            time.sleep(_PAUSE_S)


def _listen_to_connect_s(subject: Isthmus) -> tuple[float, float]:
    """Medians: from the host's word to listen() until it is served; from a word to its answer."""
    served, answered = [], []
    with socket.create_server(("127.0.0.1", 0)) as switchboard, contextlib.ExitStack() as keep:
        number = switchboard.getsockname()[1]
        keep.enter_context(_running(subject, _LISTENER, str(number)))
        line = keep.enter_context(switchboard.accept()[0])
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(_LISTENS):
            port = _free_port()
            started = time.perf_counter()
            line.sendall(b"%d" % port)
            with _connect(port) as connection:
                assert connection.recv(1) == b"!"
            served.append(time.perf_counter() - started)
            started = time.perf_counter()
            line.sendall(b"?")
            assert line.recv(1) == b"!"
            answered.append(time.perf_counter() - started)
    return statistics.median(served), statistics.median(answered)


def _receive_s(port: int, host: str = "127.0.0.1") -> float:
    with _connect(port, host) as connection:
        started = time.perf_counter()
        connection.sendall(b"s")
        space, count = bytearray(1 << 20), 0
        while got := connection.recv_into(space):
            count += got
        assert count == _MEBIBYTES << 20
        return time.perf_counter() - started


def _send_s(port: int, host: str = "127.0.0.1") -> float:
    mib = bytes(1 << 20)
    with _connect(port, host) as connection:
        started = time.perf_counter()
        connection.sendall(b"r")
        for _ in range(_MEBIBYTES):
            connection.sendall(mib)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b"!"
        return time.perf_counter() - started


def _connections_s(port: int, host: str = "127.0.0.1") -> float:
    started = time.perf_counter()
    for _ in range(_CONNECTIONS):
        with _connect(port, host) as connection:
            connection.sendall(b"c")
            assert connection.recv(1) == b"!"
    return time.perf_counter() - started


def _ways(peer: int, everywhere: int, loopback: int) -> dict[str, tuple[int, str]]:
    """Names, ports and addresses of the ways into the machine; the hand-made one comes first."""
    ways = {
        "by hand": (peer, "127.0.0.1"),
        "to 0.0.0.0": (everywhere, "127.0.0.1"),
        "to 127.0.0.1": (loopback, "127.0.0.1"),
    }
    return ways | ({"from ::1": (everywhere, "::1")} if has_ipv6() else {})


def _compare(ways: dict[str, tuple[int, str]]) -> list[Row]:
    """Each measure of each way, by turns: what else the machine does weighs on all alike."""
    measures = (
        ("out of Linux", _receive_s, _MEBIBYTES * 1.048576, "MB/s", "≥ 0.95"),
        ("into Linux", _send_s, _MEBIBYTES * 1.048576, "MB/s", "≥ 0.95"),
        ("new connections", _connections_s, _CONNECTIONS, "/s", "≥ 0.9"),
    )
    rows = []
    for what, measure, amount, unit, goal in measures:
        durations: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(_ROUNDS):
            for name, (port, host) in ways.items():
                durations[name].append(measure(port, host))
        rates = {name: amount / statistics.median(times) for name, times in durations.items()}
        (_, by_hand), *others = rates.items()
        for name, rate in others:
            # What comes to ::1 passes through the service, which QEMU cannot do at all.
            is_qemus = not name.startswith("from")
            rows.append(
                Row(
                    f"{what}, {name}",
                    f"{rate:.0f} {unit}",
                    f"by hand: {by_hand:.0f} {unit}",
                    rate / by_hand,
                    goal if is_qemus else "",
                )
            )
    return rows


def _idle(subject: Isthmus) -> list[Row]:
    """What watching costs while nothing happens."""
    service = psutil.Process(int(str(subject.status()["service_pid"])))
    before = service.cpu_times()
    agent = float(subject.run("--system", "-e", "python3", "-c", _AGENT_TIME, str(_IDLE_S)).stdout)
    after = service.cpu_times()
    used = after.user + after.system - before.user - before.system
    return [
        Row(f"the agent's processor time in {_IDLE_S} idle s", f"{agent * 1000:.0f} ms"),
        Row("the service's, with the command that asks", f"{used * 1000:.0f} ms"),
    ]


def bench_net() -> None:
    """Print the table."""
    peer, everywhere, loopback = _free_port(), _free_port(), _free_port()
    with _machine(peer, everywhere) as subject:
        subject.run("--system", "-e", "true")
        served, answered = _listen_to_connect_s(subject)
        rows = [
            Row(
                "from `listen()` to the first answer at the host's localhost",
                f"{served * 1000:.1f} ms",
                f"a word and its answer on an open connection: {answered * 1000:.1f} ms",
                None,
                "≤ 30 ms",
            )
        ]
        places = ("0.0.0.0", str(everywhere), "127.0.0.1", str(loopback))
        with _running(subject, _SERVER, str(_MEBIBYTES), *places) as output:
            assert output.readline() == b"ready\n"
            rows += _compare(_ways(peer, everywhere, loopback))
            rows += _idle(subject)
    print_table("Localhost", rows)


if __name__ == "__main__":
    print(f"load {os.getloadavg()[0]:.1f}, {time.strftime('%H:%M')}")
    bench_net()
