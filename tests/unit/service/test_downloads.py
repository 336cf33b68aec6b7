"""Fetching lists and distributions: from servers and files that misbehave."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
from pathlib import Path

import pytest

from service import rootfs
from service.archives import open_tar
from service.downloads import MAX_MANIFEST_BYTES, download, local_path, read_manifest
from service.errors import ServiceError
from service.manifest import Download
from service.rootfs import BUILT_IN, DEBIAN, catalogue, find_source, obtain
from tests.unit.image.fake_archive import Mirror
from vm.image.fetch import Patience
from vm.image.progress import silent
from wire import failures

PATIENCE = Patience(stall_s=5, total_s=30, attempts=2, first_pause_s=0.001)
TAR = b"a tar" * 100_000


def listing(url: str, digest: str, name: str = "Arch") -> bytes:
    """A list with one distribution."""
    item = {"Name": name, "Default": True, "Amd64Url": {"Url": url, "Sha256": digest}}
    return json.dumps({"ModernDistributions": {"arch": [item]}}).encode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- lists -----------------------------------------------------------------------------------------


def test_a_list_from_a_server(web: Mirror) -> None:
    web.files["list.json"] = listing("https://x/a.wsl", sha256(TAR))
    manifest = read_manifest(f"{web.address}/list.json", PATIENCE)
    assert manifest.flavors[0].versions[0].name == "Arch"


def test_a_list_from_a_file_whose_name_is_encoded(tmp_path: Path) -> None:
    path = tmp_path / "my list.json"
    path.write_bytes(listing("https://x/a.wsl", sha256(TAR)))
    assert " " not in path.as_uri()
    assert read_manifest(path.as_uri()).flavors[0].name == "arch"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/y",
        "list.json",
        "/etc/passwd",
        "",
        "data:,x",
        "http://[",
        "file://other/x",
        "http://",
        "file:///nothing/there",
        "file:///dev/zero",
        "file:///a%00b",
        "http://\u00e4..b/x",
    ],
)
def test_addresses_that_no_list_can_be_at(url: str) -> None:
    with pytest.raises(ServiceError) as caught:
        read_manifest(url, PATIENCE)
    assert caught.value.code == failures.DOWNLOAD_FAILED
    assert "ISTHMUS_DISTRIBUTION_LIST" in caught.value.hint


def test_a_server_that_has_no_list(web: Mirror) -> None:
    with pytest.raises(ServiceError) as caught:
        read_manifest(f"{web.address}/list.json", PATIENCE)
    assert caught.value.code == failures.DOWNLOAD_FAILED
    assert "404" in caught.value.message
    assert "MIRROR" not in caught.value.hint  # nothing of Debian's archive


def test_a_list_that_does_not_end_is_refused(web: Mirror, tmp_path: Path) -> None:
    web.files["list.json"] = b" " * (MAX_MANIFEST_BYTES + 1)
    path = tmp_path / "list.json"
    path.write_bytes(web.files["list.json"])
    for url in (f"{web.address}/list.json", path.as_uri()):
        with pytest.raises(ServiceError) as caught:
            read_manifest(url, PATIENCE)
        assert caught.value.code == failures.INVALID_JSON


# -- files -----------------------------------------------------------------------------------------


@pytest.fixture(params=["server", "file"])
def url(request: pytest.FixtureRequest, web: Mirror, tmp_path: Path) -> str:
    """Where TAR can be fetched."""
    if request.param == "server":
        web.files["a.wsl"] = TAR
        return f"{web.address}/a.wsl"
    (tmp_path / "a.wsl").write_bytes(TAR)
    return (tmp_path / "a.wsl").as_uri()


def test_a_file_arrives_and_tells_how_far_it_is(url: str, tmp_path: Path) -> None:
    target = tmp_path / "got"
    reports: list[tuple[str, int, int]] = []

    def progress(label: str, done: int, total: int) -> None:
        reports.append((label, done, total))

    download(Download(url, sha256(TAR)), target, progress, "Downloading Arch", PATIENCE)
    assert target.read_bytes() == TAR
    assert reports[-1] == ("Downloading Arch", len(TAR), len(TAR))
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("digest", [sha256(b"other"), ""], ids=["wrong", "none"])
def test_a_wrong_digest_is_an_error_of_its_own(url: str, tmp_path: Path, digest: str) -> None:
    target = tmp_path / "got"
    with pytest.raises(ServiceError) as caught:
        download(Download(url, digest), target, silent, "", PATIENCE)
    assert caught.value.code == failures.BAD_DIGEST == "TRUST_E_BAD_DIGEST"
    assert not target.exists()
    assert not list(tmp_path.glob("*.part"))


def test_a_file_that_is_not_there(tmp_path: Path, web: Mirror) -> None:
    for url in (f"{web.address}/no", "file:///no/such", "file:///dev/zero", "http://\u00e4..b/x"):
        with pytest.raises(ServiceError) as caught:
            download(Download(url, sha256(TAR)), tmp_path / "got", silent, "", PATIENCE)
        assert caught.value.code == failures.DOWNLOAD_FAILED


def test_a_full_disk_is_told_as_such(url: str, tmp_path: Path) -> None:
    def progress(label: str, done: int, total: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ServiceError) as caught:
        download(Download(url, sha256(TAR)), tmp_path / "got", progress, "", PATIENCE)
    assert caught.value.code == failures.DISK_FULL


def test_who_gives_up_stops_the_download(url: str, tmp_path: Path) -> None:
    def progress(label: str, done: int, total: int) -> None:
        raise ServiceError(failures.SERVICE_LOST, "gone")

    with pytest.raises(ServiceError) as caught:
        download(Download(url, sha256(TAR)), tmp_path / "got", progress, "", PATIENCE)
    assert caught.value.code == failures.SERVICE_LOST


def test_file_addresses() -> None:
    assert local_path("file:///a/b%20c") == "/a/b c"
    assert local_path("file://localhost/a") == "/a"
    with pytest.raises(ValueError, match="another computer"):
        local_path("file://server/share")


# -- the catalogue ---------------------------------------------------------------------------------


def test_the_built_in_distribution_comes_first_and_needs_no_list(tmp_path: Path) -> None:
    unreachable = ["file:///no/such"]
    assert find_source("", unreachable) is DEBIAN
    assert find_source("dEbIaN", unreachable) is DEBIAN
    with pytest.raises(ServiceError) as caught:
        find_source("Arch", unreachable)
    assert caught.value.code == failures.DOWNLOAD_FAILED
    with pytest.raises(ServiceError):
        catalogue(unreachable)


def test_lists_add_to_what_is_built_in(tmp_path: Path) -> None:
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    first.write_bytes(listing("https://x/1", sha256(TAR)))
    second.write_bytes(listing("https://x/2", sha256(TAR), "debian"))
    lists = [first.as_uri(), second.as_uri()]
    assert [source.name for source in catalogue(lists)] == ["Debian", "Arch"]
    assert catalogue([]) == list(BUILT_IN)
    source = find_source("arch", lists)
    assert source.download == Download("https://x/1", sha256(TAR))
    assert find_source("Debian", lists) is DEBIAN


def test_an_unknown_name_says_where_known_ones_are() -> None:
    with pytest.raises(ServiceError) as caught:
        find_source("Plan9", [])
    assert caught.value.code == failures.DISTRO_NOT_FOUND
    assert "--list --online" in caught.value.hint
    assert "distributionListUrl" in caught.value.hint


def test_a_download_is_there_until_it_is_let_go_of(url: str, private_cache: Path) -> None:
    source = rootfs.RootfsSource("Arch", "Arch Linux", Download(url, sha256(TAR)))
    with contextlib.ExitStack() as keep:
        path = obtain(source, silent, keep)
        assert path.read_bytes() == TAR
        assert path.is_relative_to(private_cache)
    assert not path.exists()
    assert not [file for file in private_cache.rglob("*") if file.is_file()]


# -- reading what was fetched ----------------------------------------------------------------------


def test_the_outer_compression_is_undone_on_the_host(tmp_path: Path) -> None:
    path = tmp_path / "a.wsl"
    path.write_bytes(gzip.compress(TAR))
    with open_tar(path) as tar:
        got = bytearray()
        while data := tar.read(1 << 16):
            got += data
        assert bytes(got) == TAR
        assert tar.position == tar.size == path.stat().st_size


def test_what_only_the_guest_understands_is_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "a.wsl"
    path.write_bytes(b"\x28\xb5\x2f\xfd zstd")
    with open_tar(path) as tar:
        assert tar.read(100) == path.read_bytes()


@pytest.mark.parametrize("cut", [slice(0, -20), slice(0, 50)])
def test_a_damaged_archive_is_found_out(tmp_path: Path, cut: slice) -> None:
    path = tmp_path / "a.wsl"
    path.write_bytes(gzip.compress(os.urandom(10_000))[cut])
    with open_tar(path) as tar, pytest.raises(ServiceError) as caught:
        while tar.read(1 << 16):
            pass
    assert caught.value.code == failures.IMPORT_FAILED


def test_an_archive_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ServiceError) as caught, open_tar(tmp_path / "no"):
        pass
    assert caught.value.code == failures.FILE_NOT_FOUND
