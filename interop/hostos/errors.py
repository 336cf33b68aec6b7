"""Errors of starting Windows programs."""

from __future__ import annotations

import errno


class HostError(Exception):
    """Root of what this package raises. `number` is the errno(3) value for the Linux caller.

    `is_plain`: that number says all there is to say.
    """

    is_plain = False

    def __init__(self, message: str, *, hint: str = "", number: int = errno.EINVAL) -> None:
        super().__init__(message)
        self.hint = hint
        self.number = number


class NoWindowsError(HostError):
    """This host runs no Windows programs."""

    def __init__(self) -> None:
        super().__init__(
            "no Windows here: this host runs no Windows programs",
            hint="Install Wine (Debian: apt install wine) to run them on Linux, and let "
            "`wineboot` make its drive C.",
            number=errno.ENOEXEC,
        )


class ProgramNotFoundError(HostError):
    """`path` is no file that could be started."""

    is_plain = True

    def __init__(self, path: str, number: int = errno.ENOENT) -> None:
        super().__init__(f"'{path}' is no program that can be started", number=number)
        self.path = path
