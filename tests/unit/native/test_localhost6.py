"""localhost6, static and sanitized, on this host's own loopback interface."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from netbridge.forwards import Forward, Target
from netbridge.hostfwd import guest_end
from netbridge.relay import has_ipv6
from tests.unit.native.harness import build_native, require

assert sys.platform != "win32"

DEADLINE_S = 20


@pytest.fixture(scope="module", params=["build/localhost6", "build/sanitize/localhost6"])
def relay(request: pytest.FixtureRequest) -> Iterator[int]:
    """The program at work on `lo`; its port."""
    require(has_ipv6(), "this host has no ::1")
    program = build_native(request.param)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen([program, "lo", str(port)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            assert talk("127.254.0.1", port) == b""
            break
        except ConnectionRefusedError:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.01)
    yield port
    assert process.poll() is None
    process.terminate()
    assert process.communicate(timeout=DEADLINE_S)[1] == b""


def talk(address: str, port: int) -> bytes:
    """What is heard there; a reset may come before connect(2) returns."""
    with (
        contextlib.suppress(ConnectionResetError),
        socket.create_connection((address, port), DEADLINE_S) as client,
    ):
        return receive_all(client)
    return b""


@contextlib.contextmanager
def server() -> Iterator[socket.socket]:
    """Something that listens at ::1 and nowhere else."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        listener.settimeout(DEADLINE_S)
        yield listener


def connect(relay: int, listener: socket.socket) -> socket.socket:
    forward = Forward(listener.getsockname()[1], "tcp")
    address, _, _ = guest_end(forward, Target.LOOPBACK_V6).rpartition(":")
    return socket.create_connection((address, relay), DEADLINE_S)


def receive_all(connection: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            data += chunk
    return data


def test_bytes_both_ways_and_half_close(relay: int) -> None:
    data = os.urandom(3_000_000)
    with server() as listener, connect(relay, listener) as client:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(DEADLINE_S)
                received = receive_all(connection)
                connection.sendall(hashlib.sha256(received).digest() + received)

        thread = threading.Thread(target=answer)
        thread.start()
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        received = receive_all(client)
        thread.join()
    assert received == hashlib.sha256(data).digest() + data


def test_each_side_sees_the_other_die(relay: int) -> None:
    with server() as listener:
        with connect(relay, listener) as client:
            listener.accept()[0].close()
            assert receive_all(client) == b""
        with connect(relay, listener) as client:
            connection, _ = listener.accept()
            client.close()
            connection.settimeout(DEADLINE_S)
            with connection:
                assert receive_all(connection) == b""


def test_where_nobody_listens_nobody_is_reached(relay: int) -> None:
    assert talk("127.254.0.1", relay) == b""


def test_only_its_own_addresses_lead_anywhere(relay: int) -> None:
    """127.0.H.L is an address of the same interface, and stands for no port."""
    with server() as listener:
        port = listener.getsockname()[1]
        address = f"127.0.{port >> 8}.{port & 255}"
        assert talk(address, relay) == b""
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("arguments", [[], ["lo"], ["lo", "0"], ["lo", "65536"], ["lo", "x"]])
def test_wrong_arguments(arguments: list[str]) -> None:
    done = subprocess.run(
        [build_native("build/localhost6"), *arguments],
        stderr=subprocess.PIPE,
        check=False,
        timeout=20,
    )
    assert (done.returncode, done.stderr) == (2, b"localhost6: usage: localhost6 INTERFACE PORT\n")


def test_a_second_one_gives_up(relay: int) -> None:
    done = subprocess.run(
        [build_native("build/localhost6"), "lo", str(relay)],
        stderr=subprocess.PIPE,
        check=False,
        timeout=20,
    )
    assert done.returncode == 1
    assert b"cannot listen on lo" in done.stderr
