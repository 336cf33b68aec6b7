"""What Windows reports of a drive, as changes in nodes that the guest knows."""

from __future__ import annotations

import stat
import struct

from interop.drives import ntchanges
from interop.drives.changes import CREATED, MODIFIED, MOVED_FROM, MOVED_TO, REMOVED, Change
from interop.drives.nodes import NodeTable
from interop.drives.ntchanges import CHANGED, Own, Reader

ADDED, GONE, MODIFIED_ACTION, OLD_NAME, NEW_NAME = 1, 2, 3, 4, 5


def buffer(*events: tuple[int, str]) -> bytes:
    """A chain of FILE_NOTIFY_INFORMATION, as winnt.h lays it out."""
    parts = []
    for index, (action, path) in enumerate(events):
        wide = path.encode("utf-16-le")
        body = struct.pack("<II", action, len(wide)) + wide
        body += bytes(-len(body) % 4)
        following = len(body) + 4 if index + 1 < len(events) else 0
        parts.append(struct.pack("<I", following) + body)
    return b"".join(parts)


def known() -> NodeTable:
    """Node 2 is the directory "dir", 3 the file "dir/file"."""
    nodes = NodeTable((0, 1), stat.S_IFDIR)
    directory = nodes.found(nodes.root, b"dir", (0, 2), stat.S_IFDIR)
    nodes.found(directory, b"file", (0, 3), stat.S_IFREG)
    return nodes


def read(*buffers: bytes | None, own: Own | None = None, now: float = 0.0) -> list[Change]:
    report = Reader(known(), own or Own()).read(list(buffers), now)
    assert not report.lost
    return report.changes


def test_what_happened_below_is_found_by_its_path() -> None:
    data = buffer((ADDED, "top"), (GONE, "dir\\x"), (MODIFIED_ACTION, "dir\\file"))
    assert read(data) == [
        Change(1, b"top", CREATED),
        Change(2, b"x", REMOVED),
        Change(2, b"file", CHANGED),
    ]


def test_what_nobody_in_the_guest_knows_is_left_out() -> None:
    assert read(buffer((ADDED, "other\\x"), (ADDED, "dir\\file\\x\\y"))) == []


def test_a_directory_that_changed_is_no_news() -> None:
    assert read(buffer((MODIFIED_ACTION, "dir"))) == []


def test_the_halves_of_a_move_have_one_cookie() -> None:
    first, second, third, fourth = read(
        buffer((OLD_NAME, "a"), (NEW_NAME, "b"), (OLD_NAME, "dir"), (NEW_NAME, "e"))
    )
    assert (first.kind, second.kind) == (MOVED_FROM, MOVED_TO)
    assert first.cookie == second.cookie != third.cookie == fourth.cookie
    assert third.is_directory


def test_what_there_was_no_room_for_is_lost() -> None:
    report = Reader(known(), Own()).read([buffer((ADDED, "a")), None], 0.0)
    assert report.lost
    assert len(report.changes) == 1


def test_a_short_name_may_be_that_of_a_known_directory() -> None:
    assert Reader(known(), Own()).read([buffer((ADDED, "DIREC~1\\x"))], 0.0).lost


def test_what_the_server_did_itself_is_left_out_for_a_while() -> None:
    own = Own()
    own.add(2, b"file", MODIFIED, 0.0)
    assert len(read(buffer((MODIFIED_ACTION, "dir\\file")), own=own)) == 1
    own.add(2, b"file", CHANGED, 0.0)
    assert read(buffer((MODIFIED_ACTION, "dir\\file")), own=own) == []
    assert len(read(buffer((GONE, "dir\\file")), own=own)) == 1
    after = ntchanges.OWN_S + 0.1
    assert len(read(buffer((MODIFIED_ACTION, "dir\\file")), own=own, now=after)) == 1


def test_a_damaged_buffer_ends() -> None:
    assert read(buffer((ADDED, "a"))[:8]) == []
