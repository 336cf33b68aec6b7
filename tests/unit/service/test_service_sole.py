"""Only one service of a user runs: who holds the lock file is the one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from service.home import sole


def test_there_is_one_at_a_time(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with sole(path) as first:
        assert first
        with sole(path) as second:
            assert not second
        with sole(path) as third:  # that the second let go has not cost the first its lock
            assert not third
    with sole(path) as later:
        assert later


@pytest.mark.skipif(sys.platform == "win32", reason="it is filelock there")
def test_a_service_of_an_older_version_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileLock(path), sole(str(path)) as here:
        assert not here
    with sole(str(path)), pytest.raises(Timeout):
        FileLock(path, timeout=0).acquire()
