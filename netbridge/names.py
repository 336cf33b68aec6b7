"""How the host finds names: its name servers, search domains and hosts file. Pure.

Source: resolv.conf(5), hosts(5).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

MAX_NAME_SERVERS = 3
"""MAXNS: what a resolver looks at."""
MAX_SEARCH = 32
MAX_HOSTS = 1000
"""Entries of the host's hosts file that distributions get, at most: some are lists of a hundred
thousand names to be blocked."""

_DOMAIN = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")
_OWN_NAMES = re.compile(r"(.+\.)?localhost\d?(\..+)?|(ip6|ipv6)-.+|broadcasthost")
"""Names that every hosts file gives to the machine that it is on."""


def parse_resolv_conf(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The name servers and the search domains of a resolv.conf; what is malformed is left out.

    Of several `search` and `domain` lines the last one counts.
    """
    servers: list[str] = []
    search: list[str] = []
    for line in text.splitlines():
        key, *values = line.split() or [""]
        if key == "nameserver" and values:
            try:
                ipaddress.ip_address(values[0].partition("%")[0])
            except ValueError:
                continue
            servers.append(values[0])
        elif key in ("search", "domain"):
            search = search_domains(values)
    return tuple(servers[:MAX_NAME_SERVERS]), tuple(search)


def search_domains(words: Iterable[str]) -> list[str]:
    """Those of `words` that are domains, each once, without a final dot."""
    domains = [word.rstrip(".") for word in words]
    return list(dict.fromkeys(filter(_DOMAIN.fullmatch, domains)))[:MAX_SEARCH]


def reachable_servers(servers: Iterable[str], proxy: str, *, ipv6: bool) -> tuple[str, ...]:
    """Those of the host's name servers that Linux can ask itself.

    One at a loopback address serves the host alone: `proxy`, QEMU's, asks it for Linux. Addresses
    with a scope (fe80::1%eth0) mean nothing in another machine.
    """
    found: list[str] = []
    for server in servers:
        if "%" in server:
            continue
        address = ipaddress.ip_address(server)
        if address.is_loopback or address.is_unspecified:
            found.append(proxy)
        elif address.version == 4 or ipv6:
            found.append(server)
    return tuple(dict.fromkeys(found)) or (proxy,)


def parse_hosts(text: str, own: Iterable[str] = ()) -> tuple[str, ...]:
    """The entries of a hosts file that are not of the host itself, as lines of another one.

    own: the host's names. Neither they nor "localhost" and its kin are Linux's to learn.
    """
    left_out = {name.lower() for name in own if name}
    lines: list[str] = []
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        try:
            ipaddress.ip_address(address)
        except ValueError:
            continue
        kept = [
            name
            for name in names
            if _DOMAIN.fullmatch(name)
            and name.lower() not in left_out
            and not _OWN_NAMES.fullmatch(name.lower())
        ]
        if kept:
            lines.append("\t".join((address, " ".join(kept))))
        if len(lines) == MAX_HOSTS:
            break
    return tuple(lines)
