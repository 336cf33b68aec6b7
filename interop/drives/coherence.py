"""From what happened on the host to what the kernel has to forget. Pure.

The kernel knows names (found or absent), attributes, contents and listings. What it has to forget
is put in FUSE's notifications, whose order counts: one that names a directory's entry waits until
look-ups under way in that directory are over, so that the one of the file that follows meets what
such a look-up has just brought.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from interop.drives.changes import (
    CONTENT,
    CREATED,
    MODIFIED,
    MOVED_FROM,
    MOVED_TO,
    REMOVED,
    UNWATCHED,
    WRITTEN,
    Change,
)
from interop.drives.constants import EXPIRE_ONLY
from interop.drives.names import to_linux
from interop.drives.nodes import Identity, Node, NodeTable
from interop.drives.replies import invalidate_entry, invalidate_inode
from interop.drives.watches import Watches


class Moved(NamedTuple):
    """The two halves of a move, put together: what is foreign of it, in order of appearance."""

    source: Change
    target: Change


Foreign = Change | Moved

Identify = Callable[[int, bytes], Identity | None]
"""(directory's node, host's name) -> what is there now."""


def foreign(changes: Iterable[Change], mine: dict[tuple[int, bytes], int]) -> list[Foreign]:
    """`changes` without what the server did itself (`mine`), moves put together.

    Half a move is a removal or a creation: the other directory is not watched.
    """
    waiting: dict[int, int] = {}  # where in `order` the first half of a move is, by its cookie
    order: list[Foreign] = []
    for change in changes:
        if mine and change.kind & ~mine.get((change.directory, change.name), 0) == 0:
            continue
        if change.kind & MOVED_FROM:
            waiting[change.cookie] = len(order)
            order.append(change._replace(kind=REMOVED, cookie=0))
        elif change.kind & MOVED_TO:
            arrival = change._replace(kind=CREATED, cookie=0)
            index = waiting.pop(change.cookie, -1)
            departure = order[index] if index >= 0 else None
            if isinstance(departure, Change):
                order[index] = Moved(departure, arrival)
            else:
                order.append(arrival)
        else:
            order.append(change)
    return order


class Forgetting:
    """Gathers notifications, each once, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._messages: dict[bytes, None] = {}

    def entry(self, directory: Node, name: bytes, flags: int = 0) -> None:
        """What `name` (Linux') in `directory` is."""
        self._messages[invalidate_entry(directory.id, name, flags)] = None

    def inode(self, node: Node, *, content: bool = True) -> None:
        """The attributes of `node`, and its contents or listing."""
        self._messages[invalidate_inode(node.id, 0 if content else -1)] = None

    def __len__(self) -> int:
        return len(self._messages)

    def messages(self) -> list[bytes]:
        """All of them."""
        return list(self._messages)


class Decision:
    """Applies changes to the node table and gathers what the kernel has to forget of them.

    `identify` says what is at a name now, None for nothing: a look-up may have been quicker than
    the report of what it then found, and the node of that is right.
    """

    def __init__(self, watches: Watches, identify: Identify = lambda directory, host: None) -> None:
        self._identify = identify
        self.watches = watches
        self.nodes: NodeTable = watches.nodes
        self.forgetting = Forgetting()

    def is_as_known(self, change: Change) -> bool:
        """Whether the name is what the kernel was told it is; contents are not looked at."""
        known = self.nodes.at(change.directory, change.name)
        came = change.kind & (CREATED | MOVED_TO)
        if not came and (known is None or not change.kind & (REMOVED | MOVED_FROM)):
            return True
        is_there = self._identify(change.directory, change.name)
        return is_there == (known.identity if known is not None else None)

    def apply(self, change: Foreign) -> None:
        """Something foreign happened."""
        if isinstance(change, Moved):
            self._moved(change.source, change.target)
            return
        directory = self.nodes.get(change.directory)
        if directory is None:
            return
        if change.kind & UNWATCHED:
            self.expire(directory, self.watches.leave(directory))
        elif not change.name:
            self.forgetting.inode(directory, content=False)
        elif change.kind & (CREATED | REMOVED):
            self._replaced(directory, change.name)
        elif change.kind & CONTENT:
            self._changed(directory, change)

    def _changed(self, directory: Node, change: Change) -> None:
        node = directory.children.get(change.name)
        if node is not None:
            self.forgetting.entry(directory, to_linux(change.name), EXPIRE_ONLY)
            self.forgetting.inode(node, content=bool(change.kind & (MODIFIED | WRITTEN)))

    def _replaced(self, directory: Node, host: bytes) -> None:
        """A name in `directory` has come or gone, and what it was before is not there."""
        name = to_linux(host)
        self.watches.forget_absent(directory, name)
        self.forgetting.entry(directory, name)
        known = directory.children.get(host)
        if known is not None and self._identify(directory.id, host) == known.identity:
            self.forgetting.inode(directory)
            return
        node = self.nodes.removed(directory, host)
        if node is not None:
            # Its inode number may be given to another file from now on.
            self.nodes.orphaned(node)
            self.forgetting.inode(node, content=False)
        self.forgetting.inode(directory)

    def _moved(self, source: Change, target: Change) -> None:
        before, after = self.nodes.get(source.directory), self.nodes.get(target.directory)
        if before is None or after is None:
            for directory, name in ((before, source.name), (after, target.name)):
                if directory is not None:
                    self._replaced(directory, name)
            return
        replaced = after.children.get(target.name)
        moved = before.children.get(source.name)
        if replaced is not None and replaced is not moved:
            self._replaced(after, target.name)
        for directory, name in ((before, source.name), (after, target.name)):
            self.watches.forget_absent(directory, to_linux(name))
            self.forgetting.entry(directory, to_linux(name))
            self.forgetting.inode(directory)
        if moved is not None and self._identify(before.id, source.name) != moved.identity:
            self.nodes.renamed(before, source.name, after, target.name)
        if moved is not None:
            self.forgetting.inode(moved, content=False)

    def expire(self, directory: Node, absent: Iterable[bytes]) -> None:
        """End all that the kernel was told for long of `directory`, and of its `absent` names.

        Directories in it are asked for again rather than dropped: dropping one would take what a
        Linux user has mounted below it.
        """
        for name in absent:
            self.forgetting.entry(directory, name)
        for host, node in directory.children.items():
            self.forgetting.entry(directory, to_linux(host), EXPIRE_ONLY)
            self.forgetting.inode(node)
        self.forgetting.inode(directory)

    def expire_all(self) -> None:
        """End all that the kernel was told for long: nobody knows what has happened."""
        for directory in self.watches.watched():
            self.expire(directory, self.watches.take_absent(directory))
