"""What users are told when the host cannot read or write a disk's image. Pure."""

from __future__ import annotations

from service.errors import ServiceError
from vm.events import DiskFailure
from wire import failures


def disk_failed(failure: DiskFailure) -> ServiceError:
    """The error for an operation on a disk that failed under it."""
    return ServiceError(
        failures.DISK_FULL if failure.is_full else failures.VM_FAILED,
        _what_failed(failure),
        hint="Nothing was kept of it. Free some space there and try again."
        if failure.is_full
        else "Nothing was kept of it. Is the disk it is on sound?",
    )


def stalled(failure: DiskFailure) -> ServiceError:
    """The error for a command that cannot run while the machine waits for space."""
    return ServiceError(
        failures.DISK_FULL,
        f"{_what_failed(failure)}, and Linux is paused",
        hint="Free some space there: Linux then goes on, and nothing is lost. "
        "`isthmus --shutdown --force` ends it instead.",
    )


def notice(failure: DiskFailure) -> str:
    """What is said at once to all who are connected."""
    if failure.pauses:
        error = stalled(failure)
        return f"{error.message}. {error.hint}"
    return f"{_what_failed(failure)}; Linux has been told of it"


def resumed(failure: DiskFailure) -> str:
    """What they are told afterwards."""
    return f"there is space for {failure.path} again: Linux goes on"


def _what_failed(failure: DiskFailure) -> str:
    if failure.is_full:
        return f"the host has no space left for {failure.path}"

    return f"the host could not {failure.operation} {failure.path}: {failure.reason}"
