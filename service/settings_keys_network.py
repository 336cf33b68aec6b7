"""The keys of .wslconfig that concern the network (behaviour §2, §7). Plain data."""

from __future__ import annotations

from wire.wslconf import Key, State

NETWORKING_MODES = ("None", "Nat", "Bridged", "Mirrored", "Consomme", "VirtioProxy")
"""VirtioProxy is Consomme's older name."""

NETWORK = (
    Key(
        "wsl2.networkingMode",
        "choice",
        "Nat",
        "How the machine reaches the network.",
        aliases=("experimental.networkingMode",),
        choices=NETWORKING_MODES,
    ),
    Key(
        "wsl2.localhostForwarding",
        "boolean",
        True,
        "Make ports that Linux programs listen on reachable at the host's localhost.",
    ),
    Key(
        "wsl2.dnsTunneling",
        "boolean",
        True,
        "Let the host answer the machine's name queries.",
        aliases=("experimental.dnsTunneling",),
        state=State.NO_EFFECT,
        always=True,
    ),
    Key(
        "wsl2.dnsProxy",
        "boolean",
        True,
        "Ask the host's resolver at 10.0.2.3; else its name servers themselves (POSIX hosts).",
    ),
    Key(
        "wsl2.autoProxy",
        "boolean",
        True,
        "Tell commands of the host's web proxies: `http_proxy` and its kin.",
        aliases=("experimental.autoProxy",),
    ),
    Key(
        "wsl2.firewall",
        "boolean",
        True,
        "Apply the Windows firewall's rules for virtual machines.",
        aliases=("experimental.firewall",),
        state=State.NO_EFFECT,
    ),
    Key("wsl2.ipv6", "boolean", False, "Give the machine an IPv6 address."),
    Key(
        "wsl2.dhcp",
        "boolean",
        True,
        "Configure a bridged network by DHCP.",
        state=State.NO_EFFECT,
        always=True,
    ),
    Key(
        "wsl2.dhcpTimeout",
        "integer",
        5000,
        "How long to wait for DHCP, in milliseconds.",
        state=State.NO_EFFECT,
    ),
    Key(
        "wsl2.macAddress",
        "mac",
        "",
        "Hardware address of a bridged network.",
        shown="one of the machine's own",
    ),
    Key(
        "wsl2.vmSwitch",
        "text",
        "",
        "Bridge of the host that a bridged network joins (Linux hosts).",
        shown="none",
    ),
    Key(
        "experimental.bestEffortDnsParsing",
        "boolean",
        False,
        "Answer name queries that Windows does not fully understand.",
        state=State.NO_EFFECT,
    ),
    Key(
        "experimental.dnsTunnelingIpAddress",
        "ip",
        "10.255.255.254",
        "Address of the name server that Linux sees; Isthmus's is 10.0.2.3.",
        state=State.NO_EFFECT,
        always="10.0.2.3",
    ),
    Key(
        "experimental.initialAutoProxyTimeout",
        "integer",
        1000,
        "How long to wait for the host's proxy settings, in milliseconds; they are there at once.",
        state=State.NO_EFFECT,
    ),
    Key(
        "experimental.ignoredPorts",
        "ports",
        (),
        "Ports that stay Linux's own: they are not forwarded.",
        shown="none",
    ),
    Key(
        "experimental.hostAddressLoopback",
        "boolean",
        False,
        "Let host and Linux reach each other by the host's addresses.",
        state=State.NOT_YET,
        always=False,
    ),
)
