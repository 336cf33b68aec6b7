"""Fetching lists of distributions and the files they name: http, https and file URLs.

Blocks, for worker threads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from urllib.request import url2pathname

from service.errors import ServiceError
from service.manifest import SCHEMES, Download, Manifest, parse_manifest, scheme_of
from vm.files import replace
from vm.image.errors import ArchiveUnreachable, DigestMismatch
from vm.image.fetch import CHUNK_BYTES, Patience, fetch_by_digest, fetch_bytes
from vm.image.progress import Progress
from wire import failures

MAX_MANIFEST_BYTES = 4 << 20
MAX_FILE_BYTES = 1 << 37
"""128 GiB: no distribution comes near it, and a server that never ends is stopped."""
MANIFEST_PATIENCE = Patience(stall_s=20.0, total_s=60.0, attempts=3)
FILE_PATIENCE = Patience(total_s=6 * 3600.0)


def read_manifest(url: str, patience: Patience = MANIFEST_PATIENCE) -> Manifest:
    """The list of distributions at `url`. Raises ServiceError."""
    scheme = scheme_of(url)
    if scheme not in SCHEMES:
        raise ServiceError(
            failures.DOWNLOAD_FAILED,
            f"{url!r} is no {', '.join(SCHEMES)} address of a list of distributions",
            hint=_LISTS_HINT,
        )
    try:
        if scheme == "file":
            with _open_local(url) as file:
                data = file.read(MAX_MANIFEST_BYTES + 1)
        else:
            data = fetch_bytes(url, MAX_MANIFEST_BYTES, patience)
    except ArchiveUnreachable as error:
        raise _unreachable(url, error.reason, _LISTS_HINT) from error
    except (OSError, ValueError) as error:
        raise _unreachable(url, _reason(error), _LISTS_HINT) from error
    except DigestMismatch:
        data = b" " * (MAX_MANIFEST_BYTES + 1)
    if len(data) > MAX_MANIFEST_BYTES:
        why = f"the list of distributions at {url} is longer than {MAX_MANIFEST_BYTES} bytes"
        raise ServiceError(failures.INVALID_JSON, why, hint=_LISTS_HINT)
    return parse_manifest(data, url)


_LISTS_HINT = (
    "distributionListUrl and distributionListUrlAppend in .wslconfig and the variable "
    "ISTHMUS_DISTRIBUTION_LIST say which lists are used."
)


def download(
    wanted: Download,
    target: Path,
    progress: Progress,
    label: str,
    patience: Patience = FILE_PATIENCE,
) -> None:
    """Fetch a file to `target`, which exists afterwards only if its digest is right.

    Raises ServiceError.
    """
    if not wanted.sha256:
        raise _bad_digest(wanted.url, "the list gives no valid SHA-256 for it")
    try:
        if scheme_of(wanted.url) == "file":
            _copy(wanted, target, progress, label)
        else:
            fetch_by_digest(
                wanted.url,
                target,
                wanted.sha256,
                MAX_FILE_BYTES,
                progress=progress,
                label=label,
                patience=patience,
            )
    except DigestMismatch as error:
        raise _bad_digest(wanted.url, f"expected {error.expected}, got {error.actual}") from error
    except ArchiveUnreachable as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            raise _no_space(target) from error
        raise _unreachable(wanted.url, error.reason, "Check the network and try again.") from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise _no_space(target) from error
        raise _unreachable(wanted.url, _reason(error), "") from error


def _reason(error: OSError | ValueError) -> str:
    """What went wrong, in a few words. ValueError: the address itself cannot be right."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def local_path(url: str) -> str:
    """The file that a file URL names (RFC 8089). Raises ValueError for another host's."""
    parts = urlsplit(url)
    if parts.netloc in ("", "localhost"):
        return url2pathname(parts.path)
    if os.name != "nt":
        raise ValueError(f"{url} names a file of another computer")
    return url2pathname(f"//{parts.netloc}{parts.path}")


def _open_local(url: str) -> BinaryIO:
    """Open an ordinary file, by its URL. Raises OSError, ValueError."""
    path = local_path(url)
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("it is not an ordinary file")  # a pipe or device might never end
    return open(path, "rb")


def _copy(wanted: Download, target: Path, progress: Progress, label: str) -> None:
    """Copy a local file while its digest is computed, so that what was checked is what is used.

    Raises OSError, ValueError, DigestMismatch.
    """
    partial = target.with_name(target.name + ".part")
    digest = hashlib.sha256()
    try:
        with _open_local(wanted.url) as source, partial.open("wb") as copy:
            total = os.fstat(source.fileno()).st_size
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                copy.write(chunk)
                progress(label, copy.tell(), total)
        if digest.hexdigest() != wanted.sha256:
            raise DigestMismatch(wanted.url, wanted.sha256, digest.hexdigest())
        replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _bad_digest(url: str, why: str) -> ServiceError:
    return ServiceError(
        failures.BAD_DIGEST,
        f"{url} is not the file that the list of distributions promises: {why}",
        hint="Nothing was installed. The list may be out of date, or the file was changed on "
        "its way.",
    )


def _unreachable(url: str, reason: str, hint: str) -> ServiceError:
    return ServiceError(failures.DOWNLOAD_FAILED, f"cannot fetch {url}: {reason}", hint=hint)


def _no_space(target: Path) -> ServiceError:
    return ServiceError(
        failures.DISK_FULL,
        f"there is no room left for the download in {target.parent}",
        hint="Free some space, or move the cache with ISTHMUS_CACHE. Nothing was installed.",
    )
