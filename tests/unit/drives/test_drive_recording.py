"""What is replayed where reports come late: of before what the guest has found or made since."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.drives.changes import CREATED, REMOVED, Change
from interop.drives.constants import ROOT_ID
from interop.drives.recording import Recorder
from interop.drives.replay import Replays

if sys.platform == "win32":
    pytest.skip("POSIX hosts only", allow_module_level=True)
assert sys.platform != "win32"

from interop.drives.backend_posix import PosixBackend  # noqa: E402

NOW = 1e9
FILE = b"file"


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[PosixBackend]:
    (tmp_path / "file").touch()
    backend = PosixBackend(tmp_path)
    yield backend
    backend.close()


def recorded(drive: PosixBackend, *kinds: int, is_late: bool = True) -> list[int]:
    """The kinds of what is to be replayed of changes to FILE."""
    replays = Replays()
    recorder = Recorder(replays, drive.watches, drive, lambda: None, is_late=is_late)
    for kind in kinds:
        recorder.record(Change(ROOT_ID, FILE, kind), NOW)
    return [instruction.kind for instruction in replays._waiting if instruction.kind]


def test_a_file_that_was_found_before_it_was_reported_is_only_new(drive: PosixBackend) -> None:
    drive.lookup(ROOT_ID, FILE)
    assert recorded(drive, CREATED) == [CREATED]
    assert recorded(drive, CREATED, is_late=False) == [REMOVED, CREATED]


def test_a_file_that_has_been_made_again_is_not_removed(drive: PosixBackend) -> None:
    drive.lookup(ROOT_ID, FILE)
    assert recorded(drive, REMOVED) == []
    assert recorded(drive, REMOVED, is_late=False) == [REMOVED]


def test_a_file_in_the_place_of_a_known_one_is_another(drive: PosixBackend, tmp_path: Path) -> None:
    drive.lookup(ROOT_ID, FILE)
    (tmp_path / "other").touch()
    os.rename(tmp_path / "other", tmp_path / "file")
    assert recorded(drive, CREATED) == [REMOVED, CREATED]
