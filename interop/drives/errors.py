"""Errors of the drive server. A failed file operation is an OSError, answered with its errno."""

from __future__ import annotations


class DriveError(Exception):
    """Root of what ends or prevents a drive's mount; `hint` says what the user can do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ProtocolError(DriveError):
    """The peer sent what no Linux kernel sends; the mount that it came from has to end.

    `opcode` is the request's, or -1 where it could not be read.
    """

    def __init__(self, reason: str, *, opcode: int = -1) -> None:
        super().__init__(f"malformed FUSE request (opcode {opcode}): {reason}")
        self.reason = reason
        self.opcode = opcode


class VersionError(DriveError):
    """The guest's kernel speaks a FUSE protocol that is older than 7.31 or of another major."""

    def __init__(self, major: int, minor: int) -> None:
        super().__init__(
            f"the kernel speaks FUSE {major}.{minor}, and drives need 7.31 or later",
            hint="Use Linux 5.4 or later in the virtual machine.",
        )
        self.major = major
        self.minor = minor


class OptionError(DriveError):
    """A mount option is unknown to drives or has a value that it cannot have."""

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(
            f"mount option '{option}' {reason}",
            hint="Options: metadata, uid=N, gid=N, umask=OCTAL, fmask=OCTAL, dmask=OCTAL, "
            "case=off|dir|force, symlinkroot=PATH, ro.",
        )
        self.option = option
        self.reason = reason


class SourceError(DriveError):
    """`source` names no directory of the host's that could be mounted."""

    def __init__(self, source: str, reason: str, *, hint: str = "") -> None:
        super().__init__(f"'{source}' {reason}", hint=hint)
        self.source = source
