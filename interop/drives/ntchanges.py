"""What Windows reports of a directory and all that is below it, as changes in known nodes. Pure.

Source: FILE_NOTIFY_INFORMATION and FILE_ACTION_* of winnt.h. Names are paths from the watched
directory, as whoever made the change wrote them: mostly long names, sometimes short ones (8.3).
That something has changed is all that is said: not whether in its content or otherwise, nor whether
a writer has closed it, nor who it was.
"""

from __future__ import annotations

import re
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator
from struct import Struct

from interop.drives.changes import (
    ATTRIBUTES,
    CREATED,
    MODIFIED,
    MOVED_FROM,
    MOVED_TO,
    REMOVED,
    UNWATCHED,
    WRITTEN,
    Change,
    Report,
)
from interop.drives.nodes import Node, NodeTable
from interop.drives.ntformats import from_wide

CHANGED = MODIFIED | ATTRIBUTES | WRITTEN
"""The kind of what is only known to have changed."""

LongName = Callable[[Node, bytes], "bytes | None"]
"""(directory, a short name) -> the long one of what is there now; None for nothing."""

_RECORD = Struct("<III")
_KINDS = {
    1: CREATED,
    2: REMOVED,
    3: CHANGED,
    4: MOVED_FROM,
    5: MOVED_TO,
}
_SHORT = re.compile(rb"[^.]{0,6}~[0-9]{1,6}(\.[^.]{0,3})?")

OWN_S = 2.0
"""For how long what the server itself has done may still be reported. Windows reports a write when
the file is closed, which may be half a second after it."""

_MOST_OWN = 4096
_MOST_MOVED = 256


def records(data: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
    """(action, path) of each record in a buffer of FILE_NOTIFY_INFORMATION; ends at a damage."""
    at = 0
    while at + _RECORD.size <= len(data):
        following, action, length = _RECORD.unpack_from(data, at)
        start = at + _RECORD.size
        if length % 2 or start + length > len(data):
            return
        yield action, from_wide(bytes(data[start : start + length]))
        if following < _RECORD.size:
            return
        at += following


class Own:
    """What the server does itself, so that Linux programs do not hear of it once more.

    What another does to the same name, of the same kind and within OWN_S, is taken for that.
    """

    def __init__(self) -> None:
        self._expected: OrderedDict[tuple[int, bytes], tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._expected)

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
    """Makes changes in `nodes` of what is reported; those that are the server's `own` say so."""

    def __init__(
        self, nodes: NodeTable, long_name: LongName = lambda directory, name: None
    ) -> None:
        self.own = Own()
        self._nodes = nodes
        self._long_name = long_name
        self._cookie = 0
        self._leaving: Node | None = None
        self._moved: OrderedDict[tuple[int, bytes], tuple[Node, float]] = OrderedDict()
        """Where directories were that moved, for what is reported by a path that is out of date or
        that nobody has told the node table of yet; and until when that counts."""
        self._folded: dict[int, dict[str, bytes]] = {}
        self._long: dict[tuple[int, bytes], bytes | None] = {}

    def moved(self, directory: Node, name: bytes, node: Node, now: float) -> None:
        """The server itself has moved `node` away from `name` in `directory`."""
        self._place(directory, name, node, now)

    def read(self, data: bytes | None, now: float) -> Report:
        """The changes in a buffer; None stands for what there was no room for."""
        if not data:
            return Report([], lost=True)
        self._folded.clear()
        self._long.clear()
        changes: list[Change] = []
        for action, path in records(data):
            kind = _KINDS.get(action)
            directory, _, name = path.rpartition(b"\\")
            parent = self._directory(directory, now) if kind else None
            if kind and name and parent is not None:
                change = self._change(parent, name, kind, now)
                changes.append(change._replace(is_own=self.own.includes(change, now)))
        return Report(changes)

    def _change(self, parent: Node, name: bytes, kind: int, now: float) -> Change:
        known = self._child(parent, name, now)
        if known is not None and known.parent is parent:
            name = known.name
        elif _SHORT.fullmatch(name):
            long = self._lengthened(parent, name)
            if long is None:
                # Whatever it was called otherwise: it may be anything that was there.
                return Change(parent.id, b"", UNWATCHED)
            name = long
        is_directory = known is not None and known.kind == stat.S_IFDIR
        if kind & MODIFIED and is_directory:
            assert known is not None
            # Something came or went in it, which is reported itself, or it is like another.
            return Change(known.id, b"", ATTRIBUTES, is_directory)
        cookie = 0
        if kind & MOVED_FROM:
            self._cookie += 1
            self._leaving = known
        if kind & (MOVED_FROM | MOVED_TO):
            cookie = self._cookie
        if kind & MOVED_TO and self._leaving is not None:
            self._place(parent, name, self._leaving, now)
            self._leaving = None
        return Change(parent.id, name, kind, is_directory, cookie)

    def _directory(self, path: bytes, now: float) -> Node | None:
        node: Node | None = self._nodes.root
        for name in path.split(b"\\") if path else ():
            assert node is not None
            node = self._child(node, name, now)
            if node is None:
                return None  # nobody in the guest knows it
        return node

    def _place(self, directory: Node, name: bytes, node: Node, now: float) -> None:
        if node.kind != stat.S_IFDIR:
            return
        self._moved.pop((directory.id, name), None)
        self._moved[directory.id, name] = node, now + OWN_S
        while len(self._moved) > _MOST_MOVED:
            self._moved.popitem(last=False)

    def _child(self, directory: Node, name: bytes, now: float) -> Node | None:
        child = directory.children.get(name)
        if child is not None:
            return child
        moved, until = self._moved.get((directory.id, name), (None, 0.0))
        if moved is not None and until >= now:
            return moved
        if not directory.children:
            return None
        folded = self._folded.get(directory.id)
        if folded is None:
            folded = {_fold(known): known for known in directory.children}
            self._folded[directory.id] = folded
        child = directory.children.get(folded.get(_fold(name), b""))
        if child is None and _SHORT.fullmatch(name):
            child = directory.children.get(self._lengthened(directory, name) or b"")
        return child

    def _lengthened(self, directory: Node, name: bytes) -> bytes | None:
        key = directory.id, name
        if key not in self._long:
            self._long[key] = self._long_name(directory, name)
        return self._long[key]


def _fold(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass").upper()
