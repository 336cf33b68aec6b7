"""Disks whose makers were killed: removed by the next service, the finished ones never."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.errors import ServiceError
from service.unfinished import Unfinished
from wire import failures

_NEVER_LEFT: list[object] = []


@pytest.fixture
def unfinished(tmp_path: Path) -> Unfinished:
    return Unfinished(tmp_path / "home" / "unfinished")


def notes(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "home" / "unfinished").iterdir())


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours runs after it."""


def interrupted(unfinished: Unfinished, path: Path) -> None:
    """Begin a disk, and never come back from it, as a killed service does."""
    making = unfinished.making(path)
    making.__enter__()
    _NEVER_LEFT.append(making)  # else it would be, as garbage
    path.write_bytes(b"half")


def test_what_a_killed_maker_has_left_is_removed(unfinished: Unfinished, tmp_path: Path) -> None:
    path = tmp_path / "new" / "ext4.qcow2"
    interrupted(unfinished, path)
    Unfinished(tmp_path / "home" / "unfinished").clean([])
    assert not path.parent.exists()
    assert notes(tmp_path) == []


def test_a_directory_that_was_there_stays(unfinished: Unfinished, tmp_path: Path) -> None:
    interrupted(unfinished, tmp_path / "ext4.qcow2")
    unfinished.clean([])
    assert not (tmp_path / "ext4.qcow2").exists()
    assert tmp_path.is_dir()


def test_what_is_registered_is_finished(unfinished: Unfinished, tmp_path: Path) -> None:
    path = tmp_path / "new" / "ext4.qcow2"
    interrupted(unfinished, path)
    unfinished.clean([path])
    assert path.read_bytes() == b"half"
    assert notes(tmp_path) == []


def test_a_lost_registry_costs_no_disk(unfinished: Unfinished, tmp_path: Path) -> None:
    path = tmp_path / "new" / "ext4.qcow2"
    interrupted(unfinished, path)
    unfinished.forget()
    unfinished.clean([])
    assert path.exists()


def test_success_leaves_the_disk_and_failure_nothing(
    unfinished: Unfinished, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good" / "ext4.qcow2", tmp_path / "bad" / "ext4.qcow2"
    with unfinished.making(good):
        good.write_bytes(b"whole")
    with pytest.raises(Killed), unfinished.making(bad):
        bad.write_bytes(b"half")
        raise Killed
    assert good.exists()
    assert not bad.parent.exists()
    assert notes(tmp_path) == []


def test_nothing_is_made_without_a_note(tmp_path: Path) -> None:
    (tmp_path / "home").write_bytes(b"a file where the directory should be")
    unfinished = Unfinished(tmp_path / "home" / "unfinished")
    with pytest.raises(ServiceError) as caught, unfinished.making(tmp_path / "new" / "disk"):
        pytest.fail("it was entered")
    assert caught.value.code == failures.IMPORT_FAILED
    assert "Nothing was done" in caught.value.hint
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("note", [b"", b"\0\xff{", b"[]", b"{}", b'{"path": 3}'])
def test_damaged_notes_are_dropped(unfinished: Unfinished, tmp_path: Path, note: bytes) -> None:
    directory = tmp_path / "home" / "unfinished"
    directory.mkdir(parents=True)
    (directory / "x.json").write_bytes(note)
    unfinished.clean([])
    assert notes(tmp_path) == []


def test_a_relative_path_is_nobodys(unfinished: Unfinished, tmp_path: Path) -> None:
    directory = tmp_path / "home" / "unfinished"
    directory.mkdir(parents=True)
    content = {"path": "ext4.qcow2", "own_directory": True}
    (directory / "x.json").write_text(json.dumps(content))
    unfinished.clean([])
    assert notes(tmp_path) == []
