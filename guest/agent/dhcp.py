"""An address from the network that the host's bridge is on: busybox udhcpc, kept running."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from guest.agent.children import spawn, watch_exit
from guest.agent.loop import READABLE, Loop, has_ended

_SCRIPT = "/usr/lib/isthmus/udhcpc.sh"
_LINE_BYTES = 4096
_RESTART_S = 5.0


class DhcpClient:
    """`on_address` is told each address that is leased, and "" when there is none any more."""

    def __init__(self, loop: Loop, on_address: Callable[[str], None]) -> None:
        self._loop = loop
        self._on_address = on_address
        self._is_running = False

    def start(self, interface: str) -> None:
        """Ask for an address, for good; nothing if that goes on already. Raises OSError."""
        if self._is_running:
            return
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        hostname = os.uname().nodename
        # -f: it stays our child. -t 8 -T 1: eight questions, a second apart, then again after -A.
        argv = ["busybox", "udhcpc", "-f", "-i", interface, "-s", _SCRIPT, "-t", "8", "-T", "1"]
        try:
            pid = spawn([*argv, "-A", "5", "-x", f"hostname:{hostname}"], (null, writer, null))
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(null)
            os.close(writer)
        self._is_running = True

        def on_output(events: int) -> None:
            data = os.read(reader, _LINE_BYTES) if events & READABLE else b""
            if data:
                self._on_address(data.decode("ascii", "replace").splitlines()[-1].strip())
            elif has_ended(events):
                self._loop.forget(reader)
                os.close(reader)

        def on_exit(status: int) -> None:
            print(f"agent: udhcpc ended, wait status {status:#x}", file=sys.stderr)
            self._is_running = False
            self._loop.call_later(_RESTART_S, lambda: self.start(interface))

        self._loop.watch(reader, READABLE, on_output)
        watch_exit(self._loop, pid, on_exit)
