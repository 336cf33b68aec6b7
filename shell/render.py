"""What the user reads: every text as a plain string, ending in a newline. Pure.

Rows and columns are wsl.exe's, because scripts parse them. Nothing that came from outside
reaches a terminal as it is: see harmless().
"""

from __future__ import annotations

import unicodedata

from shell.errorpath import context_of, error_path
from shell.errors import NothingListedError, UsageError
from wire.failures import NO_DEFAULT_DISTRO

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from shell.errors import ShellError
    from shell.invocations import Invocation, ListCommand
    from wire.client import Distribution, ForwardedPort, StatusReport, Updated
    from wire.codec import Message
    from wire.common import Failure

SUCCESS = "The operation completed successfully.\n"
DEFAULT_VERSION = 2
STATE_WIDTH = 16
NAME_GAP = 4
TRANSITIONAL = frozenset({"Installing", "Uninstalling", "Converting", "Exporting"})
"""States in which a distribution is listed with --all (or --verbose) only."""

_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories (UAX #44 §5.7.1) that steer a terminal, hide text or are no text."""


class _Escapes(dict[int, str]):
    """A str.translate table: harmful characters become Python's escapes, others stay."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if unicodedata.category(character) not in _HARMFUL:
            result = character
        elif 0xDC80 <= code <= 0xDCFF:
            result = f"\\x{code - 0xDC00:02x}"  # a byte, by surrogateescape
        elif code < 0x100:
            result = f"\\x{code:02x}"
        else:
            result = f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
        self[code] = result
        return result


_LINE = _Escapes()
_TEXT = _Escapes({ord("\n"): "\n", ord("\t"): "\t"})


def harmless(text: str, *, lines: bool = False) -> str:
    """`text` with every control, formatting and unpaired character written as an escape.

    Line ends and tabs are kept with `lines` only. The result always encodes as UTF-8.
    """
    return text.replace("\r\n", "\n").translate(_TEXT) if lines else text.translate(_LINE)


def error(error: ShellError) -> str:
    """A failure of our own, for standard error."""
    usage = ""
    if isinstance(error, UsageError) and error.topic:
        from shell.usage import synopsis

        usage = f"Usage: {synopsis(error.topic)}"
    return _failure(error.message, usage, error.hint, error_path(error.context, error.code))


def failure(failure: Failure, invocation: Invocation) -> str:
    """The failure that `invocation` has ended in, for standard error."""
    path = error_path(context_of(invocation, failure.code), failure.code)
    return _failure(failure.message, "", failure.hint, path)


def _failure(message: str, usage: str, hint: str, path: str) -> str:
    """Message, how to use the sub-command, what to do about it, code; each where there is one."""
    lines = [harmless(part, lines=True).rstrip("\n") for part in (message, usage, hint) if part]
    if path:
        lines.append(f"Error code: {harmless(path)}")
    return "\n".join(lines) + "\n"


def warning(text: str) -> str:
    """A warning, for standard error."""
    return f"isthmus: {harmless(text)}\n"


def installed(name: str) -> str:
    """A distribution has been installed."""
    shown = harmless(name)
    return f"Distribution successfully installed. It can be launched via 'isthmus -d {shown}'\n"


def launching(name: str) -> str:
    """A distribution starts for the first time."""
    return f"Launching {harmless(name)}...\n"


def listing(command: ListCommand, distributions: Sequence[Distribution]) -> str:
    """`--list` without --online. Raises NothingListedError, which wsl.exe counts as a failure."""
    rows = sorted(distributions, key=lambda row: not row.is_default)
    if command.running:
        rows = [row for row in rows if row.state == "Running"]
    if not (command.all or command.verbose):
        rows = [row for row in rows if row.state not in TRANSITIONAL]
    if command.json:
        return _json([_distribution_fields(row) for row in rows])
    if command.quiet:
        return "".join(f"{harmless(row.name)}\n" for row in rows)
    if not rows:
        raise _nothing_listed(command)
    if command.verbose:
        return _verbose(rows)
    names = [harmless(row.name) + (" (Default)" if row.is_default else "") for row in rows]
    return "Isthmus Distributions:\n" + "".join(f"{name}\n" for name in names)


def _nothing_listed(command: ListCommand) -> NothingListedError:
    if command.running:
        return NothingListedError("There are no running distributions.")
    return NothingListedError(
        "Isthmus has no installed distributions.",
        "`isthmus --install` installs one; `isthmus --list --online` shows which there are.",
        code=NO_DEFAULT_DISTRO,
    )


def _verbose(rows: Sequence[Distribution]) -> str:
    names = [harmless(row.name) for row in rows]
    width = max(map(len, ["NAME", *names])) + NAME_GAP
    lines = [f"  {'NAME':<{width}}{'STATE':<{STATE_WIDTH}}VERSION"]
    for row, name in zip(rows, names, strict=True):
        mark = "*" if row.is_default else " "
        state = harmless(row.state)
        lines.append(f"{mark} {name:<{width}}{state:<{STATE_WIDTH}}{row.version}")
    return "\n".join(lines) + "\n"


def _distribution_fields(row: Distribution) -> dict[str, Any]:
    """The keys are an interface: they are added to, never renamed."""
    return {
        "name": row.name,
        "id": row.identity,
        "state": row.state,
        "version": row.version,
        "default": row.is_default,
        "flavor": row.flavor,
        "os_version": row.os_version,
        "disk_bytes": row.disk_bytes,
    }


def online(command: ListCommand, catalogue: Sequence[tuple[str, str]]) -> str:
    """`--list --online`: pairs of the name to install by and the name for people."""
    if command.json:
        return _json([{"name": name, "friendly_name": friendly} for name, friendly in catalogue])
    pairs = [(harmless(name), harmless(friendly)) for name, friendly in catalogue]
    if command.quiet:
        return "".join(f"{name}\n" for name, _ in pairs)
    width = max(map(len, ["NAME", *(name for name, _ in pairs)])) + NAME_GAP
    rows = [("NAME", "FRIENDLY NAME"), *pairs]
    return "These distributions can be installed, by `isthmus --install NAME`:\n\n" + "".join(
        f"{name:<{width}}{friendly}\n" for name, friendly in rows
    )


def status(report: StatusReport) -> str:
    """`--status`. What is not known has no line."""
    qemu = ", machine ".join(part for part in (report.qemu, report.machine) if part)
    accelerator = report.accelerator
    if accelerator and report.accelerator_note:
        accelerator += f" ({report.accelerator_note})"
    lines = [
        ("Default Distribution", report.default_distribution),
        ("Default Version", str(DEFAULT_VERSION)),
        ("Virtual machine", report.machine_state),
        ("Accelerator", accelerator),
        ("QEMU", qemu),
        ("Kernel", report.kernel),
        ("Memory", f"{report.memory_mib} MiB" if report.memory_mib else ""),
        ("Processors", str(report.processors or "")),
        ("Network", ", ".join((report.networking_mode, *report.addresses))),
        ("Ports at localhost", ports(report.forwards)),
        *(
            (f"Port {port_name(forward)} is not at localhost", forward.problem)
            for forward in report.forwards
            if forward.problem
        ),
        *(
            (f"Drive {drive.source} at {drive.place} of {drive.distribution}", drive.state)
            for drive in report.drives
        ),
        ("Service process", str(report.service_pid or "")),
        ("QEMU process", str(report.qemu_pid or "")),
        ("State directory", report.directory),
        *(("Warning", warning) for warning in report.warnings),
    ]
    return "".join(f"{harmless(label)}: {harmless(value)}\n" for label, value in lines if value)


def ports(forwards: Iterable[ForwardedPort]) -> str:
    """The ports that are forwarded, as `80, 443, 53/udp`."""
    return ", ".join(port_name(forward) for forward in forwards if not forward.problem)


def port_name(forward: ForwardedPort) -> str:
    """A port's number, and its protocol unless that is TCP."""
    return f"{forward.number}{'' if forward.protocol == 'tcp' else '/' + forward.protocol}"


def status_json(report: StatusReport) -> str:
    """`--status --json`: every field of the report, known or not."""
    fields = _fields(report)
    for name in ("forwards", "drives"):
        fields[name] = [_fields(part) for part in fields[name]]
    return _json(fields)


def _fields(message: Message) -> dict[str, Any]:
    return {field: getattr(message, field) for field in message._fields}


def version(client_version: str, report: StatusReport | None = None) -> str:
    """`--version`; `report` is None where no service could be asked."""
    lines = [("Isthmus", client_version or "unknown")]
    if report is not None:
        if report.version != client_version:
            lines.append(("Service", report.version))
        lines += [("Kernel", report.kernel), ("QEMU", report.qemu)]
    return "".join(f"{label} version: {harmless(value)}\n" for label, value in lines if value)


def updated(result: Updated) -> str:
    """What `--update` has brought."""
    kernel = harmless(result.kernel)
    if not result.is_new:
        return f"The newest kernel is in use already: {kernel}\n"
    kept = f"{harmless(result.previous)} is kept, for the case that it does not start.\n"
    return f"Kernel {kernel} will be used from the next start on.\n" + (
        kept if result.previous else ""
    )


def _json(value: Any) -> str:
    """Readable JSON; ASCII only, so nothing in it can steer a terminal."""
    import json

    return json.dumps(value, indent=2) + "\n"
