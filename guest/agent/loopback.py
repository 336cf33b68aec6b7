"""The way from QEMU's user network to what is bound to the machine's loopback addresses."""

from __future__ import annotations

import os
import sys

from guest.agent.children import spawn, watch_exit
from guest.agent.loop import Loop
from wire.network import LOCALHOST6_PORT

INTERFACE = "eth0"
_ROUTE_LOCALNET = f"/proc/sys/net/ipv4/conf/{INTERFACE}/route_localnet"
_LOCALHOST6 = "/usr/libexec/isthmus/localhost6"


class Loopback:
    """Opened for the host while it forwards ports."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._runs = False

    def open(self) -> None:
        """Let the host reach 127.0.0.1, and ::1 by way of localhost6. Raises OSError.

        Only for a network that nobody but the host is on, as QEMU's user network is: elsewhere
        the kernel's refusal of such packets ("martians") must stay (ip-sysctl.rst, route_localnet).
        """
        with open(_ROUTE_LOCALNET, "w") as file:
            file.write("1")
        if self._runs:
            return
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            pid = spawn([_LOCALHOST6, INTERFACE, str(LOCALHOST6_PORT)], (null, null, 2))
        finally:
            os.close(null)
        self._runs = True
        watch_exit(self._loop, pid, self._on_exit)

    def _on_exit(self, status: int) -> None:
        """It has ended: at once if an earlier agent's runs, else because somebody killed it."""
        self._runs = False
        print(f"agent: localhost6 ended, wait status {status:#x}", file=sys.stderr)
