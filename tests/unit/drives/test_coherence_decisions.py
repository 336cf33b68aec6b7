"""Which notifications follow from which change, without a kernel."""

from __future__ import annotations

import stat

from interop.drives import replies
from interop.drives.changes import (
    ATTRIBUTES,
    CREATED,
    MODIFIED,
    MOVED_FROM,
    MOVED_TO,
    REMOVED,
    UNWATCHED,
    Change,
)
from interop.drives.coherence import Decision, Moved, foreign
from interop.drives.constants import EXPIRE_ONLY
from interop.drives.nodes import Node, NodeTable
from interop.drives.watches import Watches


class Watcher:
    """Watches whatever it is told to, up to `most`."""

    def __init__(self, most: int = 100) -> None:
        self.watched: set[int] = set()
        self.most = most

    def add(self, node: Node, directory: int) -> bool:
        if len(self.watched) >= self.most:
            raise OSError(28, "no space")
        self.watched.add(node.id)
        return True

    def remove(self, node: int) -> None:
        self.watched.discard(node)


def table() -> NodeTable:
    return NodeTable((1, 1), stat.S_IFDIR)


def directory(nodes: NodeTable, name: bytes, parent: Node | None = None) -> Node:
    return nodes.found(parent or nodes.root, name, (1, hash(name)), stat.S_IFDIR)


def file(nodes: NodeTable, parent: Node, name: bytes) -> Node:
    return nodes.found(parent, name, (2, hash(name)), stat.S_IFREG)


def test_own_changes_are_left_out_and_moves_put_together() -> None:
    changes = [
        Change(5, b"a", MODIFIED),
        Change(5, b"b", MODIFIED),
        Change(5, b"c", MOVED_FROM, cookie=1),
        Change(5, b"x", CREATED),
        Change(6, b"d", MOVED_TO, cookie=1),
        Change(5, b"gone", MOVED_FROM, cookie=2),
        Change(5, b"come", MOVED_TO, cookie=3),
    ]
    mine = {(5, b"a"): MODIFIED | ATTRIBUTES, (5, b"b"): ATTRIBUTES}
    assert foreign(changes, mine) == [
        changes[1],
        Moved(Change(5, b"c", REMOVED), Change(6, b"d", CREATED)),
        changes[3],
        Change(5, b"gone", REMOVED),
        Change(5, b"come", CREATED),
    ]


def test_a_change_that_is_not_mine_counts_beside_one_that_is() -> None:
    changes = [Change(5, b"a", MODIFIED), Change(5, b"a", REMOVED)]
    assert foreign(changes, {(5, b"a"): MODIFIED}) == [changes[1]]


def test_new_content_is_asked_for_behind_the_look_up_that_may_be_under_way() -> None:
    nodes = table()
    parent = directory(nodes, b"d")
    node = file(nodes, parent, b"f")
    decision = Decision(Watches(nodes, Watcher()))
    decision.apply(Change(parent.id, b"f", MODIFIED))
    decision.apply(Change(parent.id, b"f", MODIFIED))
    decision.apply(Change(parent.id, b"unknown", MODIFIED))
    assert decision.forgetting.messages() == [
        replies.invalidate_entry(parent.id, b"f", EXPIRE_ONLY),
        replies.invalidate_inode(node.id),
    ]


def test_a_name_is_told_as_linux_spells_it() -> None:
    nodes = table()
    decision = Decision(Watches(nodes, Watcher()))
    decision.apply(Change(nodes.root.id, "a\uf03ab".encode(), CREATED))
    assert decision.forgetting.messages()[0] == replies.invalidate_entry(1, b"a:b")


def test_a_removed_file_leaves_its_identity_to_others() -> None:
    nodes = table()
    node = file(nodes, nodes.root, b"f")
    decision = Decision(Watches(nodes, Watcher()))
    decision.apply(Change(nodes.root.id, b"f", REMOVED))
    assert nodes.at(1, b"f") is None
    assert file(nodes, nodes.root, b"f") is not node


def test_what_a_look_up_found_before_it_was_reported_stays() -> None:
    nodes = table()
    node = file(nodes, nodes.root, b"f")
    decision = Decision(Watches(nodes, Watcher()), lambda directory, host: node.identity)
    for kind in (CREATED, REMOVED):
        decision.apply(Change(nodes.root.id, b"f", kind))
        assert nodes.at(1, b"f") is node
    decision.apply(Moved(Change(1, b"before", REMOVED), Change(1, b"f", CREATED)))
    assert nodes.at(1, b"f") is node
    assert replies.invalidate_entry(1, b"f") in decision.forgetting.messages()


def test_what_was_most_likely_done_here_is_looked_at() -> None:
    nodes = table()
    parent = directory(nodes, b"d")
    known = file(nodes, parent, b"known")
    there = {b"known": known.identity}
    decision = Decision(Watches(nodes), lambda directory, host: there.get(host))

    def is_as_known(name: bytes, kind: int) -> bool:
        return decision.is_as_known(Change(parent.id, name, kind, is_own=True))

    assert is_as_known(b"known", CREATED)
    assert is_as_known(b"known", REMOVED)  # it has been made again
    assert is_as_known(b"gone", REMOVED)
    assert is_as_known(b"gone", CREATED)  # and has left again
    there = {b"known": (9, 9), b"gone": (9, 9)}
    assert not is_as_known(b"known", CREATED)
    assert not is_as_known(b"known", MOVED_TO)
    assert not is_as_known(b"gone", CREATED)
    assert is_as_known(b"known", MODIFIED)
    there = {}
    assert not is_as_known(b"known", MOVED_FROM)


def test_a_move_takes_the_node_along() -> None:
    nodes = table()
    one, other = directory(nodes, b"one"), directory(nodes, b"other")
    node, replaced = file(nodes, one, b"a"), file(nodes, other, b"b")
    decision = Decision(Watches(nodes, Watcher()))
    decision.apply(Moved(Change(one.id, b"a", REMOVED), Change(other.id, b"b", CREATED)))
    assert nodes.at(one.id, b"a") is None
    assert nodes.at(other.id, b"b") is node
    assert replaced.parent is None
    assert replies.invalidate_entry(one.id, b"a") in decision.forgetting.messages()
    assert replies.invalidate_entry(other.id, b"b") in decision.forgetting.messages()


def test_a_directory_that_makes_room_is_forgotten_with_its_absent_names() -> None:
    nodes = table()
    watcher = Watcher()
    watches = Watches(nodes, watcher, limit=1)
    first, second = directory(nodes, b"first"), directory(nodes, b"second")
    inside = file(nodes, first, b"inside")
    assert watches.enter(first, 0)
    assert not watches.enter(first, 0)
    assert watches.note_absent(first, b"absent")
    assert not watches.enter(second, 0, may_evict=False)
    assert watches.enter(second, 0)
    assert (first.watched, second.watched) == (False, True)
    assert watcher.watched == {second.id}
    decision = Decision(watches)
    decision.expire(*watches.evicted.pop())
    assert decision.forgetting.messages() == [
        replies.invalidate_entry(first.id, b"absent"),
        replies.invalidate_entry(first.id, b"inside", EXPIRE_ONLY),
        replies.invalidate_inode(inside.id),
        replies.invalidate_inode(first.id),
    ]


def test_what_is_absent_from_the_root_is_not_noted() -> None:
    nodes = table()
    watches = Watches(nodes, Watcher())
    assert watches.enter(nodes.root, 0)
    assert not watches.note_absent(nodes.root, b"absent")


def test_as_many_as_the_host_allows_are_watched() -> None:
    nodes = table()
    watches = Watches(nodes, Watcher(most=1))
    first, second = directory(nodes, b"first"), directory(nodes, b"second")
    assert watches.enter(first, 0)
    assert not watches.enter(second, 0)
    assert watches.is_short
    assert watches.limit == 1
    assert not second.watched


def test_a_directory_that_is_gone_is_not_watched_any_more() -> None:
    nodes = table()
    watches = Watches(nodes, Watcher())
    gone = directory(nodes, b"gone")
    watches.enter(gone, 0)
    decision = Decision(watches)
    decision.apply(Change(gone.id, b"", UNWATCHED))
    assert not gone.watched
    assert len(watches) == 0


def test_a_directory_that_came_back_is_watched_under_its_new_number() -> None:
    nodes = table()
    watcher = Watcher()
    watches = Watches(nodes, watcher)
    before = directory(nodes, b"d")
    watches.enter(before, 0)
    nodes.removed(nodes.root, b"d")
    nodes.orphaned(before)
    after = directory(nodes, b"d")
    assert after is not before
    assert watches.enter(after, 0)
    assert watcher.watched == {after.id}
    assert [node for node, _ in watches.evicted] == [before]
    assert (before.watched, after.watched) == (False, True)


def test_without_a_watcher_nothing_is_watched() -> None:
    nodes = table()
    watches = Watches(nodes)
    assert not watches.enter(nodes.root, 0)
    assert not watches.has_room()
