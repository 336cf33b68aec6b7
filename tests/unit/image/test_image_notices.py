"""What a release says about its packages and their sources."""

from __future__ import annotations

import json

import pytest

from vm.image.notices import shipped, source_offer, spdx_document
from vm.image.resolution import Pinned

LIBRARY = Pinned("libfoo1", "1:2.0-3+b1", "http://mirror/pool/f/libfoo1.deb", 10, "ab" * 32)
KERNEL = Pinned("linux-source-6.12", "6.12.1-1", "http://mirror/pool/l/linux.deb", 20, "cd" * 32)


@pytest.mark.parametrize(
    ("control", "source", "version"),
    [
        ({}, "libfoo1", "1:2.0-3+b1"),
        ({"source": "foo"}, "foo", "1:2.0-3+b1"),
        ({"source": "foo (1:2.0-3)"}, "foo", "1:2.0-3"),
    ],
)
def test_the_source_is_the_one_that_the_control_file_names(
    control: dict[str, str], source: str, version: str
) -> None:
    item = shipped(LIBRARY, control)
    assert (item.source, item.source_version) == (source, version)
    assert item.source_address.endswith(f"/{source}/{version}/")


def test_the_document_names_every_package_with_its_digest() -> None:
    document = spdx_document("x-1", "2026-01-01T00:00:00Z", [shipped(LIBRARY, {})])
    (package,) = json.loads(json.dumps(document))["packages"]
    assert package["versionInfo"] == LIBRARY.version
    assert package["checksums"] == [{"algorithm": "SHA256", "checksumValue": LIBRARY.sha256}]
    assert package["externalRefs"][0]["referenceLocator"] == (
        "pkg:deb/debian/libfoo1@1%3A2.0-3+b1?arch=amd64"
    )
    assert document["relationships"]


def test_the_offer_tells_a_tuned_kernel_from_debians() -> None:
    tuned = source_offer("6.12.1-isthmus", [shipped(LIBRARY, {"source": "foo"})], KERNEL)
    assert KERNEL.sha256 in tuned
    assert "patches/" in tuned
    assert "| libfoo1 | 1:2.0-3+b1 | foo 1:2.0-3+b1 |" in tuned
    plain = source_offer("6.12.1-amd64", [], None)
    assert "Debian's own kernel, unchanged: 6.12.1-amd64" in plain
