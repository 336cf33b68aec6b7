"""Errors of the service: each becomes a wire.common.Failure for the client."""

from __future__ import annotations

from vm.errors import VmError
from wire import failures
from wire.common import Failure


class ServiceError(Exception):
    """A client's request cannot be carried out.

    `code` is a name from wire.failures; `message` says what failed, `hint` what to do. `partial`
    is set where something was done before it failed.
    """

    def __init__(self, code: str, message: str, *, hint: str = "", partial: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.partial = partial

    def to_failure(self) -> Failure:
        """The reply that tells the client."""
        return Failure(code=self.code, message=self.message, hint=self.hint, partial=self.partial)

    @classmethod
    def from_failure(cls, failure: Failure) -> ServiceError:
        """The error that a peer's Failure stands for."""
        return cls(failure.code, failure.message, hint=failure.hint, partial=failure.partial)


class LinkLost(ServiceError):
    """The agent, or the whole machine, went away while a request was under way.

    Its outcome is unknown.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(failures.VM_CRASHED, message, hint=hint, partial=True)


class AlreadyRunning(ServiceError):
    """Another service of the same user holds the lock."""

    def __init__(self) -> None:
        super().__init__(failures.BUSY, "another Isthmus service is already running")


def is_full(error: OSError | VmError) -> bool:
    """Whether the host has no space left (ENOSPC), as the system or a program of QEMU's says."""
    return "No space left" in str(error)


def of_vm(error: VmError, code: str = failures.VM_FAILED) -> ServiceError:
    """The QEMU core's error as the client's: `code`, unless the host's disk is full."""
    if is_full(error):
        code = failures.DISK_FULL
    return ServiceError(code, error.message, hint=error.hint)


def unknown_distribution(name: str) -> ServiceError:
    """No distribution is called `name`."""
    return ServiceError(
        failures.DISTRO_NOT_FOUND,
        f'There is no distribution with the supplied name: "{name}".',
        hint="`isthmus --list` shows those installed, `isthmus --install NAME` adds one.",
    )


def no_default_distribution() -> ServiceError:
    """A command was given, but there is nothing to run it in."""
    return ServiceError(
        failures.NO_DEFAULT_DISTRO,
        "No distribution is installed.",
        hint="`isthmus --install` installs the default one.",
    )
