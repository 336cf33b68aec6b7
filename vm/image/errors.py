"""Everything that can go wrong with what the VM boots, as exceptions that carry data.

The tree::

    ImageError
     ├─ ArchiveError
     │   ├─ ArchiveUnreachable     the mirror did not answer, or not in time
     │   ├─ SignatureInvalid       an index without a good signature of Debian
     │   ├─ IndexExpired           a good signature, but the wrong suite, or too old or too new
     │   ├─ DigestMismatch         a file that is not the one the signed index names
     │   ├─ IndexMalformed         signed, and still not of the documented form
     │   └─ PackageNotFound        no such package, or a dependency nothing satisfies
     ├─ PackageMalformed           a .deb that is not one, or with hostile member names
     ├─ BuildFailed                a tool of the build ended with an error
     ├─ ToolMissing                a tool of the build is not installed
     ├─ BuildUnsupported           this host cannot build, only fetch and use
     ├─ CacheBusy                  another process is building and does not come to an end
     └─ ReleaseInvalid             an installed image directory that does not match its manifest

Nothing in this package but `vm.image.__main__` prints or exits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vm.errors import VmError


class ImageError(VmError):
    """Root of this package's errors: `message` says what failed, `hint` what to do about it."""


class ArchiveError(ImageError):
    """The Debian archive, or something between it and us, is at fault."""


class ArchiveUnreachable(ArchiveError):
    """`url` could not be fetched; `reason` is the last failure after `attempts` tries."""

    def __init__(self, url: str, reason: str, attempts: int) -> None:
        super().__init__(
            f"cannot fetch {url}: {reason} (tried {attempts} times)",
            hint="check the network and the proxy, or name another mirror in ISTHMUS_DEBIAN_MIRROR",
        )
        self.url = url
        self.reason = reason
        self.attempts = attempts


class SignatureInvalid(ArchiveError):
    """The signature on `url` is missing, broken or not made by a key we trust."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"{url} does not carry a valid signature of Debian: {reason}",
            hint="the mirror or something on the way to it has changed the file: use another "
            "mirror (ISTHMUS_DEBIAN_MIRROR), and do not work around this",
        )
        self.url = url
        self.reason = reason


class IndexExpired(ArchiveError):
    """A well-signed index at `url` that is not the one to use now; `reason` says why."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"{url} cannot be used: {reason}",
            hint="check this computer's clock; if it is right, the mirror is stale: name "
            "another one in ISTHMUS_DEBIAN_MIRROR",
        )
        self.url = url
        self.reason = reason


class DigestMismatch(ArchiveError):
    """`source` has the SHA-256 `actual` (or a wrong size) where the index promises `expected`."""

    def __init__(self, source: str, expected: str, actual: str) -> None:
        super().__init__(
            f"{source} is not the file that the signed index names "
            f"(expected {expected}, got {actual})",
            hint="the mirror may be in the middle of an update: try again in some minutes, or "
            "name another one in ISTHMUS_DEBIAN_MIRROR",
        )
        self.source = source
        self.expected = expected
        self.actual = actual


class IndexMalformed(ArchiveError):
    """An index at `url` that does not follow the format; `reason` says where."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"{url} is malformed: {reason}",
            hint="name another mirror in ISTHMUS_DEBIAN_MIRROR",
        )
        self.url = url
        self.reason = reason


class PackageNotFound(ArchiveError):
    """Nothing in the indexes satisfies `wanted`, which `needed_by` asks for ("" for ourselves)."""

    def __init__(self, wanted: str, needed_by: str = "") -> None:
        by = f", which {needed_by} needs" if needed_by else ""
        super().__init__(
            f"the Debian archive has no package for {wanted}{by}",
            hint="the mirror is incomplete or of another release: name another one in "
            "ISTHMUS_DEBIAN_MIRROR",
        )
        self.wanted = wanted
        self.needed_by = needed_by


class PackageMalformed(ImageError):
    """The package `source` cannot be unpacked; `reason` says why."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source} cannot be unpacked: {reason}")
        self.source = source
        self.reason = reason


class BuildFailed(ImageError):
    """`step` ended with an error. `log_tail`: its last lines; `log`: all of it, where kept."""

    def __init__(self, step: str, log_tail: Sequence[str], log: Path | None = None) -> None:
        tail = "\n".join(log_tail)
        super().__init__(
            f"{step} failed" + (f":\n{tail}" if tail else ""),
            hint=f"the whole log is {log}" if log else "",
        )
        self.step = step
        self.log_tail = tuple(log_tail)
        self.log = log


class ToolMissing(ImageError):
    """The program `tool` is needed and not installed; `package` is Debian's name for it."""

    def __init__(self, tool: str, package: str) -> None:
        super().__init__(f"{tool} is not installed", hint=f"apt-get install {package}")
        self.tool = tool
        self.package = package


class BuildUnsupported(ImageError):
    """This host cannot build the image; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the system image cannot be built on this computer: {reason}",
            hint="install a release, which carries the image, or set ISTHMUS_IMAGE to a "
            "directory made by `python -m vm.image export` on a Linux host",
        )
        self.reason = reason


class CacheBusy(ImageError):
    """Another process has held the lock `path` for more than `waited_s` seconds."""

    def __init__(self, path: Path, waited_s: float) -> None:
        super().__init__(
            f"another process has been preparing the image for {waited_s:.0f} s",
            hint=f"wait for it, or end it; the lock is {path}",
        )
        self.path = path
        self.waited_s = waited_s


class ReleaseInvalid(ImageError):
    """The image directory `path` is not what its manifest says; `reason` says where."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"the image in {path} is damaged or incomplete: {reason}",
            hint="install it again, or unset ISTHMUS_IMAGE to build one here",
        )
        self.path = path
        self.reason = reason
