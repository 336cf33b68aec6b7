"""Localhost is one place: what Linux serves, the host reaches, on the real machine.

Servers are busybox's and the system image's Python; that a server answered is proved by the boot
id, which only the guest's kernel knows.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from netbridge.relay import has_ipv6
from tests.integration.cli_harness import TINY, Isthmus, kill_and_wait, wait_until

pytestmark = pytest.mark.vm

SERVER = """
import os, socket, sys
address, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
server = socket.create_server((address, port), family=family, dualstack_ipv6=address == "::")
print(server.getsockname()[1], flush=True)
boot_id = open("/proc/sys/kernel/random/boot_id", "rb").read()
while True:
    connection, _ = server.accept()
    command = connection.recv(4)
    if command == b"wait":
        connection.recv(4)
    elif command == b"quit":
        os._exit(0)
    connection.sendall(boot_id)
    connection.close()
"""
"""Answers each connection with the boot id of the kernel it runs on."""


ECHO = """
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], int(sys.argv[2])))
print(server.getsockname()[1], flush=True)
boot_id = open("/proc/sys/kernel/random/boot_id", "rb").read()
while True:
    data, peer = server.recvfrom(65536)
    server.sendto(data + boot_id, peer)
"""


@contextlib.contextmanager
def server(cli: Isthmus, address: str, port: int = 0, program: str = SERVER) -> Iterator[int]:
    """A server in the machine; its port."""
    number = str(port or free_port())
    arguments = ("--system", "-e", "python3", "-c", program, address, number)
    with cli.started(*arguments) as command:
        line = command.stdout.readline()
        assert line, command.stderr.read()
        yield int(line)


def boot_id(cli: Isthmus) -> bytes:
    return cli.ok("--system", "-e", "cat", "/proc/sys/kernel/random/boot_id")


def ask(port: int, host: str = "127.0.0.1") -> bytes:
    """What the server at `port` of the host answers; b"" if nothing does."""
    try:
        with socket.create_connection((host, port), 20) as connection:
            connection.sendall(b"tell")
            return connection.recv(100)
    except OSError:
        return b""


def is_refused(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), 20).close()
    except ConnectionRefusedError:
        return True
    return False


def free_port() -> int:
    """A port that the host can give away: the guest's own choice might be taken here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def machine(cli: Isthmus) -> psutil.Process:
    """Its QEMU; another may be there for a while, to make a snapshot."""
    return psutil.Process(cli.json("--status", "--json")["qemu_pid"])


def forwards(cli: Isthmus) -> dict[int, str]:
    """Port and problem of each row of `--status`, TCP."""
    rows: list[dict[str, Any]] = cli.json("--status", "--json")["forwards"]
    return {row["number"]: row["problem"] for row in rows if row["protocol"] == "tcp"}


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::", "::1"])
def test_what_linux_serves_is_at_localhost(cli: Isthmus, address: str) -> None:
    expected = boot_id(cli)
    with server(cli, address) as port:
        wait_until(lambda: ask(port) == expected, f"an answer from {address}")
        if has_ipv6():
            assert ask(port, "::1") == expected
        assert forwards(cli)[port] == ""
        assert f"Ports at localhost: {port}" in cli.text("--status")
    wait_until(lambda: is_refused(port), "the end of the forward")
    wait_until(lambda: port not in forwards(cli), "the end of its row")


PEER = SERVER.replace("connection, _ =", "connection, peer =").replace(
    "sendall(boot_id)",
    "sendall(f'{peer[0]} {connection.getpeername()[0]}'.encode())",
)
"""Answers each connection with where it comes from, asked of the kernel in two ways."""


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::ffff:127.0.0.1"),
        ("::1", "::1"),
    ],
)
def test_who_comes_from_the_host_comes_from_localhost(
    cli: Isthmus, address: str, peer: str
) -> None:
    """Servers are open to localhost that are closed to others: databases, debuggers."""
    with server(cli, address, program=PEER) as port:
        wait_until(lambda: ask(port), "the forward")
        assert ask(port).decode() == f"{peer} {peer}"


def test_who_has_connected_to_the_host_knows_it(cli: Isthmus) -> None:
    """The other way round the address stays: who asks might connect to it again."""
    script = """
import socket, sys
print(socket.create_connection(("10.0.2.2", int(sys.argv[1])), 20).getpeername()[0])
"""
    with host_server(b"the host") as port:
        command = ("--system", "-e", "python3", "-c", script, str(port))
        assert cli.text(*command) == "10.0.2.2"


def test_a_distributions_server(cli: Isthmus) -> None:
    """busybox's, in a distribution; one connection, then it has ended."""
    with cli.started("-d", TINY, "-e", "nc", "-l", "-p", "4721", "-e", "uname", "-r") as command:
        answer: list[bytes] = []

        def is_answered() -> bool:
            answer[:] = [ask(4721)]
            return bool(answer[0])

        wait_until(is_answered, "an answer")
        assert answer[0].decode() == cli.text("uname -r") + "\n"
        assert command.status() == 0
    wait_until(lambda: is_refused(4721), "the end of the forward")


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1", 4731), ("0.0.0.0", 0)])
def test_datagrams(cli: Isthmus, address: str, port: int) -> None:
    """Two clients in turns: each gets its own answers. Of a port of its own choice, or of none."""
    expected = boot_id(cli)
    with server(cli, address, port, ECHO) as number, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(2)]
        for client in clients:
            client.connect(("127.0.0.1", number))
            client.settimeout(1)

        def is_answered() -> bool:
            try:
                clients[0].send(b"?")
                return clients[0].recv(100) == b"?" + expected
            except (ConnectionRefusedError, TimeoutError):
                return False

        wait_until(is_answered, "an answer")
        for client in clients:
            client.settimeout(20)
        for round in range(3):
            for name, client in zip("ab", clients, strict=True):
                client.send(f"{round}{name}".encode())
            for name, client in zip("ab", clients, strict=True):
                assert client.recv(100) == f"{round}{name}".encode() + expected
        if has_ipv6():
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
                client.connect(("::1", number))
                client.settimeout(20)
                client.send(b"six")
                assert client.recv(100) == b"six" + expected
        assert f"{number}/udp" in cli.text("--status")
    wait_until(lambda: f"{number}/udp" not in cli.text("--status"), "the end of the forward")


def test_nothing_is_bound_but_loopback(cli: Isthmus) -> None:
    """The host's own socket table, of QEMU and of the service."""
    with server(cli, "0.0.0.0") as port, server(cli, "0.0.0.0", 4732, ECHO) as udp_port:
        wait_until(lambda: forwards(cli).get(port) == "", "the forward")
        wait_until(lambda: f"{udp_port}/udp" in cli.text("--status"), "the forward of datagrams")
        sockets = [
            connection
            for process in (cli.service(), machine(cli))
            for connection in process.net_connections("inet")
        ]
        bound = [socket.laddr for socket in sockets if socket.status == psutil.CONN_LISTEN]
        assert port in {address.port for address in bound}
        assert {address.ip for address in bound} <= {"127.0.0.1", "::1"}
        # Other datagram sockets are QEMU's for what Linux has asked the world.
        ours = {each.laddr.ip for each in sockets if each.laddr.port == udp_port}
        assert "127.0.0.1" in ours <= {"127.0.0.1", "::1"}


def test_a_taken_port_is_reported_and_had_when_it_is_free(cli: Isthmus) -> None:
    expected = boot_id(cli)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        holder.listen(1)
        with server(cli, "0.0.0.0", port):
            wait_until(lambda: forwards(cli).get(port), "the report")
            line = f"Port {port} is not at localhost: used by another program of the host"
            assert line in cli.text("--status").splitlines()
            holder.close()
            wait_until(lambda: ask(port) == expected, "the forward")
            assert forwards(cli)[port] == ""


def test_a_server_that_dies_closes_the_hosts_side(cli: Isthmus) -> None:
    with server(cli, "127.0.0.1") as port:
        wait_until(lambda: ask(port), "the forward")
        hosts = ["127.0.0.1", *(["::1"] if has_ipv6() else [])]
        # It serves one at a time: the others wait, and are the kernel's when it dies.
        waiting = [socket.create_connection((host, port), 20) for host in hosts]
        waiting[0].sendall(b"quit")
        for connection in waiting:
            connection.settimeout(60)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(100) == b""
            connection.close()
        wait_until(lambda: is_refused(port), "the end of the forward")


def test_another_network_namespace_is_not_localhost(cli: Isthmus) -> None:
    """As in a container that publishes nothing."""
    script = "ip link set lo up; echo up; exec nc -l -p 4722 -e echo hidden"
    with cli.started("--system", "-e", "unshare", "-n", "sh", "-c", script) as command:
        assert command.stdout.readline() == b"up\n"
        with server(cli, "127.0.0.1") as port:  # what is told after it has been forwarded
            wait_until(lambda: ask(port), "another forward")
        assert 4722 not in forwards(cli)
        assert is_refused(4722)


MANY = """
import socket, sys
for _ in range(10):
    servers = [socket.create_server(("127.0.0.1", 20000 + n)) for n in range(50)]
    for server in servers: server.close()
last = socket.create_server(("127.0.0.1", 20100))
print("done", flush=True)
sys.stdin.read()
"""


def test_five_hundred_ports_leave_nothing(cli: Isthmus) -> None:
    before = machine(cli).num_fds(), forwards(cli)
    with cli.started("--system", "-e", "python3", "-c", MANY, stdin=subprocess.PIPE) as command:
        assert command.stdout.readline() == b"done\n"
        wait_until(lambda: forwards(cli) == {20100: ""}, "the last forward alone")
    wait_until(lambda: forwards(cli) == {}, "no forward")
    assert before[1] == {}
    # The service's own are counted by what it listens on: it may be making a snapshot as well.
    wait_until(lambda: machine(cli).num_fds() <= before[0], "no descriptor")
    listening = [c for c in cli.service().net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert listening == []


def test_a_new_agent_learns_all_forwards(cli: Isthmus) -> None:
    """Servers in a distribution outlive the agent, and the next one knows when they end."""
    line = "setsid nc -ll -p 4723 -e uname -r > /dev/null 2>&1 < /dev/null &"
    cli.ok("-d", TINY, line)
    wait_until(lambda: ask(4723), "the forward")
    cli.run("--system", "-e", "pkill", "-KILL", "-f", "start.pyc")
    with server(cli, "127.0.0.1") as port:
        wait_until(lambda: ask(port), "a forward by the new agent")
    assert ask(4723)
    cli.ok("-d", TINY, "killall nc")
    wait_until(lambda: is_refused(4723), "the end of the forward")


@contextlib.contextmanager
def host_server(word: bytes, address: str = "127.0.0.1") -> Iterator[int]:
    """A server of the host's: says its word to everybody."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(word)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def connect_inside(cli: Isthmus, *where: str, address: str, port: int) -> bytes:
    """What a program in Linux hears at `address`; b"" if it is refused."""
    line = ("-e", "nc", "-w", "20", address, str(port))
    return cli.run(*where, *line).stdout


def test_the_host_has_a_name_in_linux(cli: Isthmus) -> None:
    with host_server(b"the host") as port:
        for address in ("host.internal", "10.0.2.2"):
            heard = connect_inside(cli, "-d", TINY, address=address, port=port)
            assert heard == b"the host", address
        # Not by default: as in WSL, that is what mirrored networking is for.
        assert connect_inside(cli, "-d", TINY, address="127.0.0.1", port=port) == b""
    assert cli.text("-d", TINY, "-e", "wslinfo", "--networking-mode") == "nat"
    assert "Network: nat, 10.0.2.15" in cli.text("--status").splitlines()


def test_mirrored_localhost_is_the_hosts_too(fresh: Isthmus, tiny_tar: Path) -> None:
    fresh.configure("[wsl2]\nnetworkingMode=mirrored\n")
    with (
        host_server(b"the host") as port,
        fresh.having(TINY, tiny_tar),
    ):
        addresses = ["127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost"]
        for address in addresses:
            heard = connect_inside(fresh, "-d", TINY, address=address, port=port)
            assert heard == b"the host", address
        # Who serves the port in Linux comes first, and what another namespace calls
        # localhost is not ours.
        expected = boot_id(fresh)
        with server(fresh, "0.0.0.0", port):
            heard = connect_inside(fresh, "-d", TINY, address="127.0.0.1", port=port)
            assert heard == expected
        command = f"ip link set lo up; nc 127.0.0.1 {port}"
        assert fresh.run("--system", "-e", "unshare", "-n", "sh", "-c", command).stdout == b""
        heard = connect_inside(fresh, "--system", address="127.0.0.1", port=port)
        assert heard == b"the host"
        assert fresh.text("-d", TINY, "-e", "wslinfo", "--networking-mode") == "mirrored"
    assert connect_inside(fresh, "--system", address="127.0.0.1", port=port) == b""


def test_without_a_network(fresh: Isthmus) -> None:
    fresh.configure("[wsl2]\nnetworkingMode=none\n")
    with server(fresh, "0.0.0.0") as port:
        interfaces = fresh.text("--system", "-e", "ls", "/sys/class/net").split()
        assert "eth0" not in interfaces
        assert is_refused(port)
        assert fresh.json("--status", "--json")["networking_mode"] == "none"
        assert fresh.json("--status", "--json")["warnings"] == []


def test_settings(fresh: Isthmus) -> None:
    """Ignored ports stay Linux's own; a service that is killed learns anew what is served."""
    fresh.configure("[wsl2]\nipv6=true\n[experimental]\nignoredPorts=4725\n")
    with (
        server(fresh, "0.0.0.0", 4725),
        server(fresh, "0.0.0.0") as port,
    ):
        wait_until(lambda: ask(port), "the forward")
        assert is_refused(4725)
        address = ("ip", "-6", "address", "show", "dev", "eth0")
        wait_until(lambda: " fec0:" in fresh.text("--system", "-e", *address), "an IPv6 address")
        if has_ipv6():
            with host_server(b"the host", address="::1") as host_port:
                heard = connect_inside(fresh, "--system", address="fec0::2", port=host_port)
                assert heard == b"the host"
        kill_and_wait(fresh.service())
    with server(fresh, "0.0.0.0") as port:
        wait_until(lambda: ask(port), "the forward, by another service")
