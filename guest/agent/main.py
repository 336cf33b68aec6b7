"""Entry point of the agent: started, and started again when it ends, by the VM's init."""

from __future__ import annotations

import os
import sys

from guest.agent import distributions, drives
from guest.agent.agent import Agent
from guest.agent.link import open_port
from guest.agent.loop import Loop
from guest.agent.system import System


def main() -> None:
    """Serve the host until the machine is turned off."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")  # without the agent the host cannot reach anything
    os.umask(0o022)
    distributions.prepare()
    drives.prepare()
    os.makedirs("/run/disks", 0o700, exist_ok=True)
    loop = Loop()
    Agent(loop, open_port, _version(), System())
    print("agent: ready", file=sys.stderr, flush=True)
    loop.run()


def _version() -> str:
    """The project's version, written into the system image when it is built."""
    try:
        with open("/usr/lib/isthmus/VERSION") as file:
            return file.read().strip()
    except FileNotFoundError:
        return "unknown"
