"""Whose files, and who may serve them, on POSIX hosts. Loaded before anything else is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Iterator

assert sys.platform != "win32"


def current_user() -> str:
    """What tells users apart in names of shared directories; shell.endpoint_posix has the same."""
    return str(os.getuid())


def make_home(path: str) -> None:
    """Create the state directory for this user alone; one that is there stays as it is."""
    os.makedirs(path, mode=0o700, exist_ok=True)


@contextlib.contextmanager
def sole(path: str) -> Iterator[bool]:
    """Hold the lock file `path`; whether nobody else holds it. Raises OSError.

    As filelock does it, whose modules take longer than the rest of this. The system drops the lock
    of a process that dies.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
