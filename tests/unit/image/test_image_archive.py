"""The whole chain, and each of its links broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.image.fake_archive import FakeArchive, SigningKey
from vm.image.archive import ArchiveClient, Suite, suites
from vm.image.errors import (
    ArchiveUnreachable,
    DigestMismatch,
    IndexExpired,
    IndexMalformed,
    SignatureInvalid,
)
from vm.image.fetch import Patience

PATIENCE = Patience(stall_s=5, total_s=30, attempts=2, first_pause_s=0.001)
CONTENTS = b"contents of a package" * 1000


@pytest.fixture
def client(archive: FakeArchive, tmp_path: Path, now: datetime) -> ArchiveClient:
    directory = tmp_path / "downloads"
    return ArchiveClient(directory, keyring=archive.key.keyring, patience=PATIENCE, now=now)


def fetch_tool(client: ArchiveClient, archive: FakeArchive) -> Path:
    """Follow the chain from InRelease to the package "tool"."""
    package = client.index([archive.suite]).newest("tool")
    assert package is not None
    return client.packages([package])["tool"]


def test_a_package_is_fetched_over_the_whole_chain(
    client: ArchiveClient, archive: FakeArchive
) -> None:
    archive.add("tool", CONTENTS)
    archive.publish()
    path = fetch_tool(client, archive)
    assert path.read_bytes() == CONTENTS
    asked = [request for request, _ in archive.mirror.requests]
    fetch_tool(client, archive)  # indexes and packages are not fetched twice
    again = [request for request, _ in archive.mirror.requests][len(asked) :]
    assert again == ["dists/trixie/InRelease"]


def test_an_in_release_that_was_changed_is_refused(
    client: ArchiveClient, archive: FakeArchive
) -> None:
    archive.add("tool", CONTENTS)
    archive.publish()
    files = archive.mirror.files
    files["dists/trixie/InRelease"] = files["dists/trixie/InRelease"].replace(b"stable", b"sta8le")
    with pytest.raises(SignatureInvalid):
        fetch_tool(client, archive)
    assert [path for path, _ in archive.mirror.requests] == ["dists/trixie/InRelease"]


def test_an_in_release_signed_by_somebody_else_is_refused(
    client: ArchiveClient, archive: FakeArchive, make_key: Callable[[str], SigningKey]
) -> None:
    archive.add("tool", CONTENTS)
    archive.key = make_key("somebody")
    archive.publish()
    with pytest.raises(SignatureInvalid):
        fetch_tool(client, archive)


def test_a_package_index_that_was_changed_is_refused(
    client: ArchiveClient, archive: FakeArchive, tmp_path: Path
) -> None:
    archive.add("tool", CONTENTS)
    archive.publish()
    path = archive.index_path
    archive.mirror.files[path] = archive.mirror.files[path][:-1] + b"\0"
    with pytest.raises(DigestMismatch) as caught:
        fetch_tool(client, archive)
    assert caught.value.source.endswith(path)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_a_package_that_was_changed_is_refused(client: ArchiveClient, archive: FakeArchive) -> None:
    path = archive.add("tool", CONTENTS)
    archive.publish()
    archive.mirror.files[path] = CONTENTS.replace(b"contents", b"kontents")
    with pytest.raises(DigestMismatch) as caught:
        fetch_tool(client, archive)
    assert caught.value.source.endswith(path)
    assert "mirror" in caught.value.hint


def test_a_download_that_was_changed_on_the_disk_is_fetched_again(
    client: ArchiveClient, archive: FakeArchive
) -> None:
    archive.add("tool", CONTENTS)
    archive.publish()
    path = fetch_tool(client, archive)
    path.write_bytes(CONTENTS[::-1])
    assert fetch_tool(client, archive).read_bytes() == CONTENTS


def test_another_suite_under_this_ones_name_is_refused(
    client: ArchiveClient, archive: FakeArchive
) -> None:
    archive.publish()
    with pytest.raises(IndexExpired, match="'trixie', not 'forky'"):
        client.index([replace(archive.suite, codename="forky")])


def test_an_expired_in_release_is_refused(
    client: ArchiveClient, archive: FakeArchive, now: datetime
) -> None:
    archive.valid_until = now + timedelta(seconds=1)
    archive.publish()
    client.index([archive.suite])
    archive.valid_until = now - timedelta(seconds=1)
    archive.publish()
    with pytest.raises(IndexExpired, match="valid until"):
        client.index([archive.suite])


def test_an_in_release_from_the_future_is_refused(
    client: ArchiveClient, archive: FakeArchive, now: datetime
) -> None:
    archive.date = now + timedelta(days=2)
    archive.publish()
    with pytest.raises(IndexExpired, match="future"):
        client.index([archive.suite])


def test_an_in_release_without_the_package_index_is_refused(
    client: ArchiveClient, archive: FakeArchive
) -> None:
    archive.packages_path = "main/binary-arm64/Packages.xz"
    archive.publish()
    with pytest.raises(IndexMalformed):
        client.index([archive.suite])


def test_a_signed_index_that_is_no_index_is_refused(
    client: ArchiveClient, archive: FakeArchive
) -> None:
    archive.mirror.files["dists/trixie/InRelease"] = archive.key.clear_sign("Suite: stable\n")
    with pytest.raises(IndexMalformed):
        client.index([archive.suite])
    archive.paragraphs = ["Version: 1\n"]
    archive.publish()
    with pytest.raises(IndexMalformed):
        client.index([archive.suite])


def test_a_mirror_without_the_suite_is_unreachable(
    client: ArchiveClient, archive: FakeArchive
) -> None:
    with pytest.raises(ArchiveUnreachable, match="404"):
        client.index([archive.suite])


def test_progress_of_several_packages_adds_up(client: ArchiveClient, archive: FakeArchive) -> None:
    for number in range(6):
        archive.add(f"tool{number}", CONTENTS + bytes([number]))
    archive.publish()
    index = client.index([archive.suite])
    packages = [package for n in range(6) if (package := index.newest(f"tool{n}")) is not None]
    reports: list[tuple[str, int, int]] = []
    found = client.packages(packages, lambda *report: reports.append(report), "tools")
    total = 6 * (len(CONTENTS) + 1)
    assert reports[-1] == ("tools", total, total)
    assert sorted(found) == [f"tool{n}" for n in range(6)]


def test_mirrors_come_from_the_environment() -> None:
    default = "http://deb.debian.org/debian"
    assert [suite.archive for suite in suites({})] == [default, default + "-security"]
    near = suites({"ISTHMUS_DEBIAN_MIRROR": "http://near/debian/"})
    assert near == (
        Suite("http://near/debian", "trixie", "trixie"),
        Suite("http://near/debian-security", "trixie-security", "trixie-security"),
    )
    assert len(suites({"ISTHMUS_DEBIAN_MIRROR": "http://near/mirror"})) == 1
    assert len(suites({"ISTHMUS_DEBIAN_SECURITY_MIRROR": ""})) == 1
    apart = suites({"ISTHMUS_DEBIAN_SECURITY_MIRROR": "http://far/sec"})
    assert apart[1].address == "http://far/sec/dists/trixie-security"
