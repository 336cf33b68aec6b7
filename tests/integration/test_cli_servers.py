"""Servers that people run, from a distribution's own packages, and their clients on the host."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

import pytest

from netbridge.relay import has_ipv6
from tests.integration.cli_harness import BOOT_TIMEOUT_S, Isthmus, wait_until
from tests.integration.test_cli_ports import boot_id, forwards, free_port, is_refused

pytestmark = [pytest.mark.vm, pytest.mark.network, pytest.mark.timeout(600)]

INSTALL = """
export DEBIAN_FRONTEND=noninteractive
ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || apt-get -q update
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d  # install servers, start none
chmod 755 /usr/sbin/policy-rc.d
exec apt-get -qy --no-install-recommends install redis-server
"""


@pytest.fixture(scope="module")
def redis(cli: Isthmus, debian: str) -> Iterator[int]:
    """The port of Debian's own redis, which listens at 127.0.0.1 and ::1."""
    done = cli.run("-d", debian, "-u", "root", "-e", "sh", "-ec", INSTALL, timeout=BOOT_TIMEOUT_S)
    assert done.returncode == 0, done
    port = free_port()
    line = ("-e", "redis-server", "--port", str(port), "--save", "")
    with cli.started("-d", debian, *line) as server:
        wait_until(lambda: forwards(cli).get(port) == "", "the forward")
        yield port
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            connection.sendall(b"SHUTDOWN NOSAVE\r\n")  # it does not mind a hangup
            assert connection.recv(64) == b""
        assert server.status() == 0
    wait_until(lambda: is_refused(port), "the end of the forward")


def test_redis(redis: int) -> None:
    """A real protocol, several connections at once, and what is larger than a packet."""
    value = bytes(range(256)) * 2000
    hosts = ["127.0.0.1", *(["::1"] if has_ipv6() else [])]
    for host in hosts:
        with (
            socket.create_connection((host, redis), 60) as writer,
            socket.create_connection((host, redis), 60) as reader,
        ):
            writer.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n" % (len(value), value))
            assert writer.makefile("rb").readline() == b"+OK\r\n"
            reader.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
            answer = reader.makefile("rb")
            assert answer.readline() == b"$%d\r\n" % len(value)
            assert answer.read(len(value)) == value
            reader.sendall(b"*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n")
            answer.readline()  # the end of the value
            assert answer.readline().startswith(b"$")
            assert any(b"os:Linux 6.12" in answer.readline() for _ in range(20))


def test_pythons_http_server(cli: Isthmus) -> None:
    port = free_port()
    script = f"""
        mkdir -p /run/www; cat /proc/sys/kernel/random/boot_id > /run/www/boot_id
        exec python3 -m http.server {port} --bind 127.0.0.1 --directory /run/www
    """
    with cli.started("--system", "-e", "sh", "-c", script):
        wait_until(lambda: forwards(cli).get(port) == "", "the forward")
        url = f"http://localhost:{port}/boot_id"
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.headers["Server"].startswith("SimpleHTTP")
            assert answer.read() == boot_id(cli)
