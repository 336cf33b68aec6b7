"""Downloads against a server that misbehaves."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.unit.image.fake_archive import Mirror
from vm.image.errors import ArchiveUnreachable, DigestMismatch
from vm.image.fetch import Patience, fetch_bytes, fetch_file
from vm.image.index import IndexedFile

PATIENCE = Patience(stall_s=5, total_s=30, attempts=3, first_pause_s=0.001)
BODY = bytes(range(256)) * 4000


def expected(body: bytes = BODY) -> IndexedFile:
    return IndexedFile("file", len(body), hashlib.sha256(body).hexdigest())


def fetch(mirror: Mirror, target: Path, file: IndexedFile | None = None) -> list[tuple[int, int]]:
    """Fetch /file to `target`; returns the progress reported."""
    reports: list[tuple[int, int]] = []
    fetch_file(
        f"{mirror.address}/file",
        target,
        file or expected(),
        progress=lambda label, done, total: reports.append((done, total)),
        patience=PATIENCE,
    )
    return reports


def test_a_file_arrives_whole_and_progress_ends_at_its_size(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["file"] = BODY
    reports = fetch(mirror, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["got"]
    assert reports[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


def test_a_dropped_connection_is_continued_where_it_stopped(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["file"] = BODY
    mirror.cut_after["file"] = [300_000, 200_000]
    fetch(mirror, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY
    assert mirror.requests == [("file", ""), ("file", "bytes=300000-"), ("file", "bytes=500000-")]


def test_what_an_earlier_run_has_left_is_continued(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["file"] = BODY
    (tmp_path / "got.part").write_bytes(BODY[:1000])
    fetch(mirror, tmp_path / "got")
    assert mirror.requests == [("file", "bytes=1000-")]
    (tmp_path / "again.part").write_bytes(BODY)  # complete, but not yet checked
    fetch(mirror, tmp_path / "again")
    assert len(mirror.requests) == 1


def test_a_server_without_ranges_starts_over(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["file"] = BODY
    mirror.without_ranges = True
    mirror.cut_after["file"] = [300_000]
    fetch(mirror, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY


def test_a_leftover_that_is_too_long_starts_over(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["file"] = BODY
    (tmp_path / "got.part").write_bytes(BODY + b"more")
    fetch(mirror, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY


def test_a_busy_server_is_asked_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["file"] = BODY
    mirror.statuses["file"] = [503, 500]
    fetch(mirror, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY


def test_after_the_last_attempt_it_is_given_up(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["file"] = BODY
    mirror.statuses["file"] = [503] * 5
    with pytest.raises(ArchiveUnreachable) as caught:
        fetch(mirror, tmp_path / "got")
    assert caught.value.attempts == 3
    assert "503" in caught.value.reason
    assert len(mirror.requests) == 3


def test_a_missing_file_is_not_asked_for_twice(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(ArchiveUnreachable) as caught:
        fetch(mirror, tmp_path / "got")
    assert caught.value.attempts == 1
    assert "ISTHMUS_DEBIAN_MIRROR" in caught.value.hint


def test_nobody_listening_is_unreachable(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(ArchiveUnreachable):
        fetch_bytes("http://127.0.0.1:1/file", 10, PATIENCE)
    with pytest.raises(ArchiveUnreachable):
        fetch_bytes("http://name.invalid/file", 10, PATIENCE)


@pytest.mark.parametrize(
    "body", [BODY[:-1] + b"\0", BODY + b"more", b"", BODY[:-1]], ids=["bit", "long", "no", "short"]
)
def test_another_file_is_refused_and_leaves_nothing(
    mirror: Mirror, tmp_path: Path, body: bytes
) -> None:
    mirror.files["file"] = body
    with pytest.raises(DigestMismatch):
        fetch(mirror, tmp_path / "got")
    assert list(tmp_path.iterdir()) == []
    mirror.files["file"] = BODY  # the mirror has recovered
    fetch(mirror, tmp_path / "got")


def test_a_damaged_leftover_is_found_out_and_removed(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["file"] = BODY
    (tmp_path / "got.part").write_bytes(b"\0" * 1000)
    with pytest.raises(DigestMismatch):
        fetch(mirror, tmp_path / "got")
    assert list(tmp_path.iterdir()) == []


def test_a_short_document_is_fetched_whole_or_refused(mirror: Mirror) -> None:
    mirror.files["file"] = BODY
    mirror.cut_after["file"] = [10, 20]
    assert fetch_bytes(f"{mirror.address}/file", len(BODY), PATIENCE) == BODY
    with pytest.raises(DigestMismatch):
        fetch_bytes(f"{mirror.address}/file", len(BODY) - 1, PATIENCE)
