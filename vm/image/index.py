"""The archive's index files as data: Release and Packages. Pure: text in, dataclasses out.

Formats: https://wiki.debian.org/DebianRepository/Format and Debian Policy §5.1 (deb822), §7.1.
Callers hand in only text whose signature or digest has been checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from vm.image.debversion import Version

_DIGEST = re.compile(r"[0-9a-f]{64}")
_RELATION = re.compile(
    r"""\s*(?P<name>[a-zA-Z0-9][a-zA-Z0-9+.-]*)       # Policy §5.6.7
        (?::(?P<qualifier>[a-z0-9-]+))?
        (?:\s*\(\s*(?P<relation><<|<=|=|>=|>>)\s*(?P<version>[^\s)]+)\s*\))?
        \s*(?:\[[^\]]*\])?\s*$""",
    re.VERBOSE,
)
_PACKAGE_PATH = re.compile(r"(?!.*(?:^|/)\.\.(?:/|$))[A-Za-z0-9][A-Za-z0-9+._~%/:-]*")


class MalformedIndex(ValueError):
    """An index file does not follow its format. Turned into `IndexMalformed` by the client."""


@dataclass(frozen=True)
class IndexedFile:
    """A file that an index vouches for."""

    path: str
    """Relative to the directory of the index (Release) or to the archive's root (Packages)."""
    size: int
    """In bytes."""
    sha256: str
    """Lower-case hexadecimal."""


@dataclass(frozen=True)
class Release:
    """A suite's Release file, as far as it matters here."""

    suite: str
    codename: str
    date: datetime
    valid_until: datetime | None
    files: Mapping[str, IndexedFile]
    """By path."""


@dataclass(frozen=True)
class Requirement:
    """One alternative of a dependency: a package name and perhaps a version condition."""

    name: str
    relation: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.relation} {self.version})" if self.relation else self.name


Alternatives = tuple[Requirement, ...]
"""What satisfies one dependency: `a | b` is two requirements, the first one preferred."""


@dataclass(frozen=True)
class Package:
    """One binary package of the archive."""

    name: str
    version: str
    architecture: str
    file: IndexedFile
    depends: tuple[Alternatives, ...] = ()
    """Pre-Depends and Depends together."""
    provides: tuple[Requirement, ...] = ()
    archive: str = ""
    """Base address of the archive that `file.path` is relative to."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass
class PackageIndex:
    """Packages by name, and who provides which virtual package."""

    packages: dict[str, list[Package]] = field(default_factory=dict)
    providers: dict[str, list[tuple[Package, Requirement]]] = field(default_factory=dict)

    def add(self, package: Package) -> None:
        """Take `package` in, beside other versions of it."""
        self.packages.setdefault(package.name, []).append(package)
        for provided in package.provides:
            self.providers.setdefault(provided.name, []).append((package, provided))

    def newest(self, name: str) -> Package | None:
        """The highest version of the real package `name`."""
        return max(
            self.packages.get(name, ()), key=lambda package: Version(package.version), default=None
        )


def parse_paragraph(text: str) -> dict[str, str]:
    """A deb822 paragraph's fields, names in lower case, continuation lines joined by newlines.

    Raises MalformedIndex for a line that is neither a field nor a continuation, and for a field
    given twice (which of the two another reader takes would be anybody's guess).
    """
    fields: dict[str, str] = {}
    current = ""
    for line in text.splitlines():
        if line.startswith((" ", "\t")):
            if not current:
                raise MalformedIndex(f"continuation line before any field: {line[:80]!r}")
            fields[current] += "\n" + line.strip()
            continue
        name, colon, value = line.partition(":")
        current = name.lower()
        if not colon or not name or name != name.strip():
            raise MalformedIndex(f"neither a field nor a continuation: {line[:80]!r}")
        if current in fields:
            raise MalformedIndex(f"field {name} is given twice")
        fields[current] = value.strip()
    return fields


def split_paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a deb822 file, without the empty lines between them."""
    for paragraph in re.split(r"\n[ \t]*\n", text):
        stripped = paragraph.strip("\n")
        if stripped.strip():
            yield stripped


def _date(value: str, name: str) -> datetime:
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError) as error:
        raise MalformedIndex(f"{name} is not a date: {value[:80]!r}") from error
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _indexed_file(path: str, size: str, digest: str) -> IndexedFile:
    if not size.isdecimal() or not _DIGEST.fullmatch(digest):
        raise MalformedIndex(f"{path[:80]!r} has no usable size and SHA-256")
    if not _PACKAGE_PATH.fullmatch(path):
        raise MalformedIndex(f"{path[:80]!r} is not a path inside the archive")
    return IndexedFile(path, int(size), digest)


def parse_release(text: str) -> Release:
    """A Release file. Raises MalformedIndex; only SHA-256 sums are looked at."""
    fields = parse_paragraph(text.strip("\n"))
    missing = {"suite", "codename", "date", "sha256"} - fields.keys()
    if missing:
        raise MalformedIndex(f"Release has no {', '.join(sorted(missing))}")
    files = {}
    for line in fields["sha256"].splitlines():
        words = line.split()
        if not words:
            continue
        if len(words) != 3:
            raise MalformedIndex(f"not a checksum line: {line[:80]!r}")
        digest, size, path = words
        files[path] = _indexed_file(path, size, digest)
    valid_until = fields.get("valid-until")
    return Release(
        suite=fields["suite"],
        codename=fields["codename"],
        date=_date(fields["date"], "Date"),
        valid_until=_date(valid_until, "Valid-Until") if valid_until else None,
        files=files,
    )


def parse_requirement(text: str) -> Requirement:
    """One alternative, `name[:arch] [(relation version)]`. Raises MalformedIndex."""
    match = _RELATION.match(text)
    if not match:
        raise MalformedIndex(f"not a dependency: {text[:80]!r}")
    return Requirement(match["name"], match["relation"] or "", match["version"] or "")


def parse_depends(text: str) -> tuple[Alternatives, ...]:
    """A Depends field (Policy §7.1). Raises MalformedIndex."""
    return tuple(
        tuple(parse_requirement(alternative) for alternative in group.split("|"))
        for group in text.replace("\n", " ").split(",")
        if group.strip()
    )


def parse_package(text: str, archive: str = "") -> Package:
    """One paragraph of a Packages file. Raises MalformedIndex."""
    fields = parse_paragraph(text)
    missing = {"package", "version", "architecture", "filename", "size", "sha256"} - fields.keys()
    if missing:
        raise MalformedIndex(
            f"package {fields.get('package', '?')!r} has no {', '.join(sorted(missing))}"
        )
    try:
        Version(fields["version"])
    except ValueError as error:
        raise MalformedIndex(str(error)) from error
    depends = [fields[name] for name in ("pre-depends", "depends") if fields.get(name)]
    return Package(
        name=fields["package"],
        version=fields["version"],
        architecture=fields["architecture"],
        file=_indexed_file(fields["filename"], fields["size"], fields["sha256"]),
        depends=parse_depends(", ".join(depends)),
        provides=tuple(
            alternative
            for alternatives in parse_depends(fields.get("provides", ""))
            for alternative in alternatives
        ),
        archive=archive,
    )


class LazyPackageIndex(PackageIndex):
    """A Packages file whose paragraphs are parsed when asked for.

    Debian's main has 68,000 of them and an image needs 50: parsing all costs seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self._texts: dict[str, list[tuple[str, str]]] = {}
        self._provider_texts: dict[str, list[tuple[str, str]]] = {}

    def add_text(self, text: str, archive: str) -> None:
        """Take in a whole Packages file of `archive`. Raises MalformedIndex."""
        for paragraph in text.split("\n\n"):
            stripped = paragraph.strip("\n")
            if not stripped:
                continue
            first, _, _ = stripped.partition("\n")
            label, _, name = first.partition(": ")
            if label != "Package" or not name:
                raise MalformedIndex(f"paragraph does not start with Package: {first[:80]!r}")
            self._texts.setdefault(name, []).append((stripped, archive))
            start = stripped.find("\nProvides: ")
            if start >= 0:
                provides = parse_paragraph(_field_at(stripped, start + 1))["provides"]
                for alternatives in parse_depends(provides):
                    self._provider_texts.setdefault(alternatives[0].name, []).append(
                        (stripped, archive)
                    )

    def newest(self, name: str) -> Package | None:
        """As `PackageIndex.newest`; raises MalformedIndex for a paragraph that is not valid."""
        self.load(name)
        return super().newest(name)

    def load(self, name: str) -> None:
        """Parse what there is about `name`, real or virtual. Raises MalformedIndex."""
        texts = self._texts.pop(name, [])
        for text, archive in texts:
            self.add(parse_package(text, archive))
        for text, archive in self._provider_texts.pop(name, []):
            package = parse_package(text, archive)
            if (text, archive) in self._texts.get(package.name, []):
                self.load(package.name)


def _field_at(paragraph: str, start: int) -> str:
    """The text of the field that starts at `start`, with its continuation lines."""
    end = start
    while True:
        end = paragraph.find("\n", end)
        if end < 0:
            return paragraph[start:]
        if paragraph[end + 1 : end + 2] not in (" ", "\t"):
            return paragraph[start:end]
        end += 1
