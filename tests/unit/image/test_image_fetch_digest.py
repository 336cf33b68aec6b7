"""Downloads of which only the digest is known beforehand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.unit.image.fake_archive import Mirror
from vm.image.errors import ArchiveUnreachable, DigestMismatch
from vm.image.fetch import Patience, fetch_by_digest

PATIENCE = Patience(stall_s=5, total_s=30, attempts=3, first_pause_s=0.001)
BODY = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(BODY).hexdigest()


def fetch(mirror: Mirror, target: Path, limit: int = 10**7) -> list[tuple[int, int]]:
    """Fetch /file to `target`; returns the progress reported."""
    reports: list[tuple[int, int]] = []
    fetch_by_digest(
        f"{mirror.address}/file",
        target,
        DIGEST,
        limit,
        progress=lambda label, done, total: reports.append((done, total)),
        patience=PATIENCE,
    )
    return reports


def test_it_arrives_whole_and_the_server_says_how_long_it_is(
    mirror: Mirror, tmp_path: Path
) -> None:
    mirror.files["file"] = BODY
    reports = fetch(mirror, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["got"]
    assert {total for _, total in reports} == {len(BODY)}
    assert reports[-1] == (len(BODY), len(BODY))


def test_a_dropped_connection_is_continued(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["file"] = BODY
    mirror.cut_after["file"] = [300_000]
    reports = fetch(mirror, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY
    assert mirror.requests == [("file", ""), ("file", "bytes=300000-")]
    assert {total for _, total in reports} == {len(BODY)}


def test_a_complete_leftover_is_recognised_by_its_digest(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["file"] = BODY
    (tmp_path / "got.part").write_bytes(BODY)
    fetch(mirror, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == BODY
    assert mirror.requests == [("file", f"bytes={len(BODY)}-")]


@pytest.mark.parametrize("body", [BODY[:-1] + b"\0", BODY[:-1], b""], ids=["bit", "short", "no"])
def test_another_file_is_refused_and_leaves_nothing(
    mirror: Mirror, tmp_path: Path, body: bytes
) -> None:
    mirror.files["file"] = body
    with pytest.raises(DigestMismatch) as caught:
        fetch(mirror, tmp_path / "got")
    assert caught.value.expected == DIGEST
    assert caught.value.actual == hashlib.sha256(body).hexdigest()
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_limit_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["file"] = BODY
    with pytest.raises(DigestMismatch):
        fetch(mirror, tmp_path / "got", limit=len(BODY) - 1)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(ArchiveUnreachable):
        fetch(mirror, tmp_path / "got")
