"""What Windows reports of a directory and all that is below it, as changes in known nodes. Pure.

Source: FILE_NOTIFY_INFORMATION and FILE_ACTION_* of winnt.h. Names are paths from the watched
directory, mostly long ones, sometimes short (8.3). That something has changed is all that is said:
not whether in its content or otherwise, nor whether a writer has closed it.
"""

from __future__ import annotations

import stat
from collections import OrderedDict
from collections.abc import Iterator
from struct import Struct

from interop.drives.changes import (
    ATTRIBUTES,
    CREATED,
    MODIFIED,
    MOVED_FROM,
    MOVED_TO,
    REMOVED,
    WRITTEN,
    Change,
    Report,
)
from interop.drives.nodes import Node, NodeTable
from interop.drives.ntformats import from_wide

CHANGED = MODIFIED | ATTRIBUTES | WRITTEN
"""The kind of what is only known to have changed."""

_RECORD = Struct("<III")
_KINDS = {
    1: CREATED,
    2: REMOVED,
    3: CHANGED,
    4: MOVED_FROM,
    5: MOVED_TO,
}

OWN_S = 2.0
"""For how long what the server itself has done may still be reported. Windows reports a write when
the file is closed, which may be half a second after it."""

_MOST_OWN = 4096


def records(data: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
    """(action, path) of each record in a buffer of FILE_NOTIFY_INFORMATION."""
    at = 0
    while at + _RECORD.size <= len(data):
        following, action, length = _RECORD.unpack_from(data, at)
        start = at + _RECORD.size
        yield action, from_wide(bytes(data[start : start + length]))
        if not following:
            return
        at += following


class Own:
    """What the server does itself, so that Linux programs do not hear of it once more.

    What another does to the same name, of the same kind and within OWN_S, is taken for that.
    """

    def __init__(self) -> None:
        self._expected: OrderedDict[tuple[int, bytes], tuple[int, float]] = OrderedDict()

    def add(self, directory: int, name: bytes, kind: int, now: float) -> None:
        """It does `kind` to the host's `name` in a node at `now` (time.monotonic())."""
        before, until = self._expected.pop((directory, name), (0, 0.0))
        if until < now:
            before = 0
        self._expected[directory, name] = before | kind, now + OWN_S
        while len(self._expected) > _MOST_OWN:
            self._expected.popitem(last=False)

    def includes(self, change: Change, now: float) -> bool:
        """Whether a change that is reported at `now` is such."""
        kind, until = self._expected.get((change.directory, change.name), (0, 0.0))
        return until >= now and change.kind & ~kind == 0


class Reader:
    """Makes changes in `nodes` of what is reported, without those that are the server's `own`."""

    def __init__(self, nodes: NodeTable, own: Own) -> None:
        self._nodes = nodes
        self._own = own
        self._cookie = 0

    def read(self, buffers: list[bytes | None], now: float) -> Report:
        """The changes in `buffers`, of which None stands for what there was no room for."""
        changes: list[Change] = []
        lost = False
        for data in buffers:
            if not data:
                lost = True
                continue
            for action, path in records(data):
                change, is_unclear = self._change(action, path)
                lost = lost or is_unclear
                if change is not None and not self._own.includes(change, now):
                    changes.append(change)
        return Report(changes, lost)

    def _change(self, action: int, path: bytes) -> tuple[Change | None, bool]:
        """What a record means, if it means something; whether it cannot be told."""
        kind = _KINDS.get(action, 0)
        *parents, name = path.split(b"\\")
        directory: Node | None = self._nodes.root
        for parent in parents:
            assert directory is not None
            directory = directory.children.get(parent)
            if directory is None:
                return None, b"~" in parent  # nobody in the guest knows it, or not by this name
        assert directory is not None
        known = directory.children.get(name)
        is_directory = known is not None and known.kind == stat.S_IFDIR
        if kind & MODIFIED and is_directory:
            return None, False  # something came or went in it, which is reported itself
        if kind & MOVED_FROM:
            self._cookie += 1
        cookie = self._cookie if kind & (MOVED_FROM | MOVED_TO) else 0
        return Change(directory.id, name, kind, is_directory, cookie), False
