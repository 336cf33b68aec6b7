"""Disks in the making, written down, so that the next service removes what a killed one has left.

Each has a note of its own: its path, and whether its directory was made for it. A note outlives
its maker only if that was killed; and a disk that was finished by then is registered, which is
how it is told from the others.
"""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

from service.errors import ServiceError, is_full
from vm.files import delete, write_atomically
from wire import failures

log = logging.getLogger(__name__)


class Unfinished:
    """The notes in `directory`, which is made when there is something to note."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextlib.contextmanager
    def making(
        self,
        path: Path,
        code: str = failures.IMPORT_FAILED,
        hint: str = "Nothing was done. Free some space, or make the directory writable.",
    ) -> Iterator[None]:
        """Make a disk at `path`, where there is none, inside of this: if that fails, it is removed.

        So is its directory, if there was none before. Whoever makes the disk registers it inside,
        too. Raises ServiceError with `code` and `hint` before anything is made.
        """
        note = self._directory / f"{uuid.uuid4().hex}.json"
        own_directory = not path.parent.exists()
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            content = {"path": str(path), "own_directory": own_directory}
            write_atomically(note, json.dumps(content).encode())
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            _unlink(note)
            raise ServiceError(
                failures.DISK_FULL if is_full(error) else code,
                f"{error.filename or note}: {error.strerror or error}",
                hint=hint,
            ) from None
        try:
            yield
        except BaseException:
            _remove(path, own_directory)
            raise
        finally:
            _unlink(note)

    def clean(self, finished: Collection[Path]) -> None:
        """Remove what killed makers have left, but nothing of `finished`, and the notes."""
        for note in self._notes():
            path, own_directory = _noted(note)
            if path is not None and path not in finished:
                log.warning("removing %s, which was never finished", path)
                _remove(path, own_directory)
            _unlink(note)

    def forget(self) -> None:
        """Remove the notes only: nobody knows any more what had been finished."""
        for note in self._notes():
            _unlink(note)

    def _notes(self) -> list[Path]:
        try:
            return sorted(self._directory.glob("*.json"))
        except OSError:
            return []


def _noted(note: Path) -> tuple[Path | None, bool]:
    """The path in a note, None if it has none, and whether its directory was made for it."""
    try:
        content = json.loads(note.read_bytes())
        path, own_directory = Path(content["path"]), content["own_directory"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return None, False
    return (path if path.is_absolute() else None), own_directory


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        delete(path)


def _remove(path: Path, own_directory: bool) -> None:
    _unlink(path)
    if own_directory:
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def delete_disk(path: Path) -> None:
    """Delete a finished disk image, and its directory if that is left empty. Raises OSError."""
    delete(path)
    with contextlib.suppress(OSError):
        path.parent.rmdir()
