"""Fetching a file over HTTP: resumable, atomic, with deadlines, retries and progress.

Only effects; what may be believed of the bytes is for the caller to decide.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vm.files import replace
from vm.image.errors import ArchiveUnreachable, DigestMismatch
from vm.image.index import IndexedFile
from vm.image.progress import Progress, silent

CHUNK_BYTES = 1 << 18
USER_AGENT = "isthmus (Debian archive client)"
_HTTP_PARTIAL_CONTENT = 206
_HTTP_RANGE_NOT_SATISFIABLE = 416
_HTTP_NOT_RETRIED = frozenset({400, 401, 403, 404, 405, 410, 451})


@dataclass(frozen=True)
class Patience:
    """How long a download may take before it is given up."""

    stall_s: float = 20.0
    """A connection that gives no byte for so long is closed."""
    total_s: float = 1800.0
    """For one file, over all attempts."""
    attempts: int = 5
    first_pause_s: float = 0.5
    """Before the second attempt; doubled before each one after it."""


DEFAULT_PATIENCE = Patience()


class _TooLong(Exception):
    """The server sends more than was promised: no retry makes that right."""


def _open(url: str, offset: int, patience: Patience) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=patience.stall_s)
    return response


def _reason(error: Exception) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


def _with_retries(url: str, patience: Patience, attempt: Callable[[float], None]) -> None:
    """Call `attempt(deadline)` until it returns. Raises ArchiveUnreachable."""
    deadline = time.monotonic() + patience.total_s
    pause_s = patience.first_pause_s
    for count in range(1, patience.attempts + 1):
        try:
            attempt(deadline)
            return
        except (OSError, http.client.HTTPException) as error:
            code = error.code if isinstance(error, urllib.error.HTTPError) else 0
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            over = time.monotonic() + pause_s > deadline
            if count == patience.attempts or over or code in _HTTP_NOT_RETRIED:
                raise ArchiveUnreachable(url, _reason(error), count) from error
        # Not a wait for a condition: the mirror is given time to recover.
        time.sleep(pause_s)
        pause_s *= 2


def _copy(
    source: http.client.HTTPResponse,
    write: Callable[[bytes], object],
    room: int,
    deadline: float,
) -> None:
    """Copy all of `source`, at most `room` bytes. Raises _TooLong, TimeoutError, IncompleteRead."""
    while chunk := source.read1(CHUNK_BYTES):
        if time.monotonic() > deadline:
            raise TimeoutError("the download took too long")
        room -= len(chunk)
        if room < 0:
            raise _TooLong
        write(chunk)
    if source.length:  # read1() ends silently where read() would complain
        raise http.client.IncompleteRead(b"", source.length)


def fetch_bytes(url: str, limit: int, patience: Patience = DEFAULT_PATIENCE) -> bytes:
    """The body at `url`, at most `limit` bytes. Raises ArchiveUnreachable, DigestMismatch."""
    body = bytearray()

    def attempt(deadline: float) -> None:
        body.clear()
        with _open(url, 0, patience) as response:
            _copy(response, body.extend, limit, deadline)

    try:
        _with_retries(url, patience, attempt)
    except _TooLong:
        raise DigestMismatch(url, f"at most {limit} bytes", "more") from None
    return bytes(body)


def fetch_file(
    url: str,
    target: Path,
    expected: IndexedFile,
    *,
    progress: Progress = silent,
    label: str = "",
    patience: Patience = DEFAULT_PATIENCE,
) -> None:
    """Fetch `url` to `target`, which appears only once complete and equal to `expected`.

    What an interrupted call has left in `target`.part is continued, if the server can; what
    turns out wrong is removed. The caller sees to it that nobody else fetches to `target`.
    Raises ArchiveUnreachable, DigestMismatch.
    """
    promise = _Promise(expected.sha256, expected.size, expected.size)
    _fetch(url, target, promise, progress, label or target.name, patience)


def fetch_by_digest(
    url: str,
    target: Path,
    sha256: str,
    limit: int,
    *,
    progress: Progress = silent,
    label: str = "",
    patience: Patience = DEFAULT_PATIENCE,
) -> None:
    """As `fetch_file`, where only the digest (lower-case hexadecimal) of the file is known.

    It may have at most `limit` bytes. Raises ArchiveUnreachable, DigestMismatch.
    """
    promise = _Promise(sha256, None, limit)
    _fetch(url, target, promise, progress, label or target.name, patience)


@dataclass(frozen=True)
class _Promise:
    """What is known of a file before it is fetched: perhaps its size, else only a limit."""

    sha256: str
    size: int | None
    limit: int


def _fetch(
    url: str, target: Path, promise: _Promise, progress: Progress, label: str, patience: Patience
) -> None:
    """Fetch to `target`.part until that is complete, check it, and give it its name."""
    partial = target.with_name(target.name + ".part")

    def attempt(deadline: float) -> None:
        with partial.open("ab") as file:
            _continue(file, deadline)

    def _continue(file: BinaryIO, deadline: float) -> None:
        if file.tell() > promise.limit:
            _empty(file)
        if file.tell() == promise.size and promise.size:
            return
        try:
            response = _open(url, file.tell(), patience)
        except urllib.error.HTTPError as error:
            if error.code == _HTTP_RANGE_NOT_SATISFIABLE:
                if promise.size is None:
                    error.close()
                    return  # nothing follows what is there: the digest decides
                _empty(file)
            raise
        with response:
            if response.status != _HTTP_PARTIAL_CONTENT:
                _empty(file)
            rest = response.length or 0  # 0 where the server does not say
            total = promise.size or (file.tell() + rest if rest else 0)

            def write(chunk: bytes) -> None:
                file.write(chunk)
                progress(label, file.tell(), total)

            progress(label, file.tell(), total)
            _copy(response, write, promise.limit - file.tell(), deadline)

    try:
        _with_retries(url, patience, attempt)
        _check(partial, url, promise)
    except (_TooLong, DigestMismatch) as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, DigestMismatch):
            raise
        wanted = f"{promise.limit} bytes" if promise.size else f"at most {promise.limit} bytes"
        raise DigestMismatch(url, wanted, "more") from None
    replace(partial, target)


def _empty(file: BinaryIO) -> None:
    """Start over: truncate() alone would leave the position where it is."""
    file.seek(0)
    file.truncate()


def _check(path: Path, url: str, promise: _Promise) -> None:
    """Compare with the promise, and get the bytes onto the disk. Raises DigestMismatch."""
    size = path.stat().st_size
    if promise.size is not None and size != promise.size:
        raise DigestMismatch(url, f"{promise.size} bytes", f"{size} bytes")
    with path.open("rb+") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != promise.sha256:
            raise DigestMismatch(url, promise.sha256, actual)
        os.fsync(file.fileno())
