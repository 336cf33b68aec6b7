"""A client of the Debian archive that believes only what Debian has signed.

The chain: InRelease, whose OpenPGP clear signature is checked against the keys we ship
(`vm.image.signature`), names the SHA-256 of Packages.xz, which names the SHA-256 of every
package. Nothing is parsed before its link of the chain has been checked.
"""

from __future__ import annotations

import lzma
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

from vm.image.digest import digest_file
from vm.image.errors import IndexExpired, IndexMalformed
from vm.image.fetch import DEFAULT_PATIENCE, Patience, fetch_bytes, fetch_file
from vm.image.index import (
    IndexedFile,
    LazyPackageIndex,
    MalformedIndex,
    Package,
    Release,
    parse_release,
)
from vm.image.progress import Progress, silent
from vm.image.signature import KEYRING, verify_clear_signed

ARCHITECTURE = "amd64"
IN_RELEASE_LIMIT_BYTES = 8 << 20
PACKAGES_LIMIT_BYTES = 512 << 20
"""Unpacked. Debian 13's main is 57 MB."""
CLOCK_SLACK = timedelta(hours=24)
"""How far this computer's clock may lag behind the archive's."""
PARALLEL_DOWNLOADS = 4


@dataclass(frozen=True)
class Suite:
    """One line of what would be sources.list."""

    archive: str
    """Base address, without a slash at its end."""
    path: str
    """The suite's directory below `dists/`."""
    codename: str
    """What the Release file must call itself."""
    component: str = "main"

    @property
    def address(self) -> str:
        """The directory that InRelease is in."""
        return f"{self.archive}/dists/{self.path}"

    @property
    def packages_path(self) -> str:
        """The package index, relative to `address`."""
        return f"{self.component}/binary-{ARCHITECTURE}/Packages.xz"


DEFAULT_MIRROR = "http://deb.debian.org/debian"
"""Plain HTTP on purpose: the signature is what counts, and caching proxies keep working."""


def suites(environment: Mapping[str, str] = os.environ) -> tuple[Suite, ...]:
    """Debian 13 and its security updates, from the mirrors named in the environment.

    ISTHMUS_DEBIAN_MIRROR replaces http://deb.debian.org/debian; the security archive is looked
    for beside it (…/debian-security), or where ISTHMUS_DEBIAN_SECURITY_MIRROR says; set to an
    empty string, that one leaves the security updates out.
    """
    mirror = (environment.get("ISTHMUS_DEBIAN_MIRROR") or DEFAULT_MIRROR).rstrip("/")
    found = [Suite(mirror, "trixie", "trixie")]
    beside = mirror + "-security" if mirror.endswith("/debian") else ""
    security = environment.get("ISTHMUS_DEBIAN_SECURITY_MIRROR", beside).rstrip("/")
    if security:
        found.append(Suite(security, "trixie-security", "trixie-security"))
    return tuple(found)


def check_release(release: Release, suite: Suite, url: str, now: datetime) -> None:
    """Refuse a well-signed Release that is not the one to use now. Pure.

    Without this, whoever stands between the mirror and us could replay an old one, or offer
    another suite's. Raises IndexExpired.
    """
    if release.codename != suite.codename:
        raise IndexExpired(url, f"it is for {release.codename!r}, not {suite.codename!r}")
    if release.date > now + CLOCK_SLACK:
        raise IndexExpired(url, f"it is dated {release.date:%Y-%m-%d %H:%M} UTC, in the future")
    if release.valid_until is not None and release.valid_until < now:
        raise IndexExpired(url, f"it was valid until {release.valid_until:%Y-%m-%d %H:%M} UTC")


class ArchiveClient:
    """Fetches indexes and packages into `directory`, every file named by its SHA-256.

    keyring: certificates to trust. now: the current time, for tests.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keyring: Path = KEYRING,
        patience: Patience = DEFAULT_PATIENCE,
        now: datetime | None = None,
    ) -> None:
        self._directory = directory
        self._keyring = keyring
        self._patience = patience
        self._now = now

    def release(self, suite: Suite) -> Release:
        """The suite's Release file, signature, name and dates checked.

        Raises ArchiveUnreachable, SignatureInvalid, IndexMalformed, IndexExpired.
        """
        url = f"{suite.address}/InRelease"
        signed = fetch_bytes(url, IN_RELEASE_LIMIT_BYTES, self._patience)
        text = verify_clear_signed(signed, url, self._keyring)
        try:
            release = parse_release(text.decode("utf-8"))
        except (MalformedIndex, UnicodeDecodeError) as error:
            raise IndexMalformed(url, str(error)) from error
        check_release(release, suite, url, self._now or datetime.now(UTC))
        return release

    def index(self, wanted: Iterable[Suite], progress: Progress = silent) -> LazyPackageIndex:
        """The packages of all the suites together. Raises ArchiveError."""
        index = LazyPackageIndex()
        for suite in wanted:
            release = self.release(suite)
            url = f"{suite.address}/{suite.packages_path}"
            named = release.files.get(suite.packages_path)
            if named is None:
                raise IndexMalformed(f"{suite.address}/InRelease", f"no {suite.packages_path}")
            # By hash, so that a mirror in the middle of an update still gives what was signed.
            parent = suite.packages_path.rpartition("/")[0]
            by_hash = f"{suite.address}/{parent}/by-hash/SHA256/{named.sha256}"
            path = self.fetch(by_hash, named, progress, f"package index of {suite.codename}")
            try:
                index.add_text(_unpack(path, url), suite.archive)
            except MalformedIndex as error:
                raise IndexMalformed(url, str(error)) from error
        return index

    def fetch(
        self, url: str, expected: IndexedFile, progress: Progress = silent, label: str = ""
    ) -> Path:
        """The file, fetched now or before; equal to `expected`. Raises ArchiveError."""
        target = self._directory / expected.sha256
        if target.exists():
            if target.stat().st_size == expected.size and digest_file(target) == expected.sha256:
                return target
            target.unlink()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fetch_file(url, target, expected, progress=progress, label=label, patience=self._patience)
        return target

    def packages(
        self, wanted: Iterable[Package], progress: Progress = silent, label: str = "packages"
    ) -> dict[str, Path]:
        """Each package's .deb, by package name, several fetched at a time. Raises ArchiveError."""
        packages = list(wanted)
        total = sum(package.file.size for package in packages)
        done: dict[str, int] = {}
        lock = Lock()

        def report(name: str, count: int) -> None:
            with lock:
                done[name] = count
                progress(label, sum(done.values()), total)

        def one(package: Package) -> Path:
            path = self.fetch(
                f"{package.archive}/{package.file.path}",
                package.file,
                lambda _label, count, _total: report(package.name, count),
            )
            report(package.name, package.file.size)
            return path

        with ThreadPoolExecutor(PARALLEL_DOWNLOADS, thread_name_prefix="fetch") as pool:
            futures = {package.name: pool.submit(one, package) for package in packages}
            try:
                return {name: future.result() for name, future in futures.items()}
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _unpack(path: Path, url: str) -> str:
    """The text of an .xz index whose digest has been checked. Raises IndexMalformed."""
    try:
        with lzma.open(path) as file:
            text = file.read(PACKAGES_LIMIT_BYTES + 1)
        if len(text) > PACKAGES_LIMIT_BYTES:
            raise IndexMalformed(url, f"longer than {PACKAGES_LIMIT_BYTES} bytes")
        return text.decode("utf-8")
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise IndexMalformed(url, str(error)) from error
