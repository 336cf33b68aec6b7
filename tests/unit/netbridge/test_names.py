"""How the host finds names: its files read, and made Linux's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netbridge.hostnames import HostNames, HostNamesReader, _File
from netbridge.names import (
    MAX_HOSTS,
    parse_hosts,
    parse_resolv_conf,
    reachable_servers,
    search_domains,
)

PROXY = "10.0.2.3"


@pytest.mark.parametrize(
    ("text", "servers", "search"),
    [
        ("", (), ()),
        ("nameserver 127.0.0.53\noptions edns0\nsearch a.example b.example.\n", ("127.0.0.53",),
         ("a.example", "b.example")),
        ("search old\ndomain new.example\n", (), ("new.example",)),
        ("search .\n", (), ()),
        ("nameserver fe80::1%eth0\nnameserver\nnameserver nonsense\n", ("fe80::1%eth0",), ()),
        ("# nameserver 1.1.1.1\n; search no\n", (), ()),
        ("".join(f"nameserver 192.0.2.{n}\n" for n in range(5)),
         ("192.0.2.0", "192.0.2.1", "192.0.2.2"), ()),
    ],
)  # fmt: skip
def test_resolv_conf(text: str, servers: tuple[str, ...], search: tuple[str, ...]) -> None:
    assert parse_resolv_conf(text) == (servers, search)


@pytest.mark.parametrize(
    ("servers", "ipv6", "reachable"),
    [
        ((), False, (PROXY,)),
        (("192.0.2.1", "2001:db8::1"), False, ("192.0.2.1",)),
        (("192.0.2.1", "2001:db8::1"), True, ("192.0.2.1", "2001:db8::1")),
        (("127.0.0.53", "127.0.0.1", "192.0.2.1"), False, (PROXY, "192.0.2.1")),
        (("fe80::1%eth0",), True, (PROXY,)),
        (("::1",), True, (PROXY,)),
    ],
)
def test_servers_that_linux_can_ask(
    servers: tuple[str, ...], ipv6: bool, reachable: tuple[str, ...]
) -> None:
    assert reachable_servers(servers, PROXY, ipv6=ipv6) == reachable


def test_hosts() -> None:
    text = """\
127.0.0.1\tlocalhost localhost.localdomain
127.0.1.1 Here here.example
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
192.0.2.7   one.example one # in the cellar
127.0.0.1 site.test
2001:db8::1 six.example
nonsense here
192.0.2.8 bad/name
192.0.2.9
"""
    assert parse_hosts(text, ("here", "here.example")) == (
        "192.0.2.7\tone.example one",
        "127.0.0.1\tsite.test",
        "2001:db8::1\tsix.example",
    )


def test_a_list_of_what_is_blocked_is_cut() -> None:
    text = "".join(f"0.0.0.0 advertiser{number}.example\n" for number in range(2 * MAX_HOSTS))
    assert len(parse_hosts(text)) == MAX_HOSTS


@given(st.text())
def test_no_text_makes_a_line_of_its_own(text: str) -> None:
    """Whatever is in the host's files, no line of Linux's is longer than its own."""
    servers, search = parse_resolv_conf(text)
    for word in (*reachable_servers(servers, PROXY, ipv6=True), *search):
        assert word.isascii() and word.isprintable() and " " not in word
    for line in parse_hosts(text):
        assert line.count("\t") == 1
        assert line.replace("\t", "").isascii() and line.replace("\t", "").isprintable()


def test_each_domain_once() -> None:
    assert search_domains(["a", "b.", "a", "-", "x" * 300]) == ["a", "b"]


def test_a_file_tells_whether_it_has_changed(tmp_path: Path) -> None:
    file = _File(tmp_path / "resolv.conf")
    assert file.has_changed() and file.read() == ""
    assert not file.has_changed()
    (tmp_path / "first").write_text("one")
    (tmp_path / "resolv.conf").symlink_to("first")
    assert file.has_changed() and file.read() == "one"
    assert not file.has_changed()
    (tmp_path / "second").write_text("two")
    os.replace(tmp_path / "second", tmp_path / "first")
    assert file.has_changed() and file.read() == "two"


def test_what_does_not_change_stays_known() -> None:
    reader = HostNamesReader()
    first = reader.read()
    assert isinstance(first, HostNames)
    assert reader.read() == first
