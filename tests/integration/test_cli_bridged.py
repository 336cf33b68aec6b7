"""Bridged networking, in a network namespace with a bridge and a DHCP server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.integration.cli_harness import BOOT_TIMEOUT_S, TINY, Isthmus, wait_until
from tests.integration.namespace_harness import network_namespace
from tests.integration.test_cli_ports import boot_id, server

pytestmark = [
    pytest.mark.vm,
    pytest.mark.skipif(sys.platform != "linux", reason="bridges of Linux hosts"),
]

BRIDGE = """
from pyroute2 import IPRoute
with IPRoute() as route:
    route.link("add", ifname="br0", kind="bridge")
    (index,) = route.link_lookup(ifname="br0")
    route.addr("add", index=index, address="192.168.77.1", prefixlen=24)
    route.link("set", index=index, state="up")
"""
UDHCPD = """
start 192.168.77.20
end 192.168.77.30
interface br0
lease_file {directory}/leases
pidfile {directory}/pid
opt router 192.168.77.1
opt subnet 255.255.255.0
opt dns 192.168.77.1
opt domain bridge.test
"""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as connection:
    connection.sendall(b"tell")
    print(connection.recv(100).decode())
"""


def test_the_machine_is_on_the_hosts_bridge(fresh: Isthmus, tiny_tar: Path, tmp_path: Path) -> None:
    fresh.configure("[wsl2]\nnetworkingMode=bridged\nvmSwitch=br0\nmacAddress=52-54-00-AB-CD-EF\n")
    config = tmp_path / "udhcpd.conf"
    config.write_text(UDHCPD.format(directory=tmp_path))
    (tmp_path / "leases").touch()
    with network_namespace() as namespace:
        namespace.python(BRIDGE)
        namespace.isthmus(fresh)
        with namespace.running("busybox", "udhcpd", "-f", "-S", str(config)):
            fresh.make(TINY, tiny_tar)

            def address() -> str:
                return "".join(fresh.json("--status", "--json")["addresses"])

            wait_until(address, "an address by DHCP", BOOT_TIMEOUT_S)
            assert address().startswith("192.168.77.2")
            assert f"Network: bridged, {address()}" in fresh.text("--status").splitlines()
            interface = fresh.text("-d", TINY, "ip", "addr", "show", "dev", "eth0")
            assert "52:54:00:ab:cd:ef" in interface and f"inet {address()}/24" in interface
            assert "10.0.2.15" not in interface
            resolv = fresh.text("-d", TINY, "cat", "/etc/resolv.conf").splitlines()
            assert resolv == ["nameserver 192.168.77.1", "search bridge.test"]
            assert fresh.text("-d", TINY, "wslinfo", "--networking-mode") == "bridged"
            with server(fresh, "0.0.0.0") as port:
                assert namespace.python(ASK, address(), str(port)).encode().strip() == (
                    boot_id(fresh).strip()
                )
            assert "isthmus" in namespace.run("busybox", "ip", "link")
            fresh.end()
            assert "isthmus" not in namespace.run("busybox", "ip", "link")  # not /sys: the host's


def test_what_it_takes_is_said(fresh: Isthmus) -> None:
    """A bridge, and the right to join it: a namespace has no bridge, a user no right."""
    fresh.configure("[wsl2]\nnetworkingMode=bridged\n")
    with network_namespace() as namespace:
        namespace.isthmus(fresh)
        done = fresh.run("--system", "-e", "true")
        assert done.returncode != 0
        assert b"bridged networking: no bridge is named" in done.stderr
        assert b"wsl2.vmSwitch" in done.stderr
        fresh.configure("[wsl2]\nnetworkingMode=bridged\nvmSwitch=br7\n")
        done = fresh.run("--system", "-e", "true")
        assert b"there is no network interface br7" in done.stderr
        fresh.end()
        namespace.python(BRIDGE)
        fresh.configure("[wsl2]\nnetworkingMode=bridged\nvmSwitch=br0\n")
        fresh.prefix = (*namespace.prefix, "setpriv", "--bounding-set=-net_admin")
        done = fresh.run("--system", "-e", "true")
        assert done.returncode != 0
        assert b"bridged networking: this user may not change the host's network" in done.stderr
        assert b"Run it as root, or leave networkingMode at Nat" in done.stderr
        fresh.end()
        assert "isthmus" not in namespace.run("busybox", "ip", "link")
    assert fresh.qemus() == []
