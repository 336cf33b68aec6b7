"""The registry of distributions: one JSON file, replaced as a whole (docs/state-files.md)."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from service.errors import ServiceError, is_full, no_default_distribution, unknown_distribution
from vm import files
from wire import failures

FORMAT_VERSION = 1
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,256}")
_IDENTITY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Record:
    """One distribution as it is registered."""

    identity: str
    """32 hexadecimal digits: the GUID, and the SCSI serial of its disk."""
    name: str
    disk: str
    """Absolute path of its disk image on the host."""
    default_uid: int = 0
    flavor: str = ""
    os_version: str = ""
    run_oobe: bool = False
    """Whether the setup it brings with it has yet to run, before its first interactive shell."""
    keeps_space: bool = False
    """Whether its disk keeps the space that Linux frees (--fixed-vhd, --set-sparse false)."""


def check_name(name: str) -> None:
    """Refuse what WSL refuses as a distribution's name. Raises ServiceError."""
    if not _NAME.fullmatch(name) or name.casefold() == "legacy" or set(name) == {"."}:
        raise ServiceError(
            failures.INVALID_NAME,
            f"{name!r} cannot be the name of a distribution",
            hint="Use 1 to 256 of the characters a-z A-Z 0-9 . _ and -.",
        )


class Registry:
    """The distributions of one user, in the order they were registered."""

    def __init__(self, path: Path) -> None:
        """Reads `path`; no file means no distributions. Raises ServiceError.

        A file that cannot be understood is set aside under another name, never overwritten: it
        is the only record of where the user's disks are.
        """
        self._path = path
        self._records: tuple[Record, ...] = ()
        self._default = ""
        try:
            text = files.read(path).decode("utf-8")
        except FileNotFoundError:
            return
        except OSError as error:
            # Not damaged as far as anybody knows: it stays where it is.
            raise ServiceError(
                failures.REGISTRY,
                f"the list of distributions could not be read: {error}",
                hint="Make it readable for you, or set ISTHMUS_HOME to another directory.",
            ) from None
        except UnicodeDecodeError as error:
            self._set_aside(str(error))
        try:
            self._records, self._default = _parse(text)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self._set_aside(str(error))

    def _set_aside(self, why: str) -> None:
        kept = self._path.with_name(f"{self._path.name}.damaged-{time.time_ns()}")
        try:
            files.replace(self._path, kept)
        except OSError as error:
            raise ServiceError(
                failures.REGISTRY, f"{self._path} cannot be read ({why}) nor renamed ({error})"
            ) from None
        raise ServiceError(
            failures.REGISTRY,
            f"the list of distributions could not be read ({why}); it is kept as {kept}",
            hint="Repair it and give it its old name back, or register the disks again with "
            "`isthmus --import-in-place NAME DISK`. The next command starts with an empty list.",
        )

    def all(self) -> tuple[Record, ...]:
        """Every distribution."""
        return self._records

    @property
    def default(self) -> Record | None:
        """The default distribution, if there is any."""
        for record in self._records:
            if record.identity == self._default:
                return record
        return None

    def find(self, name: str) -> Record:
        """By name (case does not matter), {GUID}, or "" for the default. Raises ServiceError."""
        if not name:
            if self.default is None:
                raise no_default_distribution()
            return self.default
        wanted = name.casefold()
        identity = wanted.strip("{}").replace("-", "") if wanted.startswith("{") else ""
        for record in self._records:
            if record.name.casefold() == wanted or record.identity == identity:
                return record
        raise unknown_distribution(name)

    def check_free(self, name: str) -> None:
        """Refuse a name that is invalid or taken. Raises ServiceError."""
        check_name(name)
        if any(record.name.casefold() == name.casefold() for record in self._records):
            raise ServiceError(
                failures.DISTRO_EXISTS,
                f'A distribution called "{name}" is already registered.',
                hint=f"Choose another name, or remove it with `isthmus --unregister {name}`.",
            )

    def add(self, record: Record) -> None:
        """Register a distribution; the first one becomes the default. Raises ServiceError."""
        self.check_free(record.name)
        self._write((*self._records, record), self._default or record.identity)

    def remove(self, identity: str) -> None:
        """Forget a distribution; the default moves to the first that is left."""
        left = tuple(record for record in self._records if record.identity != identity)
        default = self._default
        if default == identity:
            default = left[0].identity if left else ""
        self._write(left, default)

    def change(self, identity: str, **values: Any) -> Record:
        """Replace fields of a distribution's record; returns the new one."""
        records = tuple(
            replace(record, **values) if record.identity == identity else record
            for record in self._records
        )
        self._write(records, self._default)
        return next(record for record in records if record.identity == identity)

    def set_default(self, identity: str) -> None:
        """Make a registered distribution the default."""
        self._write(self._records, identity)

    def _write(self, records: tuple[Record, ...], default: str) -> None:
        """Replace the file, then the state in memory: neither is ever half done."""
        body = {
            "version": FORMAT_VERSION,
            "default": default,
            "distributions": [asdict(record) for record in records],
        }
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write_atomically(self._path, (json.dumps(body, indent=2) + "\n").encode())
        except OSError as error:
            raise ServiceError(
                failures.DISK_FULL if is_full(error) else failures.REGISTRY,
                f"the list of distributions could not be written: {error}",
                hint="Nothing was changed. Free some space or make the directory writable.",
            ) from None
        self._records, self._default = records, default


def _parse(text: str) -> tuple[tuple[Record, ...], str]:
    """Raises ValueError, KeyError, TypeError or RecursionError for anything but a registry."""
    body = json.loads(text)
    if body["version"] != FORMAT_VERSION:
        raise ValueError(f"it has format {body['version']}, this program reads {FORMAT_VERSION}")
    records = tuple(Record(**item) for item in body["distributions"])
    for record in records:
        if not _is_well_typed(record):
            raise TypeError(f"the entry {record.name!r} is damaged")
        if not _IDENTITY.fullmatch(record.identity) or not _NAME.fullmatch(record.name):
            raise ValueError(f"the entry {record.name!r} is damaged")
    for field in ("identity", "name"):
        if len({getattr(record, field).casefold() for record in records}) < len(records):
            raise ValueError(f"two entries have the same {field}")
    return records, str(body["default"])


def _is_well_typed(record: Record) -> bool:
    """Whether each field has the type it is annotated with; annotations are text here."""
    return all(type(getattr(record, field.name)).__name__ == field.type for field in fields(record))
