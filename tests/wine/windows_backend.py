"""The backend of Windows hosts on a directory of Windows, without a kernel that asks it.

Run by a Windows Python's pytest: `test_wine_drives.py` does so under Wine, the job `windows` of
ci.yml on Windows, which alone has what the marks below name.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interop.drives import backend_windows, linuxerrno, nt_windows, watcher_windows
from interop.drives.backend import Caller, Found
from interop.drives.changes import CREATED, MODIFIED, MOVED_FROM, MOVED_TO, REMOVED, Change
from interop.drives.constants import ROOT_ID, SetAttr
from interop.drives.metadata import Case, Options
from interop.drives.protocol import SetattrIn

assert sys.platform == "win32"

WindowsBackend = backend_windows.WindowsBackend
ROOT = Caller(0, 0)
USER = Caller(1000, 1000)
IS_WINE = hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")
needs_windows = pytest.mark.skipif(IS_WINE, reason="Wine has no such thing")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "drive"
    directory.mkdir()
    return directory


@pytest.fixture
def drive(root: Path) -> Iterator[WindowsBackend]:
    backend = WindowsBackend(str(root))
    yield backend
    backend.close()


def names(drive: WindowsBackend, node: int = ROOT_ID) -> set[bytes]:
    found: set[bytes] = set()

    def emit(name: bytes, ino: int, kind: int, following: int, entry: Found | None) -> bool:
        found.add(name)
        return True

    drive.readdir(node, 0, True, emit)
    return found - {b".", b".."}


def made(drive: WindowsBackend, name: bytes, content: bytes = b"", parent: int = ROOT_ID) -> int:
    node = drive.create(ROOT, parent, name, 0o644, 0).node
    drive.write(node, 0, memoryview(bytearray(content)), False)
    return node


def change(valid: int, mode: int = 0, uid: int = 0, size: int = 0, mtime: int = 0) -> SetattrIn:
    return SetattrIn(valid, 0, size, 0, mtime, 0, 7_000, mode, uid, 0)


def failing(number: int) -> contextlib.AbstractContextManager[object]:
    return pytest.raises(OSError, check=lambda error: error.errno == number)


def test_contents(drive: WindowsBackend, root: Path) -> None:
    node = made(drive, b"file", b"one two")
    assert (root / "file").read_bytes() == b"one two"
    assert bytes(drive.read(node, 4, 100)) == b"two"
    assert bytes(drive.read(node, 100, 100)) == b""
    drive.setattr(node, change(SetAttr.SIZE, size=3))
    drive.fallocate(node, 0, 0, 10)
    drive.fsync(node, False)
    assert (root / "file").read_bytes() == b"one" + bytes(7)
    assert drive.getattr(node).attributes.size == 10


def test_times_are_kept_to_100_ns(drive: WindowsBackend) -> None:
    node = made(drive, b"file")
    drive.setattr(node, change(SetAttr.MTIME, mtime=1_000_000_000))
    assert drive.getattr(node).attributes.mtime_ns == 1_000_000_000_000_007_000
    drive.setattr(node, change(SetAttr.MTIME | SetAttr.MTIME_NOW))
    assert drive.getattr(node).attributes.mtime_ns > 1_600_000_000_000_000_000


def test_read_only_crosses(drive: WindowsBackend, root: Path) -> None:
    node = made(drive, b"file")
    shown = drive.setattr(node, change(SetAttr.MODE, mode=0o444)).attributes
    assert stat.S_IMODE(shown.mode) == 0o555
    assert not (root / "file").stat().st_mode & stat.S_IWRITE
    # Whoever had it open before writes on, as git does with what it makes read-only.
    drive.close_written(float("inf"))
    drive.write(node, 0, memoryview(bytearray(b"x")), False)
    assert (root / "file").read_bytes() == b"x"
    assert not (root / "file").stat().st_mode & stat.S_IWRITE
    drive.unlink(ROOT_ID, b"file")
    assert not (root / "file").exists()


def test_directories_and_renames(drive: WindowsBackend, root: Path) -> None:
    directory = drive.mkdir(ROOT, ROOT_ID, b"one", 0o755).node
    made(drive, b"file", b"kept", directory)
    with failing(linuxerrno.ENOTEMPTY):
        drive.rmdir(ROOT_ID, b"one")
    with failing(linuxerrno.EEXIST):
        drive.mkdir(ROOT, ROOT_ID, b"ONE", 0o755)
    drive.rename(ROOT_ID, b"one", ROOT_ID, b"two", 0)
    other = made(drive, b"other", b"replaced")
    with failing(linuxerrno.EEXIST):
        drive.rename(directory, b"file", ROOT_ID, b"other", 1)
    with failing(linuxerrno.EINVAL):
        drive.rename(directory, b"file", ROOT_ID, b"other", 2)
    drive.rename(directory, b"file", ROOT_ID, b"other", 0)
    assert (root / "other").read_bytes() == b"kept"
    drive.rmdir(ROOT_ID, b"two")
    assert names(drive) == {b"other"}
    drive.forget(other, 1)


def test_an_empty_directory_is_replaced(drive: WindowsBackend, root: Path) -> None:
    drive.mkdir(ROOT, ROOT_ID, b"from", 0o755)
    (root / "from" / "file").touch()
    drive.mkdir(ROOT, ROOT_ID, b"to", 0o755)
    drive.rename(ROOT_ID, b"from", ROOT_ID, b"to", 0)
    assert [path.name for path in (root / "to").iterdir()] == ["file"]
    drive.mkdir(ROOT, ROOT_ID, b"from", 0o755)
    with failing(linuxerrno.ENOTEMPTY):
        drive.rename(ROOT_ID, b"from", ROOT_ID, b"to", 0)


def test_letters_of_either_case(drive: WindowsBackend, root: Path) -> None:
    (root / "Straße.TXT").write_text("x")
    found = drive.lookup(ROOT_ID, "straße.txt".encode())
    assert drive.lookup(ROOT_ID, "Straße.TXT".encode()).node == found.node
    drive.rename(ROOT_ID, "straße.txt".encode(), ROOT_ID, b"lower", 0)
    assert os.listdir(root) == ["lower"]
    with failing(linuxerrno.ENOENT):
        drive.lookup(ROOT_ID, b"missing")


@needs_windows
def test_a_name_gets_other_letters(drive: WindowsBackend, root: Path) -> None:
    made(drive, b"lower")
    drive.rename(ROOT_ID, b"lower", ROOT_ID, b"LOWER", 0)
    assert os.listdir(root) == ["LOWER"]


def test_names_that_windows_forbids(drive: WindowsBackend, root: Path) -> None:
    made(drive, b'a:b?"*|<>\\c')
    assert os.listdir(root) == ["a\uf03ab\uf03f\uf022\uf02a\uf07c\uf03c\uf03e\uf05cc"]
    assert names(drive) == {b'a:b?"*|<>\\c'}
    drive.unlink(ROOT_ID, b'a:b?"*|<>\\c')
    with failing(linuxerrno.EINVAL):
        drive.lookup(ROOT_ID, b"\xff")


def test_hard_links_share_a_node(drive: WindowsBackend) -> None:
    node = made(drive, b"one", b"shared")
    linked = drive.link(node, ROOT_ID, b"two")
    assert (linked.node, linked.attributes.nlink) == (node, 2)
    drive.unlink(ROOT_ID, b"one")
    again = drive.lookup(ROOT_ID, b"two")
    assert (again.node, again.attributes.nlink) == (node, 1)


def test_a_file_put_in_anothers_place_is_stale(drive: WindowsBackend, root: Path) -> None:
    node = made(drive, b"file", b"before")
    drive.close_written(float("inf"))
    os.rename(root / "file", root / "away")
    (root / "file").write_text("another")
    with failing(linuxerrno.ESTALE):
        drive.read(node, 0, 10)
    assert bytes(drive.read(drive.lookup(ROOT_ID, b"file").node, 0, 10)) == b"another"


def test_nothing_is_kept_open_for_long(drive: WindowsBackend, root: Path) -> None:
    """The host may rename a directory, or open a file for itself, once the guest is quiet."""
    directory = drive.mkdir(ROOT, ROOT_ID, b"directory", 0o755).node
    made(drive, b"file", b"x", directory)
    assert drive.tree.handles > 1
    assert drive.close_written(float("inf")) is None
    assert drive.tree.handles == 1
    os.rename(root / "directory", root / "renamed")


def test_a_file_that_a_program_has_for_itself(drive: WindowsBackend, root: Path) -> None:
    (root / "file").write_text("x")
    node = drive.lookup(ROOT_ID, b"file").node
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.CreateFileW.restype = ctypes.c_void_p
    # GENERIC_READ, no sharing, OPEN_EXISTING (fileapi.h).
    handle = kernel32.CreateFileW(str(root / "file"), 0x80000000, 0, None, 3, 0, None)
    try:
        with failing(linuxerrno.EBUSY):
            drive.read(node, 0, 1)
        with failing(linuxerrno.EBUSY):
            drive.unlink(ROOT_ID, b"file")
        assert drive.getattr(node).attributes.size == 1
    finally:
        nt_windows.close(handle)
    assert bytes(drive.read(node, 0, 1)) == b"x"


def test_the_space_on_the_volume(drive: WindowsBackend) -> None:
    space = drive.statfs()
    assert 0 < space.available <= space.blocks
    assert space.block % 512 == 0


Watcher = watcher_windows.SubtreeWatcher
Watched = tuple[WindowsBackend, Watcher]


def foreign(watcher: Watcher, until: Callable[[Change], bool]) -> list[Change]:
    """What others did, as it is reported, up to the first that is meant."""
    found: list[Change] = []
    while not any(map(until, found)):
        ready, _, _ = select.select([watcher.fileno()], [], [], 20)
        assert ready, found
        report = watcher.read()
        assert not report.lost
        found += (change for change in report.changes if not change.is_own)
    return found


@pytest.fixture
def watched(root: Path) -> Iterator[Watched]:
    watcher = Watcher(str(root))
    backend = WindowsBackend(str(root), watcher=watcher)
    yield backend, watcher
    backend.close()
    watcher.close()


def test_what_others_do_in_the_root_is_reported(watched: Watched, root: Path) -> None:
    _, watcher = watched
    (root / "new").write_text("x")
    made = foreign(watcher, lambda change: bool(change.kind & MODIFIED))
    assert made[0][:3] == (ROOT_ID, b"new", CREATED)
    os.rename(root / "new", root / "moved")
    moved = foreign(watcher, lambda change: bool(change.kind & MOVED_TO))
    (source,) = (change for change in moved if change.kind & MOVED_FROM)
    assert (source.name, moved[-1].name) == (b"new", b"moved")
    assert source.cookie == moved[-1].cookie != 0
    (root / "moved").unlink()
    assert foreign(watcher, lambda change: bool(change.kind & REMOVED))[-1].name == b"moved"


def test_what_others_do_below_is_reported(watched: Watched, root: Path) -> None:
    drive, watcher = watched
    (root / "one" / "two").mkdir(parents=True)
    one = drive.lookup(ROOT_ID, b"one").node
    two = drive.lookup(one, b"two").node
    names(drive, two)
    (root / "one" / "two" / "file").touch()
    below = foreign(watcher, lambda change: change.name == b"file")
    assert below[-1][:3] == (two, b"file", CREATED)


def test_what_the_server_does_itself_is_told_from_that(watched: Watched, root: Path) -> None:
    drive, watcher = watched
    made(drive, b"mine", b"x")
    drive.mkdir(ROOT, ROOT_ID, b"directory", 0o755)
    drive.rename(ROOT_ID, b"mine", ROOT_ID, b"renamed", 0)
    drive.setattr(drive.lookup(ROOT_ID, b"renamed").node, change(SetAttr.SIZE, size=0))
    drive.unlink(ROOT_ID, b"renamed")
    drive.rmdir(ROOT_ID, b"directory")
    (root / "foreign").touch()
    reported = foreign(watcher, lambda change: change.name == b"foreign")
    assert {change.name for change in reported if change.name} == {b"foreign"}


def test_what_others_do_where_the_guest_moved_a_directory_from(
    watched: Watched, root: Path
) -> None:
    drive, watcher = watched
    node = drive.mkdir(ROOT, ROOT_ID, b"before", 0o755).node
    names(drive, node)
    drive.rename(ROOT_ID, b"before", ROOT_ID, b"after", 0)
    (root / "after" / "file").touch()
    assert foreign(watcher, lambda change: change.name == b"file")[-1].directory == node


def test_more_than_there_is_room_for_is_said_to_be_lost(watched: Watched, root: Path) -> None:
    _, watcher = watched
    is_lost = False
    while not is_lost:
        for number in range(watcher_windows._MOST_BUFFERS):
            (root / f"{number}").touch()
            (root / f"{number}").unlink()
        assert select.select([watcher.fileno()], [], [], 20)[0]
        is_lost = watcher.read().lost


def test_whoever_serves_is_woken_for_all_there_is(watched: Watched, root: Path) -> None:
    _, watcher = watched
    for number in range(20):
        (root / f"{number}").touch()
    foreign(watcher, lambda change: change.name == b"19" and bool(change.kind & CREATED))


def test_what_is_not_there_cannot_be_watched(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Watcher(str(root / "missing"))


def test_of_what_is_watched_names_and_directories_are_kept(watched: Watched, root: Path) -> None:
    drive, _ = watched
    made(drive, b"File")
    file = drive.lookup(ROOT_ID, b"File")
    assert (file.name_kept, file.attributes_kept) == (True, False)
    assert not drive.lookup(ROOT_ID, b"fILE").name_kept  # what changes is called "File"
    (root / "directory").mkdir()
    directory = drive.lookup(ROOT_ID, b"directory")
    assert (directory.name_kept, directory.attributes_kept) == (True, False)
    names(drive, directory.node)
    assert drive.getattr(directory.node).attributes_kept


@needs_windows
def test_what_others_do_where_nobody_has_been_is_reported(watched: Watched, root: Path) -> None:
    drive, watcher = watched
    (root / "one" / "two").mkdir(parents=True)
    two = drive.lookup(drive.lookup(ROOT_ID, b"one").node, b"two").node
    (root / "one" / "two" / "file").touch()
    assert foreign(watcher, lambda change: change.name == b"file")[-1].directory == two


@needs_windows
def test_a_directory_of_which_something_is_watched_can_be_renamed_and_removed(
    watched: Watched, root: Path
) -> None:
    drive, watcher = watched
    (root / "one" / "two").mkdir(parents=True)
    one = drive.lookup(ROOT_ID, b"one").node
    names(drive, drive.lookup(one, b"two").node)
    drive.close_written(time.monotonic() + 1)
    os.rename(root / "one", root / "uno")
    foreign(watcher, lambda change: bool(change.kind & MOVED_TO))
    (root / "uno" / "two").rmdir()
    (root / "uno").rmdir()
    foreign(watcher, lambda change: bool(change.kind & REMOVED) and change.name == b"uno")


@needs_windows
def test_an_unlinked_file_that_is_open_goes_on(drive: WindowsBackend, root: Path) -> None:
    node = made(drive, b"file", b"still there")
    drive.unlink(ROOT_ID, b"file")
    assert not (root / "file").exists()
    assert bytes(drive.read(node, 0, 100)) == b"still there"
    drive.forget(node, 1)
    with failing(linuxerrno.ESTALE):
        drive.getattr(node)


@needs_windows
def test_a_junction_leads_nowhere_for_the_server(drive: WindowsBackend, root: Path) -> None:
    """One that is put in a directory's place, while the kernel knows what was below that."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    directory = drive.mkdir(ROOT, ROOT_ID, b"inside", 0o755).node
    made(drive, b"secret", b"mine", directory)
    drive.close_written(float("inf"))
    os.rename(root / "inside", root / "moved")
    subprocess.run(
        ["cmd", "/c", "mklink", "/J", str(root / "inside"), str(outside)],
        check=True,
        capture_output=True,
    )
    with failing(linuxerrno.ESTALE):
        drive.lookup(directory, b"secret")
    with failing(linuxerrno.ESTALE):
        drive.create(ROOT, directory, b"new", 0o644, 0)
    assert os.listdir(outside) == ["secret"]
    link = drive.lookup(ROOT_ID, b"inside")
    assert stat.S_ISLNK(link.attributes.mode)
    letter, rest = str(outside)[0].lower(), str(outside)[2:].replace("\\", "/")
    assert drive.readlink(link.node).decode() == f"/mnt/{letter}{rest}"
    drive.unlink(ROOT_ID, b"inside")
    assert (outside / "secret").read_text() == "secret"


@needs_windows
def test_a_racing_junction(drive: WindowsBackend, root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    directory = drive.mkdir(ROOT, ROOT_ID, b"inside", 0o755).node
    drive.close_written(float("inf"))
    subprocess.run(
        ["cmd", "/c", "mklink", "/J", str(root / "link"), str(outside)],
        check=True,
        capture_output=True,
    )
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for old, new in (("inside", "spare"), ("link", "inside")):
                try_rename(root / old, root / new)
            for old, new in (("inside", "link"), ("spare", "inside")):
                try_rename(root / old, root / new)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(300):
            with contextlib.suppress(OSError):
                drive.create(ROOT, directory, b"new%d" % number, 0o644, 0)
            drive.close_written(float("inf"))
    finally:
        stop.set()
        thread.join()
    assert os.listdir(outside) == []


def try_rename(old: Path, new: Path) -> None:
    with contextlib.suppress(OSError):
        os.rename(old, new)


@needs_windows
def test_symbolic_links(drive: WindowsBackend) -> None:
    link = drive.symlink(ROOT, ROOT_ID, b"link", b"/etc/pass\xffwd")
    assert stat.S_ISLNK(link.attributes.mode)
    assert drive.readlink(link.node) == b"/etc/pass\xffwd"
    drive.unlink(ROOT_ID, b"link")
    assert names(drive) == set()


@pytest.mark.skipif(not IS_WINE, reason="Windows has symbolic links")
def test_where_there_are_no_symbolic_links_none_is_made(drive: WindowsBackend, root: Path) -> None:
    (root / "target").touch()
    with failing(linuxerrno.EPERM):
        drive.symlink(ROOT, ROOT_ID, b"link", b"target")
    assert names(drive) == {b"target"}


@needs_windows
def test_windows_follows_links_within_the_drive(drive: WindowsBackend, root: Path) -> None:
    """For this the user needs the right to make links, or Developer Mode, as runners have it."""
    (root / "directory").mkdir()
    (root / "directory" / "file").write_text("content")
    node = drive.lookup(ROOT_ID, b"directory").node
    for parent, name, target in (
        (ROOT_ID, "to file", b"directory/file"),
        (ROOT_ID, "to directory", b"./directory"),
        (node, "up", b"../directory/file"),
    ):
        link = drive.symlink(ROOT, parent, name.encode(), target)
        assert stat.S_ISLNK(link.attributes.mode)
        assert drive.readlink(link.node) == target
    for path in ("to file", "to directory/file", "directory/up"):
        assert (root / path).read_text() == "content"
    drive.unlink(ROOT_ID, b"to directory")
    for target in (b"missing", b"/mnt/c", b"to file/..", b"directory/up"):
        link = drive.symlink(ROOT, ROOT_ID, b"of WSL", target)
        assert drive.readlink(link.node) == target
        drive.unlink(ROOT_ID, b"of WSL")
    with failing(linuxerrno.EEXIST):
        drive.symlink(ROOT, ROOT_ID, b"to file", b"directory/file")


@needs_windows
def test_metadata_is_kept(root: Path) -> None:
    drive = WindowsBackend(str(root), Options(metadata=True))
    node = drive.create(USER, ROOT_ID, b"file", 0o640, 0).node
    fifo = drive.mknod(USER, ROOT_ID, b"fifo", stat.S_IFIFO | 0o600, 0)
    assert stat.S_ISFIFO(fifo.attributes.mode)
    drive.setattr(node, change(SetAttr.UID | SetAttr.MODE, mode=0o4755, uid=7))
    drive.close()
    again = WindowsBackend(str(root), Options(metadata=True))
    shown = again.lookup(ROOT_ID, b"file").attributes
    assert (shown.uid, shown.gid, shown.mode) == (7, 1000, stat.S_IFREG | 0o4755)
    found = again.lookup(ROOT_ID, b"file").node
    again.write(found, 0, memoryview(bytearray(b"x")), True)
    assert again.getattr(found).attributes.mode == stat.S_IFREG | 0o755
    again.close()


@needs_windows
def test_names_that_differ_by_case_in_a_new_directory(root: Path) -> None:
    drive = WindowsBackend(str(root), Options(case=Case.DIR))
    try:
        nt_windows.set_case_sensitive(drive.tree.root)
    except OSError as error:
        if error.errno == linuxerrno.EOPNOTSUPP:
            pytest.skip("this Windows has it only together with WSL")
    directory = drive.mkdir(ROOT, ROOT_ID, b"strict", 0o755).node
    made(drive, b"a", b"", directory)
    made(drive, b"A", b"", directory)
    assert names(drive, directory) == {b"a", b"A"}
    drive.close()


def test_metadata_that_cannot_be_kept_is_no_error(root: Path) -> None:
    """Where the file system keeps none; where it does, this is what it was told."""
    drive = WindowsBackend(str(root), Options(metadata=True))
    node = drive.create(USER, ROOT_ID, b"file", 0o640, 0).node
    drive.setattr(node, change(SetAttr.UID, uid=7))
    assert drive.getattr(node).attributes.uid == (0 if IS_WINE else 7)
    drive.close()
