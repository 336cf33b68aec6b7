"""The node table: which file each number means that the kernel knows. Pure.

A node is a file, by the host's identity for it (device and inode, or volume and file ID), so hard
links share one. Where it was last found, as a directory's node and a name, is how it is opened
again; who opens it checks the identity, since the host may have put something else there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from interop.drives.constants import ROOT_ID

Identity = tuple[int, int]
"""Device and inode number."""

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Node:
    """One file that the kernel knows.

    `parent` is None for the root and for what has no known name (any more); `name` is the host's.
    `lookups` is how often the kernel was told of it and has not forgotten it; `children` are the
    nodes last found in it: while it has either, the node stays. `kind` is its S_IFMT on the host.
    `watched` is whether every change in this directory is reported (interop.drives.watches).
    """

    __slots__ = ("children", "id", "identity", "kind", "lookups", "name", "parent", "watched")

    def __init__(self, number: int, identity: Identity, kind: int) -> None:
        self.id = number
        self.identity = identity
        self.kind = kind
        self.parent: Node | None = None
        self.name = b""
        self.lookups = 0
        self.children: dict[bytes, Node] = {}
        self.watched = False


class NodeTable:
    """Every node of one mount.

    Numbers are never used twice, so a late message about a forgotten node finds nothing; `first`
    is where they begin, above those of a server before this one.
    """

    def __init__(self, root: Identity, kind: int, first: int = ROOT_ID + 1) -> None:
        self.root = Node(ROOT_ID, root, kind)
        self.root.lookups = 1
        self._by_id: dict[int, Node] = {ROOT_ID: self.root}
        self._by_identity: dict[Identity, Node] = {root: self.root}
        self._next = first

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, number: int) -> Node | None:
        """The node of that number, if the kernel was told of it and still knows it."""
        return self._by_id.get(number)

    def at(self, parent: int, name: bytes) -> Node | None:
        """The node last found as `name` in the directory `parent`: what invalidations need."""
        directory = self._by_id.get(parent)
        return directory.children.get(name) if directory is not None else None

    def found(self, parent: Node, name: bytes, identity: Identity, kind: int) -> Node:
        """The node of what was just found as `name` in `parent`, known once more to the kernel.

        A file that has become one of another kind is another file: its inode was used again.
        """
        node = self._by_identity.get(identity)
        if node is not None and node.kind != kind:
            self._disown(node)
            node = None
        if node is None:
            node = Node(self._next, identity, kind)
            self._next += 1
            self._by_id[node.id] = node
            self._by_identity[identity] = node
        node.lookups += 1
        self._place(node, parent, name)
        return node

    def ghost(self, number: int, kind: int) -> Node:
        """A node of S_IFMT `kind` that is nowhere, known once more to the kernel.

        It is the one of that number where there is one.
        """
        node = self._by_id.get(number)
        if node is None or node.kind != kind or node is self.root:
            node = Node(self._next, (-1, self._next), kind)
            self._next += 1
            self._by_id[node.id] = node
        node.lookups += 1
        return node

    def _disown(self, node: Node) -> None:
        if self._by_identity.get(node.identity) is node:
            del self._by_identity[node.identity]

    def _place(self, node: Node, parent: Node, name: bytes) -> None:
        if node.parent is parent and node.name == name:
            return
        if node is self.root:
            return  # a bind mount of the root below itself; it needs no name
        before = parent.children.get(name)
        if before is not None:
            self._unplace(before)
        self._unplace(node)
        node.parent, node.name = parent, name
        parent.children[name] = node

    def _unplace(self, node: Node) -> None:
        parent = node.parent
        if parent is None:
            return
        del parent.children[node.name]
        node.parent = None
        self._drop_if_unused(parent)

    def removed(self, parent: Node, name: bytes) -> Node | None:
        """The name is gone from `parent`; the node that was last found by it, if any."""
        node = parent.children.get(name)
        if node is not None:
            self._unplace(node)
            self._drop_if_unused(node)
        return node

    def orphaned(self, node: Node) -> None:
        """The file itself is gone: its identity may be given to another from now on."""
        self._disown(node)

    def renamed(self, parent: Node, name: bytes, newparent: Node, newname: bytes) -> None:
        """`name` in `parent` is now `newname` in `newparent`, instead of what was there."""
        node = parent.children.get(name)
        target = newparent.children.get(newname)
        if target is not None and target is not node:
            self._unplace(target)
        if node is not None:
            self._place(node, newparent, newname)

    def exchanged(self, parent: Node, name: bytes, newparent: Node, newname: bytes) -> None:
        """The two names have changed places."""
        node = parent.children.get(name)
        other = newparent.children.get(newname)
        for known in (node, other):
            if known is not None:
                self._unplace(known)
        if node is not None:
            self._place(node, newparent, newname)
        if other is not None:
            self._place(other, parent, name)

    def forget(self, number: int, lookups: int) -> Node | None:
        """The kernel takes back `lookups`; the node, if it is now unknown to it."""
        node = self._by_id.get(number)
        if node is None or node is self.root:
            return None
        node.lookups = max(0, node.lookups - lookups)
        if node.lookups:
            return None
        self._drop_if_unused(node)
        return node

    def _drop_if_unused(self, node: Node) -> None:
        # A chain of forgotten directories goes with its last child; in a loop, for it may be deep.
        current: Node | None = node
        while current is not None and not current.lookups and not current.children:
            self._by_id.pop(current.id, None)
            self._disown(current)
            parent = current.parent
            if parent is not None:
                del parent.children[current.name]
                current.parent = None
            current = parent


class Cache(Generic[_K, _V]):
    """What was used most recently, at most `limit` of it after a trim().

    `release` is called with each value that goes. Between trims it may hold more, so that what
    one request has in hand is not taken away under it.
    """

    def __init__(self, limit: int, release: Callable[[_V], None]) -> None:
        self._items: OrderedDict[_K, _V] = OrderedDict()
        self._limit = limit
        self._release = release

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: _K) -> _V | None:
        """The value, which counts as used, or None."""
        value = self._items.get(key)
        if value is not None:
            self._items.move_to_end(key)
        return value

    def put(self, key: _K, value: _V) -> None:
        """Keep `value`, in place of what was under `key`."""
        self.discard(key)
        self._items[key] = value

    def discard(self, key: _K) -> None:
        """Let what is under `key` go, if anything."""
        value = self._items.pop(key, None)
        if value is not None:
            self._release(value)

    def trim(self) -> None:
        """Let the least recently used go until no more than the limit are left."""
        while len(self._items) > self._limit:
            self._release(self._items.popitem(last=False)[1])

    def clear(self) -> None:
        """Let everything go."""
        while self._items:
            self._release(self._items.popitem()[1])
