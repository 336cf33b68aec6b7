"""Programs that lie in a distribution, where Windows cannot open them: copies on the host.

Nothing shows a distribution's files to Windows where WSL itself is not there. So a program that was
copied into one is sent along, kept as long as it runs, and removed.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from interop.hostos.errors import HostError

log = logging.getLogger(__name__)

MOST_BYTES = 2 * 1024**3
"""All copies together: a program in a guest must not be able to fill the host's disk."""


class StagedProgram:
    """One copy, in a directory of its own; a context manager that removes it."""

    def __init__(self, staging: Staging, directory: Path, name: str, size: int) -> None:
        self._staging = staging
        self._directory = directory
        self._size = size
        self.path = directory / name
        self._file = self.path.open("xb")

    def write(self, data: bytes) -> None:
        """The next bytes. Raises OSError."""
        self._file.write(data)

    def complete(self) -> None:
        """All of it is there. Raises OSError."""
        self._file.close()
        self.path.chmod(0o700)

    def close(self) -> None:
        """Remove it; what still runs from it keeps it from going, on Windows, until next time."""
        with contextlib.suppress(OSError):
            self._file.close()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._staging.release(self._size)

    def __enter__(self) -> StagedProgram:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Staging:
    """Where copies are kept: below `directory`, which is emptied at first use."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._is_clean = False
        self._used = 0

    def new(self, file: str, size: int) -> StagedProgram:
        """A place for the program `file`, a Linux path, of `size` bytes.

        Raises HostError where all copies would be too much, and OSError.
        """
        if self._used + size > MOST_BYTES:
            raise HostError(
                "too many programs are being run from inside distributions",
                hint="Programs on a Windows drive are run from where they are.",
                number=errno.ENOSPC,
            )
        if not self._is_clean:  # a service that was killed may have left some
            shutil.rmtree(self._directory, ignore_errors=True)
            self._is_clean = True
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = Path(tempfile.mkdtemp(dir=self._directory))
        try:
            staged = StagedProgram(self, own, host_name(file), size)
        except BaseException:
            shutil.rmtree(own, ignore_errors=True)
            raise
        self._used += size
        return staged

    def release(self, size: int) -> None:
        """A copy is gone."""
        self._used -= size


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._- +")
_LONGEST = 100


def host_name(file: str) -> str:
    """What the copy of the Linux file `file` is called: its own name as far as all hosts allow it.

    Pure. Programs look at their name, and Windows at its end.
    """
    name = os.path.basename(file.rstrip("/"))
    plain = "".join(letter if letter in _PLAIN else "_" for letter in name).strip(" .")
    stem, dot, extension = plain.rpartition(".")
    if not dot:
        stem, extension = plain, "exe"
    return f"{stem[:_LONGEST] or 'program'}.{extension[:10] or 'exe'}"
