"""A guest without a machine: the real agent as a process of this host.

Sessions "in the utility VM" are then processes of the host. The port is a socket that the
starter keeps, as QEMU keeps its own; each time the agent opens it, a byte on the second
descriptor says so, as QEMU's VSERPORT_CHANGE does.

    python fake_guest.py PORT_FD OPENED_FD DIRECTORY VERSION
"""

from __future__ import annotations

import os
import sys

from guest.agent import distributions
from guest.agent.agent import Agent
from guest.agent.loop import Loop
from guest.agent.system import System

assert sys.platform != "win32"


class HostSystem(System):
    """This host keeps its clock and its name, and goes on when the guest is turned off."""

    def set_clock(self, time_ns: int) -> None:
        """Nothing."""

    def set_hostname(self, hostname: str) -> None:
        """Nothing."""

    def reseed(self, entropy: bytes) -> None:
        """Nothing: this host has random numbers of its own."""

    def power_off(self) -> None:
        """The host has gone away, or wants the guest to end."""
        raise SystemExit(0)


def main() -> None:
    port, opened, directory, version = sys.argv[1:]
    for fd in (int(port), int(opened)):
        os.set_inheritable(fd, False)

    def open_port() -> int:
        fd = os.dup(int(port))
        os.set_blocking(fd, False)
        os.write(int(opened), b"o")
        return fd

    distributions.RUN_DIRECTORY = directory
    os.chdir("/")
    loop = Loop()
    Agent(loop, open_port, version, HostSystem())
    loop.run()


if __name__ == "__main__":
    main()
