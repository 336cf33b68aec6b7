"""What a release says about its packages and their sources."""

from __future__ import annotations

import json
import re

import pytest

from vm.image.notices import copyright_file, shipped, source_offer, spdx_document
from vm.image.resolution import Pinned
from vm.image.tree import File, Link, Node, Tree

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


def documents(**nodes: dict[str, Node]) -> dict[str, Tree]:
    """Trees of /usr/share/doc by package."""
    trees = {}
    for package, files in nodes.items():
        trees[package] = Tree()
        for name, node in files.items():
            trees[package].add(f"usr/share/doc/{name}", node)
    return trees


def test_a_copyright_file_is_found_through_the_links_of_its_source() -> None:
    text = File(0o644, b"GPL-3")
    packages = documents(
        base={"base/copyright": text},
        lib={"lib": Link("base")},
        dev={"dev": Link("/usr/share/doc/lib")},
        file={"file/copyright": Link("copyright.txt"), "file/copyright.txt": text},
        lost={"lost": Link("elsewhere")},
        round={"round": Link("round")},
        none={"none/changelog": text},
    )
    for name in ("base", "lib", "dev", "file"):
        assert copyright_file(name, packages) == b"GPL-3", name
    for name in ("lost", "round", "none", "unknown"):
        assert copyright_file(name, packages) is None, name


def test_the_document_is_spdx() -> None:
    """The mandatory fields of SPDX 2.3, clauses 6 and 7, and identifiers that can be told apart."""
    other = Pinned("libfoo1+x", "1", "http://mirror/pool/f/libfoo1x.deb", 1, "ef" * 32)
    document = json.loads(
        json.dumps(
            spdx_document("x-1", "2026-01-01T00:00:00Z", [shipped(LIBRARY, {}), shipped(other, {})])
        )
    )
    assert document["spdxVersion"] == "SPDX-2.3"
    assert document["dataLicense"] == "CC0-1.0"
    assert document["SPDXID"] == "SPDXRef-DOCUMENT"
    assert document["name"] and document["documentNamespace"]
    assert document["creationInfo"]["created"] and document["creationInfo"]["creators"]
    identifiers = {package["SPDXID"] for package in document["packages"]}
    assert len(identifiers) == 2
    for package in document["packages"]:
        assert re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", package["SPDXID"])
        assert package["name"] and package["downloadLocation"] and not package["filesAnalyzed"]
    described = {relationship["relatedSpdxElement"] for relationship in document["relationships"]}
    assert described == identifiers


def test_the_offer_is_one_as_the_licence_wants_it() -> None:
    offer = source_offer("6.12.1-amd64", [shipped(LIBRARY, {"source": "foo"})], None)
    for words in ("three years", "complete source", "cost", LIBRARY.version, "licences/"):
        assert words in offer
    assert "https://snapshot.debian.org/package/foo/" in offer
