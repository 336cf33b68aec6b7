"""What Linux programs hear by inotify(7) of what the host does."""

from __future__ import annotations

import os
import select
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyConstants as In
from watchdog.observers.inotify_c import inotify_add_watch, inotify_init

from tests.unit.drives import mounted as mounts
from tests.unit.native.harness import build_native

if sys.platform == "win32":
    pytest.skip("POSIX hosts only", allow_module_level=True)
assert sys.platform != "win32"

_DEADLINE_S = 10.0
_EVENT = struct.Struct("iIII")
_NAMES = {
    In.IN_MODIFY: "modify",
    In.IN_ATTRIB: "attrib",
    In.IN_CLOSE_WRITE: "close_write",
    In.IN_MOVED_FROM: "moved_from",
    In.IN_MOVED_TO: "moved_to",
    In.IN_CREATE: "create",
    In.IN_DELETE: "delete",
    In.IN_DELETE_SELF: "delete_self",
}
_MASK = sum(_NAMES)


class Listener:
    """Hears what happens in directories, as any Linux program does."""

    def __init__(self, *paths: Path) -> None:
        self.fd = inotify_init()
        self._paths: dict[int, str] = {}
        self.heard: list[tuple[str, str]] = []
        self.cookies: dict[str, int] = {}
        for path in paths:
            self.add(path)

    def add(self, path: Path) -> None:
        wd = inotify_add_watch(self.fd, os.fsencode(path), _MASK)
        assert wd >= 0
        self._paths[wd] = path.name

    def close(self) -> None:
        os.close(self.fd)

    def read(self, timeout_s: float) -> None:
        if not select.select([self.fd], [], [], timeout_s)[0]:
            return
        data = os.read(self.fd, 1 << 20)
        at = 0
        while at < len(data):
            wd, mask, cookie, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            name = data[at - length : at].rstrip(b"\0").decode()
            for bit, word in _NAMES.items():
                if mask & bit:
                    what = word + ("/" if mask & In.IN_ISDIR else "")
                    place = self._paths[wd] + "/" + name if name else self._paths[wd]
                    # A write in two steps may be reported in one or in two.
                    if what != "modify" or (what, place) not in self.heard[-1:]:
                        self.heard.append((what, place))
                    if cookie:
                        self.cookies[word] = cookie

    def hears(self, *expected: tuple[str, str]) -> None:
        """Wait until all of `expected` was heard, in that order, and nothing else."""
        deadline = time.monotonic() + _DEADLINE_S
        while len(self.heard) < len(expected) and time.monotonic() < deadline:
            self.read(0.1)
        heard, self.heard = self.heard, []
        assert heard == list(expected)


@pytest.fixture(scope="module")
def replayer() -> Path:
    return build_native("build/sanitize/replay-test")


@pytest.fixture(scope="module")
def drive(replayer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[mounts.Mounted]:
    with mounts.mounted(tmp_path_factory.mktemp("drive"), replayer=replayer) as mount:
        yield mount


@pytest.fixture
def here(drive: mounts.Mounted, request: pytest.FixtureRequest) -> Path:
    directory = drive.path / str(request.node.name)
    directory.mkdir()
    (directory / "d").mkdir()
    return directory


@pytest.fixture
def host(drive: mounts.Mounted, here: Path) -> Path:
    return drive.root / here.name


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    listeners: list[Listener] = []

    def start(*paths: Path) -> Listener:
        listeners.append(Listener(*paths))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


def test_a_file_is_made_written_and_removed(
    here: Path, host: Path, listen: Callable[..., Listener]
) -> None:
    listener = listen(here / "d")
    (host / "d" / "f").write_bytes(b"content")
    listener.hears(("create", "d/f"), ("modify", "d/f"), ("close_write", "d/f"))
    assert (here / "d" / "f").read_bytes() == b"content"
    with (host / "d" / "f").open("ab") as stream:
        stream.write(b" and more")
    listener.hears(("modify", "d/f"), ("close_write", "d/f"))
    assert (here / "d" / "f").read_bytes() == b"content and more"
    os.chmod(host / "d" / "f", 0o444)
    listener.hears(("attrib", "d/f"))
    assert not (here / "d" / "f").stat().st_mode & 0o222
    (host / "d" / "f").unlink()
    listener.hears(("delete", "d/f"))
    assert not (here / "d" / "f").exists()


def test_what_was_never_looked_at_is_removed(
    here: Path, host: Path, listen: Callable[..., Listener]
) -> None:
    (host / "d" / "f").touch()
    (host / "d" / "e").mkdir()
    time.sleep(0.5)  # what the fixture did is over: nobody listened yet
    listener = listen(here / "d")
    (host / "d" / "f").unlink()
    (host / "d" / "e").rmdir()
    listener.hears(("delete", "d/f"), ("delete/", "d/e"))
    assert os.listdir(here / "d") == []


def test_directories_links_and_pipes(
    here: Path, host: Path, listen: Callable[..., Listener]
) -> None:
    listener = listen(here / "d")
    (host / "d" / "e").mkdir()
    (host / "d" / "link").symlink_to("somewhere")
    os.mkfifo(host / "d" / "pipe")
    listener.hears(("create/", "d/e"), ("create", "d/link"), ("create", "d/pipe"))
    assert os.readlink(here / "d" / "link") == "somewhere"
    assert (here / "d" / "e").is_dir()
    listener.add(here / "d" / "e")
    (host / "d" / "e" / "inner").mkdir()
    listener.hears(("create/", "e/inner"))


def test_moves_have_both_halves(here: Path, host: Path, listen: Callable[..., Listener]) -> None:
    (here / "e").mkdir()
    (here / "d" / "f").write_bytes(b"x")
    (here / "d" / "dir").mkdir()
    (here / "d" / "dir" / "inner").write_bytes(b"inner")
    os.listdir(here / "e")
    listener = listen(here / "d", here / "e")
    os.rename(host / "d" / "f", host / "e" / "g")
    listener.hears(("moved_from", "d/f"), ("moved_to", "e/g"))
    assert listener.cookies["moved_from"] == listener.cookies["moved_to"]
    assert (here / "e" / "g").read_bytes() == b"x"
    os.rename(host / "d" / "dir", host / "e" / "moved")
    listener.hears(("moved_from/", "d/dir"), ("moved_to/", "e/moved"))
    assert (here / "e" / "moved" / "inner").read_bytes() == b"inner"
    assert os.listdir(here / "d") == []


def test_a_file_is_replaced_as_editors_do(
    here: Path, host: Path, listen: Callable[..., Listener]
) -> None:
    (here / "d" / "f").write_bytes(b"old")
    listener = listen(here / "d")
    (host / "d" / "f~").write_bytes(b"new")
    os.rename(host / "d" / "f~", host / "d" / "f")
    listener.hears(
        ("create", "d/f~"),
        ("modify", "d/f~"),
        ("close_write", "d/f~"),
        ("moved_from", "d/f~"),
        ("moved_to", "d/f"),
    )
    assert (here / "d" / "f").read_bytes() == b"new"
    assert os.listdir(here / "d") == ["f"]


def test_what_left_for_where_nobody_looks_is_removed(
    drive: mounts.Mounted, here: Path, host: Path, listen: Callable[..., Listener], tmp_path: Path
) -> None:
    (here / "d" / "f").write_bytes(b"x")
    listener = listen(here / "d")
    os.rename(host / "d" / "f", drive.root.parent / "elsewhere")
    listener.hears(("delete", "d/f"))
    os.rename(drive.root.parent / "elsewhere", host / "d" / "back")
    listener.hears(("create", "d/back"))


def test_a_watched_file_is_removed(here: Path, host: Path, listen: Callable[..., Listener]) -> None:
    (here / "d" / "f").write_bytes(b"x")
    listener = listen(here / "d" / "f")
    (host / "d" / "f").write_bytes(b"changed")
    listener.hears(("modify", "f"), ("close_write", "f"))
    (host / "d" / "f").unlink()
    deadline = time.monotonic() + _DEADLINE_S
    while ("delete_self", "f") not in listener.heard and time.monotonic() < deadline:
        listener.read(0.1)
    assert ("delete_self", "f") in listener.heard


def test_own_changes_are_heard_once(
    here: Path, host: Path, listen: Callable[..., Listener]
) -> None:
    listener = listen(here / "d")
    (here / "d" / "f").write_bytes(b"x")
    os.rename(here / "d" / "f", here / "d" / "g")
    (here / "d" / "g").unlink()
    os.mknod(host / "d" / "mark")
    listener.hears(
        ("create", "d/f"),
        ("modify", "d/f"),
        ("close_write", "d/f"),
        ("moved_from", "d/f"),
        ("moved_to", "d/g"),
        ("delete", "d/g"),
        ("create", "d/mark"),
    )


def test_nothing_is_replayed_where_nobody_watches(
    drive: mounts.Mounted, here: Path, host: Path, listen: Callable[..., Listener]
) -> None:
    (here / "e").mkdir()
    os.listdir(here / "e")
    listener = listen(here / "d")
    made = drive.counts[8]  # MKNOD
    for number in range(100):
        os.mknod(host / "e" / str(number))
    os.mknod(host / "d" / "mark")
    listener.hears(("create", "d/mark"))
    assert drive.counts[8] == made + 1


def test_a_storm_of_changes_is_heard_in_full(
    here: Path, host: Path, listen: Callable[..., Listener]
) -> None:
    listener = listen(here / "d")
    names = [f"{number:05}" for number in range(3000)]
    for name in names:
        (host / "d" / name).write_bytes(b"x")
    deadline = time.monotonic() + 30
    created: list[str] = []
    while len(created) < len(names) and time.monotonic() < deadline:
        listener.read(0.1)
        created = [place[2:] for what, place in listener.heard if what == "create"]
    assert created == names
