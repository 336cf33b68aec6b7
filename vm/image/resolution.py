"""Which versions of which packages the image is made of: settled once, kept in a file.

So that a machine boots the same image tomorrow, without asking the network, until an update is
asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from vm.files import write_atomically
from vm.image import kernel_debian, packages
from vm.image.archive import ArchiveClient, Suite
from vm.image.errors import PackageNotFound
from vm.image.index import IndexedFile, LazyPackageIndex, Package, Requirement
from vm.image.progress import Progress, silent
from vm.image.resolve import candidate, closure

FORMAT = 1
SOURCE_PACKAGE = "linux-source-6.12"
"""The source of the tuned kernel: of the same series as Debian 13's own."""


@dataclass(frozen=True)
class Pinned:
    """One package, down to its contents."""

    name: str
    version: str
    url: str
    size: int
    sha256: str

    @property
    def package(self) -> Package:
        """As the archive client wants it."""
        archive, _, path = self.url.rpartition("/pool/")
        file = IndexedFile(f"pool/{path}", self.size, self.sha256)
        return Package(self.name, self.version, "", file, archive=archive)

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Resolution:
    """Everything an image is made of, but for our own files."""

    system: tuple[Pinned, ...]
    kernel: Pinned
    """Debian's kernel image."""
    source: Pinned
    """What the tuned kernel is built from."""
    question: str
    """`question()` at the time: a version of Isthmus that asks for other packages asks anew."""

    @property
    def id(self) -> str:
        """Equal for equal contents."""
        lines = sorted(f"{pinned.name} {pinned.sha256}" for pinned in self.all)
        return hashlib.sha256("\n".join([self.question, *lines]).encode()).hexdigest()[:20]

    @property
    def all(self) -> tuple[Pinned, ...]:
        """Every package."""
        return (*self.system, self.kernel, self.source)

    def named(self, name: str) -> Pinned:
        """The system's package `name`. Raises KeyError."""
        for pinned in self.system:
            if pinned.name == name:
                return pinned
        raise KeyError(name)


def question() -> str:
    """A digest of what an image asks the archive for."""
    asked = (packages.PACKAGES, sorted(packages.LEAVE_OUT), kernel_debian.META_PACKAGE)
    return hashlib.sha256(repr((*asked, SOURCE_PACKAGE)).encode()).hexdigest()


def _pin(package: Package) -> Pinned:
    url = f"{package.archive}/{package.file.path}"
    return Pinned(package.name, package.version, url, package.file.size, package.file.sha256)


def resolve(index: LazyPackageIndex) -> Resolution:
    """The newest of everything. Pure. Raises PackageNotFound."""
    meta = candidate(index, Requirement(kernel_debian.META_PACKAGE))
    if meta is None:
        raise PackageNotFound(kernel_debian.META_PACKAGE)
    images = [a[0] for a in meta.depends if a[0].name.startswith("linux-image-")]
    kernel = candidate(index, images[0]) if images else None
    if kernel is None:
        raise PackageNotFound("a kernel image", str(meta))
    source = candidate(index, Requirement(SOURCE_PACKAGE))
    if source is None:
        raise PackageNotFound(SOURCE_PACKAGE)
    system = closure(index, packages.PACKAGES, packages.LEAVE_OUT)
    return Resolution(tuple(map(_pin, system)), _pin(kernel), _pin(source), question())


def fetch_resolution(
    client: ArchiveClient, suites: Iterable[Suite], progress: Progress = silent
) -> Resolution:
    """What the archive has now. Raises ArchiveError."""
    return resolve(client.index(suites, progress))


def save(resolution: Resolution, directory: Path) -> None:
    """Keep it in `directory`, under its id."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = {"format": FORMAT, **asdict(resolution)}
    write_atomically(directory / f"{resolution.id}.json", json.dumps(content, indent=1).encode())


def load(directory: Path, identity: str) -> Resolution | None:
    """The one kept under `identity`.

    None when it is not there, not what it was, or the answer to another question than today's.
    """
    try:
        content = json.loads((directory / f"{identity}.json").read_bytes())
        resolution = Resolution(
            system=tuple(Pinned(**entry) for entry in content["system"]),
            kernel=Pinned(**content["kernel"]),
            source=Pinned(**content["source"]),
            question=content["question"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if resolution.id != identity or resolution.question != question():
        return None
    return resolution


def find_source(directory: Path, described: str) -> Pinned | None:
    """The kernel source that prints as `described`, from any resolution kept in `directory`.

    A kernel of ours outlives the resolution that its source was found by.
    """
    for path in sorted(directory.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            source = Pinned(**json.loads(path.read_bytes())["source"])
            if str(source) == described:
                return source
    return None
