"""Where root file systems come from: Debian's archive, by mmdebstrap on the host, or a download.

Bootstrapping natively takes 20 s, in the emulated guest minutes. The tar is kept in the cache
under the digest of the archive's signed Release file, so it is as fresh as the archive.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.downloads import download, read_manifest
from service.errors import ServiceError
from service.manifest import Download, Version, find_version, offered
from vm.image.archive import ArchiveClient, Suite, suites
from vm.image.cache import Cache
from vm.image.signature import KEYRING
from wire import failures

KIND = "rootfs"
TAR = "rootfs.tar"
_TIMEOUT_S = 1800.0

PACKAGES = (
    "ca-certificates",
    "iproute2",
    "less",
    "nano",
    "netbase",
    "procps",
    "sudo",
)
"""Beyond the essential packages and apt: what a user misses within the first minute."""

SOURCES_LIST = "sources.list"
_INSIDE_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
"""What the archive is verified with from inside: the package debian-archive-keyring, of apt."""
_RECIPE = 2
"""To be counted up when the same packages make another tar than before."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RootfsSource:
    """A distribution that can be installed by name."""

    name: str
    friendly_name: str
    download: Download | None = None
    """The .wsl file that a list names; None for what is made here."""


DEBIAN = RootfsSource("Debian", "Debian GNU/Linux")
BUILT_IN = (DEBIAN,)
"""What can be installed without any list; the first is what `--install` alone installs."""


def catalogue(lists: Sequence[str]) -> list[RootfsSource]:
    """What `isthmus --list --online` shows; lists: their URLs. Blocks, for worker threads.

    Raises ServiceError if a list cannot be had: what it hides is not known.
    """
    built_in = {source.name.casefold() for source in BUILT_IN}
    versions = offered([read_manifest(url) for url in lists])
    listed = [_listed(version) for version in versions if version.name.casefold() not in built_in]
    return [*BUILT_IN, *listed]


def find_source(name: str, lists: Sequence[str]) -> RootfsSource:
    """By name, case does not matter; "" is the default. Blocks, for worker threads.

    What is built in comes before what lists offer, and needs no network to be found. Raises
    ServiceError.
    """
    for source in BUILT_IN:
        if not name or source.name.casefold() == name.casefold():
            return source
    version = find_version(map(read_manifest, lists), name)
    if version is not None:
        return _listed(version)
    raise ServiceError(
        failures.DISTRO_NOT_FOUND,
        f'There is no distribution with the supplied name: "{name}".',
        hint="`isthmus --list --online` shows those that can be installed, distributionListUrl "
        "in .wslconfig adds a list of more; `isthmus --import NAME DIRECTORY FILE` takes any "
        "root file system's tar.",
    )


def _listed(version: Version) -> RootfsSource:
    return RootfsSource(version.name, version.friendly_name, version.download)


def obtain(source: RootfsSource, progress: Progress, keep: contextlib.ExitStack) -> Path:
    """The archive of a root file system, there until `keep` is closed.

    Blocks, for worker threads. Raises ServiceError, vm.image.errors.ImageError.
    """
    if source.download is None:
        return bootstrap(source, progress)
    target = keep.enter_context(Cache().scratch()) / "rootfs.wsl"
    download(source.download, target, progress, f"Downloading {source.friendly_name}")
    return target


def bootstrap(source: RootfsSource, progress: Progress) -> Path:
    """The tar of a root file system, from the cache or made now; blocks, for worker threads.

    Raises ServiceError, vm.image.errors.ImageError.
    """
    assert source is DEBIAN, source
    program = shutil.which("mmdebstrap")
    if program is None:
        raise ServiceError(
            failures.UNSUPPORTED,
            "mmdebstrap, which makes Debian's root file system, is not installed",
            hint="`apt install mmdebstrap`, or import a root file system's tar with "
            "`isthmus --import NAME DIRECTORY FILE`.",
        )
    cache = Cache()
    progress("Looking for Debian's newest packages", 0, 0)
    wanted = suites()
    key = _key(ArchiveClient(cache.downloads), wanted)
    with cache.locked(f"{KIND}.lock"):
        entry = cache.find(KIND, key)
        if entry is None:

            def build(directory: Path) -> dict[str, str]:
                progress("Making Debian's root file system", 0, 0)
                _run_mmdebstrap(program, wanted, directory)
                return {"source": source.name}

            entry = cache.build(KIND, key, build)
    return entry.file(TAR)


def _key(client: ArchiveClient, wanted: tuple[Suite, ...]) -> str:
    digest = hashlib.sha256(repr((_RECIPE, PACKAGES)).encode())
    for suite in wanted:
        release = client.release(suite)
        digest.update(repr((suite, release.files.get(suite.packages_path))).encode())
    return digest.hexdigest()


def _sources(wanted: tuple[Suite, ...], keyring: str) -> list[str]:
    """Lines of sources.list(5)."""
    return [
        f"deb [signed-by={keyring}] {suite.archive} {suite.path} {suite.component}"
        for suite in wanted
    ]


def _run_mmdebstrap(program: str, wanted: tuple[Suite, ...], directory: Path) -> None:
    """mmdebstrap(1) chooses by itself how to act as root: really, or in a user namespace."""
    keyring = directory / "keyring.gpg"  # apt goes by the name's ending
    shutil.copy(KEYRING, keyring)
    keyring.chmod(0o644)
    # mmdebstrap leaves its own sources behind, which name a file of the host.
    inside = directory / SOURCES_LIST
    inside.write_text("".join(f"{line}\n" for line in _sources(wanted, _INSIDE_KEYRING)))
    argv = [
        program,
        "--quiet",
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(PACKAGES)}",
        '--aptopt=APT::Install-Recommends "false"',
        f"--customize-hook=upload {shlex.quote(str(inside))} /etc/apt/sources.list",
        wanted[0].codename,
        str(directory / TAR),
        *_sources(wanted, str(keyring)),
    ]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C.UTF-8", "TMPDIR": str(directory)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServiceError(
            failures.TIMEOUT, f"mmdebstrap took longer than {_TIMEOUT_S:.0f} s"
        ) from None
    keyring.unlink()
    inside.unlink()
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-1000:]
        raise ServiceError(
            failures.IMPORT_FAILED,
            f"Debian's root file system could not be made: {said}",
            hint="Is the Debian archive reachable? Without root, mmdebstrap needs the package "
            "uidmap and an entry in /etc/subuid.",
        )
