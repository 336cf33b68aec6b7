"""What Windows reports of a drive, as changes in nodes that the guest knows."""

from __future__ import annotations

import stat
import struct

from hypothesis import given
from hypothesis import strategies as st

from interop.drives import ntchanges
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
from interop.drives.nodes import Node, NodeTable
from interop.drives.ntchanges import CHANGED, OWN_S, LongName, Own, Reader, records

ADDED, GONE, MODIFIED_ACTION, OLD_NAME, NEW_NAME = 1, 2, 3, 4, 5


def buffer(*events: tuple[int, str]) -> bytes:
    """A chain of FILE_NOTIFY_INFORMATION, as winnt.h lays it out."""
    parts = []
    for index, (action, path) in enumerate(events):
        wide = path.encode("utf-16-le", "surrogatepass")
        body = struct.pack("<II", action, len(wide)) + wide
        body += bytes(-len(body) % 4)
        following = len(body) + 4 if index + 1 < len(events) else 0
        parts.append(struct.pack("<I", following) + body)
    return b"".join(parts)


def reader(long_name: LongName = lambda directory, name: None) -> Reader:
    """Node 2 is the directory "dir", 3 the file "dir/file"."""
    nodes = NodeTable((0, 1), stat.S_IFDIR)
    directory = nodes.found(nodes.root, b"dir", (0, 2), stat.S_IFDIR)
    nodes.found(directory, b"file", (0, 3), stat.S_IFREG)
    return Reader(nodes, long_name)


def changes(reader: Reader, *events: tuple[int, str], now: float = 0.0) -> list[Change]:
    report = reader.read(buffer(*events), now)
    assert not report.lost
    return report.changes


def node(reader: Reader, number: int) -> Node:
    found = reader._nodes.get(number)
    assert found is not None
    return found


paths = st.lists(
    st.text(st.characters(codec="utf-16"), min_size=1).filter(lambda text: "\\" not in text),
    min_size=1,
    max_size=4,
).map("\\".join)


@given(st.lists(st.tuples(st.integers(1, 5), paths), max_size=8))
def test_records_are_read_as_they_were_written(events: list[tuple[int, str]]) -> None:
    written = [(action, path.encode("utf-8", "surrogatepass")) for action, path in events]
    assert list(records(buffer(*events))) == written


@given(st.binary(max_size=200))
def test_whatever_is_in_a_buffer_reading_it_ends(data: bytes) -> None:
    reader().read(data, 0.0)


@given(st.lists(st.tuples(st.integers(1, 5), paths), min_size=1, max_size=4), st.data())
def test_of_a_damaged_buffer_what_is_whole_is_read(
    events: list[tuple[int, str]], data: st.DataObject
) -> None:
    whole = buffer(*events)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    read = list(records(cut))
    assert read == list(records(whole))[: len(read)]
    reader().read(cut, 0.0)


def test_what_happened_below_is_found_by_its_path() -> None:
    assert changes(reader(), (ADDED, "top"), (GONE, "dir\\x"), (MODIFIED_ACTION, "dir\\file")) == [
        Change(1, b"top", CREATED),
        Change(2, b"x", REMOVED),
        Change(2, b"file", CHANGED),
    ]


def test_the_letters_case_is_no_matter() -> None:
    assert changes(reader(), (ADDED, "DIR\\New"), (MODIFIED_ACTION, "Dir\\FILE")) == [
        Change(2, b"New", CREATED),
        Change(2, b"file", CHANGED),
    ]


def test_what_nobody_in_the_guest_knows_is_left_out() -> None:
    assert changes(reader(), (ADDED, "other\\x"), (ADDED, "dir\\file\\x\\y")) == []


def test_of_a_directory_only_its_attributes_changed() -> None:
    assert changes(reader(), (MODIFIED_ACTION, "dir")) == [
        Change(2, b"", ATTRIBUTES, is_directory=True)
    ]


def test_the_halves_of_a_move_have_one_cookie() -> None:
    first, second, third, fourth = changes(
        reader(), (OLD_NAME, "a"), (NEW_NAME, "b"), (OLD_NAME, "dir"), (NEW_NAME, "e")
    )
    assert (first.kind, second.kind) == (MOVED_FROM, MOVED_TO)
    assert first.cookie == second.cookie != third.cookie == fourth.cookie
    assert third.is_directory


def test_what_happens_in_a_directory_that_has_just_moved_is_found() -> None:
    events = (OLD_NAME, "dir"), (NEW_NAME, "elsewhere"), (ADDED, "elsewhere\\x")
    assert changes(reader(), *events)[-1] == Change(2, b"x", CREATED)


def test_a_path_from_before_the_guest_moved_a_directory_is_found_for_a_while() -> None:
    table = reader()
    moved = node(table, 2)
    table._nodes.renamed(node(table, 1), b"dir", node(table, 1), b"new")
    assert changes(table, (ADDED, "dir\\x")) == []
    table.moved(node(table, 1), b"dir", moved, 0.0)
    assert changes(table, (ADDED, "dir\\x")) == [Change(2, b"x", CREATED)]
    assert changes(table, (ADDED, "dir\\x"), now=OWN_S + 0.1) == []


def test_what_there_was_no_room_for_is_lost() -> None:
    assert reader().read(None, 0.0).lost
    assert reader().read(b"", 0.0).lost


def test_short_names_are_asked_for() -> None:
    asked: list[tuple[int, bytes]] = []

    def long_name(directory: Node, name: bytes) -> bytes | None:
        asked.append((directory.id, name))
        return {b"DIR~1": b"dir", b"FIL~2.TXT": b"file"}.get(name)

    table = reader(long_name)
    assert changes(table, (ADDED, "DIR~1\\x"), (MODIFIED_ACTION, "DIR~1\\FIL~2.TXT")) == [
        Change(2, b"x", CREATED),
        Change(2, b"file", CHANGED),
    ]
    assert asked == [(1, b"DIR~1"), (2, b"FIL~2.TXT")]


def test_what_has_left_by_a_short_name_may_have_been_anything_there() -> None:
    assert changes(reader(), (GONE, "dir\\REMOVE~1.TXT")) == [Change(2, b"", UNWATCHED)]
    assert changes(reader(), (GONE, "dir\\no~short name")) == [Change(2, b"no~short name", REMOVED)]


def test_what_the_server_did_itself_is_told_from_others_for_a_while() -> None:
    table = reader()
    table.own.add(2, b"file", MODIFIED, 0.0)
    (change,) = changes(table, (MODIFIED_ACTION, "dir\\file"))
    assert not change.is_own  # it may be more than that
    table.own.add(2, b"file", CHANGED, 0.0)
    own, other = changes(table, (MODIFIED_ACTION, "dir\\file"), (GONE, "dir\\file"))
    assert own.is_own
    assert not other.is_own
    (late,) = changes(table, (MODIFIED_ACTION, "dir\\file"), now=OWN_S + 0.1)
    assert not late.is_own


def test_what_the_server_did_is_remembered_within_bounds() -> None:
    own = Own()
    for number in range(ntchanges._MOST_OWN + 10):
        own.add(number, b"name", CREATED, 0.0)
    assert len(own) == ntchanges._MOST_OWN
    assert own.includes(Change(ntchanges._MOST_OWN + 9, b"name", CREATED), 0.0)
    assert not own.includes(Change(0, b"name", CREATED), 0.0)
