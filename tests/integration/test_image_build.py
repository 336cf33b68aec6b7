"""Building the image from the real archive: the chain, the cache, the same result twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from vm.image import signature
from vm.image.archive import ArchiveClient, suites
from vm.image.cache import Cache, check_manifest
from vm.image.digest import digest_file
from vm.image.errors import DigestMismatch, SignatureInvalid
from vm.image.fetch import fetch_bytes
from vm.image.index import IndexedFile, Package
from vm.image.prepare import prepare
from vm.image.resolution import fetch_resolution
from vm.spec import KernelOrigin

pytestmark = [pytest.mark.network, pytest.mark.timeout(900)]


def test_the_real_chain_from_the_shipped_keys_to_a_package(tmp_path: Path) -> None:
    client = ArchiveClient(tmp_path)
    resolution = fetch_resolution(client, suites())
    assert resolution.kernel.name.startswith("linux-image-6.12.")
    assert (
        resolution.kernel.version.partition("-")[0] == resolution.source.version.partition("-")[0]
    )
    busybox = resolution.named("busybox-static").package
    path = client.packages([busybox])["busybox-static"]
    assert digest_file(path) == busybox.file.sha256


def test_the_real_index_with_one_byte_changed_is_refused() -> None:
    url = f"{suites()[0].address}/InRelease"
    signed = fetch_bytes(url, 8 << 20)
    assert signature.verify_clear_signed(signed, url)
    for position in (100, len(signed) // 2):
        tampered = signed[:position] + bytes([signed[position] ^ 1]) + signed[position + 1 :]
        with pytest.raises(SignatureInvalid):
            signature.verify_clear_signed(tampered, url)


def test_a_real_package_under_another_ones_digest_is_refused(tmp_path: Path) -> None:
    client = ArchiveClient(tmp_path)
    index = client.index(suites())
    package = index.newest("busybox-static")
    assert package is not None
    file = IndexedFile(package.file.path, package.file.size, "0" * 64)
    with pytest.raises(DigestMismatch):
        client.packages([Package(package.name, "1", "amd64", file, archive=package.archive)])
    assert not (tmp_path / ("0" * 64)).exists()


def test_an_image_from_nothing_then_at_once_then_again_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ISTHMUS_IMAGE", raising=False)
    cache = Cache(tmp_path / "cache")
    labels: list[str] = []
    image = prepare(lambda label, done, total: labels.append(label), cache=cache)
    assert image.origin is KernelOrigin.DEBIAN
    assert {"package index of trixie", "packages from Debian", "making the system image"} <= set(
        labels
    )
    assert check_manifest(image.system.parent, {})[1] == ""
    digest = digest_file(image.system)

    monkeypatch.setenv("ISTHMUS_DEBIAN_MIRROR", "http://127.0.0.1:1/debian")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert prepare(cache=cache) == image  # without network and tools

    monkeypatch.undo()
    image.system.write_bytes(b"damaged")
    again = prepare(cache=cache)  # rebuilt, never booted
    assert again == image
    assert digest_file(again.system) == digest
