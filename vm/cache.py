"""Answers about this host that are worth keeping: a JSON file of entries, each under its key.

The file is a convenience, never a truth: what is missing, damaged or of another format is found
out again, and a file that cannot be written is a line in the log.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from vm.files import write_atomically

_log = logging.getLogger(__name__)

_FORMAT = 1
_MAXIMUM_ENTRIES = 16
_MAXIMUM_BYTES = 1 << 20

Entry = dict[str, object]


class JsonCache:
    """A cache file. `path` None: nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def get(self, key: Mapping[str, object]) -> Entry | None:
        """The entry put under an equal key, if there is a sound one."""
        entry = self._entries().get(_digest(key))
        return entry if isinstance(entry, dict) else None

    def put(self, key: Mapping[str, object], entry: Entry) -> None:
        """Keep `entry`, and of the older ones as many as fit. Two writers: one of them wins."""
        if self._path is None:
            return
        entries = self._entries()
        entries.pop(_digest(key), None)
        entries[_digest(key)] = entry
        newest = dict(list(entries.items())[-_MAXIMUM_ENTRIES:])
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(
                self._path, json.dumps({"format": _FORMAT, "entries": newest}, indent=1).encode()
            )
        except OSError as error:
            _log.warning("cannot keep answers in %s: %s", self._path, error)

    def _entries(self) -> dict[str, object]:
        if self._path is None:
            return {}
        try:
            with self._path.open("rb") as file:
                content = json.loads(file.read(_MAXIMUM_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            return {}
        entries = content.get("entries")
        return entries if isinstance(entries, dict) else {}


def _digest(key: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
