"""What the process ends with (docs/commands.md, "Exit status"). Plain data and pure functions.

A Linux command's own status passes through, so Isthmus's failures sit at the top of the range,
where ordinary programs do not go. `enum` is avoided: its import is a tenth of a whole `lx`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from typing import Final

OK: Final = 0
EXEC_FAILED: Final = 126
EXEC_NOT_FOUND: Final = 127
SIGNAL_BASE: Final = 128
MACHINE_LOST: Final = 252
SERVICE_LOST: Final = 253
USAGE: Final = 254
FAILED: Final = 255

TABLE: tuple[tuple[str, str, str], ...] = (
    ("0-255", "", "the Linux command's own exit status, unchanged"),
    ("126", "EXEC_FAILED", "`--exec`: the program was found but could not be started"),
    ("127", "EXEC_NOT_FOUND", "`--exec`: there is no such program"),
    ("128+n", "SIGNAL_BASE", "the Linux command was killed by signal n"),
    ("252", "MACHINE_LOST", "the virtual machine died while the command ran"),
    (
        "253",
        "SERVICE_LOST",
        "the service could not be reached, or went away in the middle",
    ),
    ("254", "USAGE", "the command line is wrong; nothing was done"),
    (
        "255",
        "FAILED",
        "every other failure of Isthmus; wsl.exe ends with -1, which is the same byte",
    ),
)
"""Every status for the reader: value, name, meaning. A test holds it against the constants."""

_OF_FAILURE: dict[str, int] = {
    "ISTHMUS_E_EXEC_NOT_FOUND": EXEC_NOT_FOUND,
    "ISTHMUS_E_EXEC": EXEC_FAILED,
    "WSL_E_VM_CRASHED": MACHINE_LOST,
    "ISTHMUS_E_SERVICE": SERVICE_LOST,
}
"""Names of wire.failures that have a status of their own. As text: failures are rare and
importing their module is not free; a test holds the two together."""


def status_of_signal(number: int) -> int:
    """The status for a Linux command that signal `number` has killed.

    wsl.exe gives the raw wait status (9 for SIGKILL), which cannot be told from an ordinary
    exit; POSIX shells, and the tools that read their status, have 128+n.
    """
    return SIGNAL_BASE + number


def status_of_failure(code: str) -> int:
    """The status for a failure by its name in wire.failures."""
    return _OF_FAILURE.get(code, FAILED)
