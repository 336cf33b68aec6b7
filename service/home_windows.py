"""Whose files, and who may serve them, on Windows."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from service import private_windows

assert sys.platform == "win32"


def current_user() -> str:
    """What tells users apart in names of shared directories."""
    return os.environ.get("USERNAME", "")


@contextlib.contextmanager
def sole(path: str) -> Iterator[bool]:
    """Hold the lock file `path`; whether nobody else holds it. Raises OSError."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def make_home(path: str) -> None:
    """Create the state directory for this user alone; one that is there stays as it is."""
    if not os.path.isdir(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        private_windows.make_private_directory(path)
