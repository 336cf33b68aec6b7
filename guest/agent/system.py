"""What the agent reads and changes of the utility VM itself, as against its distributions.

Apart from the agent's own logic, so that this can run anywhere: the contract tests run it as an
ordinary process of the host, which must keep its clock and its name, and go on running.
"""

from __future__ import annotations

import fcntl
import os
import time

_CLOCK_TOLERANCE_NS = 1_000_000
_RNDADDENTROPY = 0x40085203  # linux/random.h
_RNDRESEEDCRNG = 0x5207


class System:
    """The machine that the agent runs in."""

    def set_clock(self, time_ns: int) -> None:
        """Set CLOCK_REALTIME, unless it is right but for a few milliseconds. Raises OSError."""
        if abs(time_ns - time.time_ns()) > _CLOCK_TOLERANCE_NS:
            time.clock_settime_ns(time.CLOCK_REALTIME, time_ns)

    def reseed(self, entropy: bytes) -> None:
        """Have all random numbers from now on depend on `entropy` too. Raises OSError.

        The first ioctl adds it to the kernel's pool and counts it, the second makes the kernel's
        generators, those in the memory of programs (vgetrandom) too, start anew from the pool.
        """
        size = len(entropy).to_bytes(4, "little")
        bits = (len(entropy) * 8).to_bytes(4, "little")
        with open("/dev/urandom", "wb", buffering=0) as file:
            fcntl.ioctl(file, _RNDADDENTROPY, bits + size + entropy)  # struct rand_pool_info
            fcntl.ioctl(file, _RNDRESEEDCRNG)

    def set_hostname(self, hostname: str) -> None:
        """Give the machine a name. Raises OSError."""
        with open("/proc/sys/kernel/hostname", "w") as file:
            file.write(hostname)

    def boot_id(self) -> str:
        """A UUID that each boot has another of (random(4))."""
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()

    def power_off(self) -> None:
        """End the machine: it has no reset, so a restart ends QEMU on every board."""
        os.sync()
        os.execv("/bin/busybox", ["reboot", "-f"])
