"""How a machine ended, as data, and the sentence that explains it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from vm.errors import describe_exit_code


class ShutdownRung(StrEnum):
    """The step of the shutdown ladder that ended the machine, mildest first."""

    GUEST = "guest"
    """The guest was asked and switched itself off."""
    QUIT = "quit"
    """QEMU was told over QMP to stop the processors, flush every disk, and end."""
    TERMINATE = "terminate"
    """QEMU was sent SIGTERM, on which it flushes too."""
    KILL = "kill"
    """QEMU was killed: what the guest had synchronised is safe, the rest is not."""


_SHOWN_LINES = 12
_PANIC = re.compile(r"Kernel panic - not syncing: (.*)")

_KILLS = (1, 2, 9, 15)
"""SIGHUP, SIGINT, SIGKILL, SIGTERM (signal(7)), of which Windows has not all names."""

PROCESSOR_FAILURE = "processor-failure"
"""An `ExitReport.reason` of our own: QEMU had paused a guest that cannot go on, and was ended."""

_REASONS = {
    PROCESSOR_FAILURE: "the accelerator could not go on executing the guest",
    # QMP's ShutdownCause (qapi/run-state.json) -> what it means on our machine.
    "guest-shutdown": "the guest switched itself off",
    "guest-reset": "the guest restarted itself, which is also what a kernel panic does",
    "guest-panic": "the guest's kernel panicked",
    "host-qmp-quit": "it was told to quit",
    "host-qmp-system-reset": "it was told to reset",
    "host-signal": "it was sent a signal",
    "host-error": "QEMU met an error of its own",
    "host-ui": "it was closed",
    "subsystem-reset": "a part of it restarted",
    "snapshot-load": "a snapshot was being loaded",
}


@dataclass(frozen=True)
class ExitReport:
    """The end of one machine."""

    exit_code: int
    """QEMU's, as `subprocess` has it: negative is the signal that ended it."""
    reason: str | None
    """QMP's ShutdownCause, "guest-reset" and so on, or PROCESSOR_FAILURE; None if not known."""
    requested: bool
    """Whether `VirtualMachine.shutdown` had been called."""
    rung: ShutdownRung | None
    """What ended it, if that was `shutdown`'s doing."""
    stderr_tail: str
    """The last of QEMU's standard error."""
    serial_tail: str
    """The last of the guest's console."""

    @property
    def signal(self) -> int | None:
        """The signal that ended QEMU, if one did."""
        return -self.exit_code if self.exit_code < 0 else None

    @property
    def was_killed(self) -> bool:
        """Whether somebody ended QEMU, by a signal: then neither it nor the guest is to blame."""
        return self.signal in _KILLS or self.reason == "host-signal"

    @property
    def cause(self) -> str:
        """Why it ended, in a few words."""
        panic = find_panic(self.serial_tail)
        if panic is not None:
            return f"the guest's kernel panicked: {panic}"
        if self.exit_code != 0:
            return f"QEMU {describe_exit_code(self.exit_code)}"
        if self.reason is None:
            return "QEMU ended without giving a reason"
        return _REASONS.get(self.reason, self.reason)

    @property
    def summary(self) -> str:
        """A message for the user: the cause, then the last words of QEMU and of the guest."""
        if self.requested:
            return f"the virtual machine was shut down ({self.cause})"
        parts = [f"the virtual machine ended unexpectedly: {self.cause}"]
        if self.stderr_tail.strip():
            parts.append(f"QEMU's last words:\n{last_lines(self.stderr_tail)}")
        if self.serial_tail.strip():
            parts.append(f"the guest's last words:\n{last_lines(_to_panic(self.serial_tail))}")
        return "\n".join(parts)

    @property
    def hint(self) -> str:
        """What the user can do."""
        if self.requested:
            return ""
        if self.signal == 9:
            return "signal 9 is often the host running out of memory: give the machine less"
        return "start it again; if it keeps ending, the serial log tells more"


def find_panic(serial: str) -> str | None:
    """What Linux gives as the reason of its panic (kernel/panic.c); None if there was none."""
    match = _PANIC.search(serial)
    return match[1].strip() if match is not None else None


def _to_panic(serial: str) -> str:
    """`serial` up to the panic, where what led to it stands; behind it is the register dump."""
    match = _PANIC.search(serial)
    return serial if match is None else serial[: match.end()]


def last_lines(text: str, count: int = _SHOWN_LINES) -> str:
    """The last `count` lines of `text`, indented by two spaces."""
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines()[-count:])
