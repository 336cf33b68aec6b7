"""Where root file systems come from: so far Debian's archive, by mmdebstrap on the host.

Bootstrapping natively takes 20 s, in the emulated guest minutes. The tar is kept in the cache
under the digest of the archive's signed Release file, so it is as fresh as the archive.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.errors import ServiceError
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

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class RootfsSource:
    """A distribution that can be installed by name."""

    name: str
    friendly_name: str


DEBIAN = RootfsSource("Debian", "Debian GNU/Linux")
CATALOGUE = (DEBIAN,)
"""What `isthmus --list --online` shows; the first is what `--install` alone installs."""


def find_source(name: str) -> RootfsSource:
    """By name, case does not matter; "" is the default. Raises ServiceError."""
    for source in CATALOGUE:
        if not name or source.name.casefold() == name.casefold():
            return source
    raise ServiceError(
        failures.DISTRO_NOT_FOUND,
        f'There is no distribution with the supplied name: "{name}".',
        hint="`isthmus --list --online` shows those that can be installed; "
        "`isthmus --import NAME DIRECTORY FILE` takes any root file system's tar.",
    )


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
    digest = hashlib.sha256(repr(PACKAGES).encode())
    for suite in wanted:
        release = client.release(suite)
        digest.update(repr((suite, release.files.get(suite.packages_path))).encode())
    return digest.hexdigest()


def _run_mmdebstrap(program: str, wanted: tuple[Suite, ...], directory: Path) -> None:
    """mmdebstrap(1) chooses by itself how to act as root: really, or in a user namespace."""
    keyring = directory / "keyring.gpg"  # apt goes by the name's ending
    shutil.copy(KEYRING, keyring)
    keyring.chmod(0o644)
    sources = [
        f"deb [signed-by={keyring}] {suite.archive} {suite.path} {suite.component}"
        for suite in wanted
    ]
    argv = [
        program,
        "--quiet",
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(PACKAGES)}",
        '--aptopt=APT::Install-Recommends "false"',
        wanted[0].codename,
        str(directory / TAR),
        *sources,
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
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-1000:]
        raise ServiceError(
            failures.IMPORT_FAILED,
            f"Debian's root file system could not be made: {said}",
            hint="Is the Debian archive reachable? Without root, mmdebstrap needs the package "
            "uidmap and an entry in /etc/subuid.",
        )
