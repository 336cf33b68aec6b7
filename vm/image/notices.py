"""What a release says about what it ships: an SPDX document, and the offer of the sources. Pure.

References: SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/), package-url's type "deb", and
section 3 of the GNU General Public License, version 2, which the kernel and busybox are under.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vm.image.resolution import Pinned
from vm.image.tree import File, Link, Tree

_SPDX_ID = re.compile(r"[^A-Za-z0-9.-]")
_SOURCE = re.compile(r"(?P<name>\S+)(?:\s+\((?P<version>[^)]+)\))?")
_DOCUMENTS = "usr/share/doc"
_MOST_LINKS = 4
ARCHIVE_OF_SOURCES = "https://snapshot.debian.org/package"


@dataclass(frozen=True)
class Shipped:
    """A Debian package of which something is in a release, and the source it was built from."""

    package: Pinned
    source: str
    source_version: str

    @property
    def source_address(self) -> str:
        """Where Debian keeps that source, with every file of it."""
        return f"{ARCHIVE_OF_SOURCES}/{self.source}/{self.source_version}/"


def shipped(package: Pinned, control: dict[str, str]) -> Shipped:
    """`package` with the source its control file names (Debian Policy, 5.6.1).

    No field means a source of the package's own name; no version there, the package's own.
    """
    match = _SOURCE.fullmatch(control.get("source", package.name).strip())
    name, version = (match["name"], match["version"]) if match else (package.name, None)
    return Shipped(package, name, version or package.version)


def copyright_file(name: str, documents: Mapping[str, Tree]) -> bytes | None:
    """The copyright file of package `name` (Debian Policy, 12.5); None where there is none. Pure.

    `documents` are the trees of all packages that there are, of /usr/share/doc at least. A package
    may have a link there, to the directory of another one of the same source, instead of its own.
    """
    owner = name
    for _ in range(_MOST_LINKS):
        tree = documents.get(owner)
        if tree is None:
            return None
        directory = tree.nodes.get(f"{_DOCUMENTS}/{owner}")
        if isinstance(directory, Link):
            owner = directory.target.rpartition("/")[2]
            continue
        found = tree.find(f"{_DOCUMENTS}/{owner}/copyright")
        return found.data if isinstance(found, File) else None
    return None


def spdx_document(name: str, created: str, packages: Sequence[Shipped]) -> dict[str, object]:
    """An SPDX 2.3 document as JSON's types. name: with the version; created: RFC 3339, in UTC."""
    entries = [_spdx_package(package) for package in packages]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"urn:isthmus:sbom:{name}:{created}",
        "creationInfo": {"created": created, "creators": ["Tool: isthmus vm.image"]},
        "packages": entries,
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": entry["SPDXID"],
            }
            for entry in entries
        ],
    }


def _spdx_package(item: Shipped) -> dict[str, object]:
    package = item.package
    locator = f"pkg:deb/debian/{package.name}@{package.version.replace(':', '%3A')}?arch=amd64"
    return {
        "SPDXID": f"SPDXRef-{_SPDX_ID.sub('-', package.name)}",
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": package.url,
        "sourceInfo": f"built by Debian from {item.source} {item.source_version}",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "checksums": [{"algorithm": "SHA256", "checksumValue": package.sha256}],
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": locator,
            }
        ],
    }


def source_offer(release: str, packages: Sequence[Shipped], tuned_from: Pinned | None) -> str:
    """The text of SOURCES.md. tuned_from: the kernel's source package, where we have built it."""
    kernel = (
        f"It is Debian's own kernel, unchanged: {release}."
        if tuned_from is None
        else f"It is {release}, built from Debian's package {tuned_from} ({tuned_from.url}, "
        f"SHA-256 `{tuned_from.sha256}`) with the patches in `patches/` and the configuration in "
        "`kernel.config`, by `make kernel` of Isthmus, whose source holds the build's code."
    )
    rows = "\n".join(
        f"| {item.package.name} | {item.package.version} | {item.source} {item.source_version} "
        f"| {item.source_address} |"
        for item in sorted(packages, key=lambda item: item.package.name)
    )
    return _SOURCES.format(kernel=kernel, rows=rows)


_SOURCES = """\
# Sources

The kernel and the programs in this package are free software. What each is licensed under stands
in `licences/`; the kernel, busybox and several others are under the GNU General Public License,
version 2, which entitles you to their complete corresponding source.

**Offer.** For at least three years from the day it gave you this package, whoever distributes it
gives anybody who asks the complete source of what is listed here, on a medium customarily used for
software interchange, for no more than the cost of doing so. You need not ask: all of it is public.

**The kernel.** {kernel}

**The programs** are Debian's, unchanged, though not all files of each package are here. Isthmus's
own, in `/usr/lib/isthmus` and `/usr/libexec/isthmus` of the system image, come with their source in
the package isthmus of the same version, under the MIT licence.

| package | version | source | where it is |
| --- | --- | --- | --- |
{rows}
"""
