"""Archive files on the host: read for `--import`, written for `--export`.

Compression is done here, not in the guest: under emulation xz is ten times slower there. Only
the compression: what is inside an archive is looked at in the guest alone.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import sys
import time
from collections.abc import Callable
from typing import BinaryIO, cast

from shell.failure import ClientError
from wire import failures
from wire.compression import MAGIC_BYTES, sniff

_HELD_S, _HELD_RETRY_S = 3.0, 0.1
"""How long a virus scanner may have a new file open, and how often to look (on Windows)."""

_OPENERS: dict[str, Callable[[BinaryIO], object]] = {
    "gzip": gzip.open,
    "xz": lzma.open,
    "bzip2": bz2.open,
}
"""What wire.compression.sniff says to what undoes it, for reading."""


class _Progress(io.RawIOBase):
    """A file that tells how far it has been read."""

    def __init__(self, file: BinaryIO, tell: Callable[[int], None]) -> None:
        self._file = file
        self._tell = tell
        self._done = 0

    def readable(self) -> bool:
        """io.RawIOBase."""
        return True

    def readinto(self, buffer: object) -> int:
        """io.RawIOBase."""
        view = memoryview(cast(bytearray, buffer))
        data = self._file.read(len(view))
        view[: len(data)] = data
        self._done += len(data)
        self._tell(self._done)
        return len(data)


def open_archive(path: str, tell: Callable[[int], None]) -> Callable[[int], bytes]:
    """A function that reads the uncompressed tar of `path` ("-": standard input).

    `tell` is called with the number of file bytes read so far. Raises ClientError.
    """
    try:
        # Open until this process ends: the archive is its one task.
        file: BinaryIO = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise unreadable(path, error) from None
    buffered = io.BufferedReader(_Progress(file, tell), 256 * 1024)
    kind = sniff(buffered.peek(MAGIC_BYTES)[:MAGIC_BYTES])
    tar = cast(io.BufferedReader, buffered)
    if kind in _OPENERS:
        tar = cast(io.BufferedReader, _OPENERS[kind](cast(BinaryIO, buffered)))

    def read(limit: int) -> bytes:
        try:
            return tar.read1(limit)
        except (EOFError, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise OSError(f"the archive is damaged: {error}") from None

    return read


def unreadable(path: str, error: OSError) -> ClientError:
    """The error for a file that cannot be read."""
    code = failures.FILE_NOT_FOUND if isinstance(error, FileNotFoundError) else "E_ACCESSDENIED"
    return ClientError(code, f"{path}: {error.strerror or error}")


class ArchiveWriter:
    """Writes an exported tar to `path` ("-": standard output), compressed as `format` says.

    The file appears under its name only when it is complete.
    """

    def __init__(self, path: str, format: str) -> None:
        """Raises ClientError."""
        self._path = path
        self._temporary = "" if path == "-" else f"{path}.part-{os.getpid()}"
        try:
            raw = sys.stdout.buffer if path == "-" else open(self._temporary, "xb")  # noqa: SIM115
        except OSError as error:
            raise ClientError(failures.EXPORT_FAILED, f"{path}: {error.strerror}") from None
        self._raw: BinaryIO = raw
        self._file: BinaryIO = raw
        if format == "tar.gz":
            self._file = cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0))
        elif format == "tar.xz":
            self._file = cast(BinaryIO, lzma.LZMAFile(raw, "wb", preset=3))  # noqa: SIM115

    def write(self, data: bytes) -> None:
        """Append uncompressed bytes. Raises OSError."""
        self._file.write(data)

    def complete(self) -> None:
        """Everything has been written: make it last. Raises OSError."""
        if self._file is not self._raw:
            self._file.close()
        self._raw.flush()
        if self._temporary:
            os.fsync(self._raw.fileno())
            self._raw.close()
            _replace(self._temporary, self._path)
            self._temporary = ""

    def abandon(self) -> None:
        """Remove what was written; harmless after `complete`."""
        if self._temporary:
            with contextlib.suppress(OSError):  # what is buffered still cannot be written
                self._raw.close()
            with contextlib.suppress(OSError):  # Windows: while a virus scanner looks at it
                os.unlink(self._temporary)
            self._temporary = ""


def _replace(source: str, target: str) -> None:
    """os.replace, tried again on Windows while a virus scanner has the new file open."""
    deadline = time.monotonic() + (_HELD_S if sys.platform == "win32" else 0)
    while True:
        try:
            return os.replace(source, target)
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_HELD_RETRY_S)
