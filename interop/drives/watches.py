"""Which directories are watched, and what the kernel may remember of them for long. Pure.

A directory is watched from before the kernel is told of anything in it; only what is watched is
told with a long lifetime. There is room for so many: the directory that was looked into least
recently makes room, and then everything the kernel was told of it for long has to be ended. The
kernel forgets absent names without a word, so those it was told of are noted here.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from interop.drives.backend import Found
from interop.drives.nodes import Identity, Node, NodeTable


class Watcher(Protocol):
    """Watches single directories; `interop.drives.watcher_posix` is one."""

    def add(self, node: Node, directory: int) -> bool:
        """Watch the directory open as `directory`; False where that cannot be done.

        Raises OSError with ENOSPC where the host lets nobody watch more.
        """

    def remove(self, node: int) -> None:
        """Watch the directory of that node no longer."""


class Watches:
    """The watched directories of `nodes`, at most `limit` of them; used by one thread.

    With no watcher nothing is ever watched.
    """

    def __init__(
        self, nodes: NodeTable, watcher: Watcher | None = None, *, limit: int = 4096
    ) -> None:
        self.nodes = nodes
        self.limit = limit if watcher is not None else 0
        self.evicted: list[tuple[Node, set[bytes]]] = []
        """What had to make room, with the absent names noted of it; the caller empties it."""
        self.mine: dict[tuple[int, bytes], int] = {}
        """What the server does itself: its own changes to (directory, host's name)."""
        self.told: Found | None = None
        """What the kernel was told of a file after the server had changed its attributes."""
        self.is_short = False
        """Whether the host would let no more directories be watched."""
        self._watcher = watcher
        self._most_absent = 16 * limit
        self._absences = 0
        self._watched: OrderedDict[int, tuple[Node, set[bytes]]] = OrderedDict()
        self._by_identity: dict[Identity, Node] = {}

    def __len__(self) -> int:
        return len(self._watched)

    def has_room(self) -> bool:
        """Whether one more can be watched without giving another up."""
        return len(self._watched) < self.limit

    def enter(self, node: Node, directory: int, *, may_evict: bool = True) -> bool:
        """Watch `node`, open as `directory`, since the kernel is to be told what is in it.

        Says whether it is watched only from now on. Without `may_evict` only while there is room.
        """
        if node.watched:
            self._watched.move_to_end(node.id)
            return False
        watcher = self._watcher
        if watcher is None or (not may_evict and len(self._watched) >= self.limit):
            return False
        other = self._by_identity.get(node.identity)
        if other is not None:
            # It was taken away and came back, under another number: the host has one watch for it.
            self.evicted.append((other, self.leave(other)))
        try:
            if not watcher.add(node, directory):
                return False
        except OSError:
            # Others on this host watch as well: be content with what there is.
            self.limit = min(self.limit, len(self._watched))
            self.is_short = True
            return False
        node.watched = True
        self._by_identity[node.identity] = node
        self._watched[node.id] = (node, set())
        while len(self._watched) > self.limit:
            oldest, _ = next(iter(self._watched.values()))
            self.evicted.append((oldest, self.leave(oldest)))
        return node.watched

    def leave(self, node: Node) -> set[bytes]:
        """Watch `node` no longer; the absent names (Linux') that were noted of it."""
        node.watched = False
        entry = self._watched.pop(node.id, None)
        if entry is None:
            return set()
        self._by_identity.pop(node.identity, None)
        if self._watcher is not None:
            self._watcher.remove(node.id)
        self._absences -= len(entry[1])
        return entry[1]

    def take_absent(self, node: Node) -> set[bytes]:
        """The absent names noted of `node`, which are then not noted any more."""
        entry = self._watched.get(node.id)
        if entry is None or not entry[1]:
            return set()
        names = set(entry[1])
        entry[1].clear()
        self._absences -= len(names)
        return names

    def watched(self) -> list[Node]:
        """Every watched directory."""
        return [node for node, _ in self._watched.values()]

    def note_absent(self, node: Node, name: bytes) -> bool:
        """Whether the kernel may remember for long that there is no `name` (Linux') in `node`.

        Not in the root: when another server takes over, what is below the root's entries goes
        with them, and nobody knows any more what was absent beside them.
        """
        entry = self._watched.get(node.id)
        if entry is None or node is self.nodes.root or self._absences >= self._most_absent:
            return False
        if name not in entry[1]:
            entry[1].add(name)
            self._absences += 1
        return True

    def forget_absent(self, node: Node, name: bytes) -> None:
        """`name` (Linux') is not absent from `node` any more."""
        entry = self._watched.get(node.id)
        if entry is not None and name in entry[1]:
            entry[1].remove(name)
            self._absences -= 1

    def own(self, directory: Node | None, name: bytes, kind: int) -> None:
        """The server is about to do `kind` to `name` (the host's) in `directory` itself."""
        if directory is not None and directory.watched:
            key = (directory.id, name)
            self.mine[key] = self.mine.get(key, 0) | kind
