"""Which served ports become ports of the host's localhost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbridge.forwards import Forward, Target, settled, target_of, wanted_forwards
from netbridge.hostfwd import add_command, can_forward, remove_command, was_added, was_removed
from wire.agent import Port


def port(address: str, number: int = 80, protocol: str = "tcp", *, v6_only: bool = False) -> Port:
    return Port(protocol=protocol, address=address, number=number, v6_only=v6_only)


@pytest.mark.parametrize(
    ("served", "target"),
    [
        (port("0.0.0.0"), Target.MACHINE),
        (port("127.0.0.1"), Target.LOOPBACK),
        (port("::"), Target.MACHINE),
        (port("::", v6_only=True), Target.LOOPBACK_V6),
        (port("::1"), Target.LOOPBACK_V6),
        (port("::1", v6_only=True), Target.LOOPBACK_V6),
        (port("::ffff:127.0.0.1"), Target.LOOPBACK),
        (port("::ffff:0.0.0.0"), Target.MACHINE),
        (port("127.0.0.53"), None),
        (port("10.0.2.15"), None),
        (port("172.17.0.1"), None),
        (port("fe80::1"), None),
        (port("nonsense"), None),
    ],
)
def test_what_is_at_localhost(served: Port, target: Target | None) -> None:
    assert target_of(served) is target


def test_the_widest_server_of_a_port_is_meant() -> None:
    served = [port("::1"), port("127.0.0.1"), port("0.0.0.0", 81), port("127.0.0.1", 81)]
    for order in (served, served[::-1]):
        assert wanted_forwards(order) == {
            Forward(80, "tcp"): Target.LOOPBACK,
            Forward(81, "tcp"): Target.MACHINE,
        }


def test_protocols_are_apart_and_ignored_ports_are_left_out() -> None:
    served = [port("0.0.0.0", 53), port("127.0.0.1", 53, "udp"), port("0.0.0.0", 22)]
    assert wanted_forwards(served, frozenset({22})) == {
        Forward(53, "tcp"): Target.MACHINE,
        Forward(53, "udp"): Target.LOOPBACK,
    }
    assert (
        wanted_forwards([port("0.0.0.0", 0), port("0.0.0.0", 70000), port("::", 1, "dccp")]) == {}
    )


def test_a_clients_datagram_socket_does_not_count() -> None:
    server, client = port("0.0.0.0", 53, "udp"), port("0.0.0.0", 40000, "udp")
    stream = port("0.0.0.0", 40000)
    served = {server: 10.0, client: 10.0, stream: 10.0}
    assert settled(served, 10.25) == ({server, stream}, 0.75)
    assert settled(served, 11.0) == ({server, client, stream}, None)


@given(
    st.lists(
        st.builds(
            Port,
            protocol=st.sampled_from(["tcp", "udp"]),
            address=st.sampled_from(["0.0.0.0", "127.0.0.1", "::", "::1", "10.0.2.15", "?"]),
            number=st.integers(-1, 70000),
            v6_only=st.booleans(),
        )
    )
)
def test_every_forward_has_a_server_and_an_order_changes_nothing(served: list[Port]) -> None:
    wanted = wanted_forwards(served)
    assert wanted == wanted_forwards(reversed(served))
    for forward, target in wanted.items():
        assert target in {
            target_of(each)
            for each in served
            if (each.number, each.protocol) == (forward.port, forward.protocol)
        }


def test_the_monitors_commands_name_no_address_but_loopback() -> None:
    assert add_command(Forward(80, "tcp"), Target.MACHINE) == (
        "hostfwd_add net0 tcp:127.0.0.1:80-10.0.2.15:80"
    )
    assert add_command(Forward(53, "udp"), Target.LOOPBACK) == (
        "hostfwd_add net0 udp:127.0.0.1:53-127.0.0.1:53"
    )
    assert add_command(Forward(0x1234, "tcp"), Target.LOOPBACK_V6) == (
        "hostfwd_add net0 tcp:127.0.0.1:4660-127.254.18.52:6"
    )
    assert not can_forward(Forward(53, "udp"), Target.LOOPBACK_V6)
    assert remove_command(Forward(53, "udp")) == "hostfwd_remove net0 udp:127.0.0.1:53"


def test_the_monitors_answers() -> None:
    assert was_added("")
    assert not was_added("Could not set up host forwarding rule 'tcp:127.0.0.1:80-:80'\r\n")
    assert was_removed("host forwarding rule for tcp:127.0.0.1:80 removed\r\n")
    assert was_removed("host forwarding rule for tcp:127.0.0.1:80 not found\r\n")
    assert not was_removed("invalid format\r\n")
