"""What host and guest have agreed on about the network. Plain data."""

from __future__ import annotations

NAT = "nat"
MIRRORED = "mirrored"
BRIDGED = "bridged"
NONE = "none"
MODES = (NAT, MIRRORED, BRIDGED, NONE)
"""How the machine reaches the network, in the words of `wslinfo --networking-mode`."""

HOST_ADDRESS = "10.0.2.2"
"""Where QEMU's user network has the host's 127.0.0.1 (net/slirp.c)."""
MACHINE_ADDRESS = "10.0.2.15"
"""The machine's own address in it."""
NAME_SERVER = "10.0.2.3"
"""Where it passes name queries on to the host's own resolver."""
PROXY_VARIABLES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
"""Environment variables that name web proxies, in lower case; the upper case is as common."""
HOST_NAME = "host.internal"
"""The host's name in distributions."""

LOCALHOST6_NETWORK = 0x7FFE0000
"""127.254.0.0/16: a connection to 127.254.H.L goes on to ::1, port H * 256 + L."""
LOCALHOST6_PORT = 6
"""Where guest/native/localhost6.c passes those on: no port of a service, and a privileged one."""
