"""Reading a root file system's archive on the host.

Decompression is done here, not in the guest: under emulation xz is ten times slower there. Only
that: what is inside an archive is looked at in the guest alone.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from service.errors import ServiceError
from wire import failures
from wire.compression import MAGIC_BYTES, sniff

_OPENERS: dict[str, Callable[[BinaryIO], object]] = {
    "gzip": gzip.open,
    "xz": lzma.open,
    "bzip2": bz2.open,
}
"""What wire.compression.sniff says to what undoes it. bsdtar in the guest undoes the rest."""


class Tar:
    """An open archive, its outer compression undone."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        """`file` is open for reading, `size` its length in bytes."""
        self._file = file
        self.size = size
        buffered = io.BufferedReader(cast(io.RawIOBase, file), 256 * 1024)
        kind = sniff(buffered.peek(MAGIC_BYTES)[:MAGIC_BYTES])
        opener = _OPENERS.get(kind)
        tar = buffered if opener is None else opener(cast(BinaryIO, buffered))
        self._tar = cast(io.BufferedReader, tar)

    @property
    def position(self) -> int:
        """How many bytes of the file have been read."""
        return self._file.tell()

    def read(self, limit: int) -> bytes:
        """At most `limit` bytes of the tar; b"" at its end. Raises ServiceError."""
        try:
            return self._tar.read1(limit)
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise ServiceError(
                failures.IMPORT_FAILED,
                f"the archive cannot be read: {error}",
                hint="Nothing was registered. Fetch or make the archive again.",
            ) from None


@contextlib.contextmanager
def open_tar(path: Path) -> Iterator[Tar]:
    """Open an archive for reading. Raises ServiceError."""
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise ServiceError(failures.FILE_NOT_FOUND, f"{path}: {error.strerror}") from None
    with file:
        yield Tar(cast(BinaryIO, file), os.fstat(file.fileno()).st_size)
