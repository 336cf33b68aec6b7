"""What the host changes is seen at once, and what is watched costs no message meanwhile."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.unit.drives import mounted as mounts

if sys.platform == "win32":
    pytest.skip("POSIX hosts only", allow_module_level=True)
assert sys.platform != "win32"

_DEADLINE_S = 10.0


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mounts.Mounted]:
    with mounts.mounted(tmp_path_factory.mktemp("drive")) as mount:
        yield mount


@pytest.fixture
def here(drive: mounts.Mounted, request: pytest.FixtureRequest) -> Path:
    directory = drive.path / str(request.node.name)
    directory.mkdir()
    return directory


@pytest.fixture
def host(drive: mounts.Mounted, here: Path) -> Path:
    return drive.root / here.name


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what a notification under way brings about; nothing here lives for so long."""
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def content(path: Path) -> bytes | None:
    """What is in the file; None where the one that the kernel knows is not there any more."""
    try:
        return path.read_bytes()
    except OSError as error:
        assert error.errno == errno.ESTALE
        return None


def has(path: Path, expected: bytes) -> bool:
    return path.read_bytes() == expected


def walk(directory: Path) -> list[tuple[str, int, int]]:
    """Every name below, with its size and modification time."""
    found: list[tuple[str, int, int]] = []
    for parent, _, files in os.walk(directory):
        found.append((parent, 0, os.stat(parent).st_mtime_ns))
        for name in files:
            status = os.lstat(os.path.join(parent, name))
            found.append((os.path.join(parent, name), status.st_size, status.st_mtime_ns))
    return found


def fill(directory: Path) -> None:
    for number in range(5):
        inner = directory / f"d{number}" / "deep"
        inner.mkdir(parents=True)
        for name in ("a", "b", "c"):
            (inner / name).write_bytes(name.encode() * 100)


def read_all(directory: Path) -> None:
    """Read every file, and look for one that is not there beside each."""
    for path in directory.rglob("?"):
        fd = os.open(path, os.O_RDONLY)  # open() would ask whether it is a terminal
        assert os.read(fd, 1000) == path.name.encode() * 100
        os.close(fd)
        assert not path.with_name("absent").exists()


def test_what_is_known_costs_no_message(drive: mounts.Mounted, here: Path, host: Path) -> None:
    def cost() -> int:
        before = drive.messages()
        assert len(walk(here)) == 1 + 5 * 5
        read_all(here)
        return drive.messages() - before

    fill(host)
    # At first what fill() did is still being reported, and reading changes times of access.
    eventually(lambda: cost() == 0)
    time.sleep(1.5)  # longer than what is not watched may be remembered
    assert cost() == 0


def test_what_the_mount_does_itself_is_not_notified(
    drive: mounts.Mounted, here: Path, host: Path
) -> None:
    (here / "sub").mkdir()
    before = drive.notifications()
    (here / "file").write_bytes(b"content")
    with (here / "file").open("ab") as stream:
        stream.write(b" and more")
    os.chmod(here / "file", 0o444)
    os.chmod(here / "file", 0o644)
    os.utime(here / "file", ns=(1, 2))
    os.utime(here / "sub", ns=(3, 4))
    os.truncate(here / "file", 3)
    os.rename(here / "file", here / "sub" / "renamed")
    os.link(here / "sub" / "renamed", here / "linked")
    (here / "link").symlink_to("linked")
    (here / "new").mkdir()
    (here / "new" / "inner").touch()
    (here / "new" / "inner").unlink()
    (here / "new").rmdir()
    (here / "linked").unlink()
    assert (here / "sub" / "renamed").read_bytes() == b"con"
    os.mknod(host / "mark")  # by then all of it has been reported
    eventually(lambda: drive.notifications() - before >= 2)
    assert drive.notifications() - before == 2


def test_new_content_is_seen(here: Path, host: Path) -> None:
    (host / "file").write_bytes(b"before")
    assert (here / "file").read_bytes() == b"before"
    with (here / "file").open("rb", buffering=0) as stream:
        (host / "file").write_bytes(b"after!")
        eventually(lambda: os.pread(stream.fileno(), 100, 0) == b"after!")
        with (host / "file").open("ab") as appended:
            appended.write(b" more")
        eventually(lambda: os.fstat(stream.fileno()).st_size == 11)
    assert (here / "file").read_bytes() == b"after! more"


def test_content_of_the_same_size_and_time_is_seen(here: Path, host: Path) -> None:
    (host / "file").write_bytes(b"before")
    os.utime(host / "file", ns=(5, 5))
    assert (here / "file").read_bytes() == b"before"
    fd = os.open(host / "file", os.O_WRONLY)
    os.write(fd, b"after!")
    os.utime(fd, ns=(5, 5))
    os.close(fd)
    eventually(lambda: (here / "file").read_bytes() == b"after!")


def test_names_come_go_and_move(here: Path, host: Path) -> None:
    assert not (here / "new").exists()
    (host / "new").write_bytes(b"x")
    eventually((here / "new").exists)
    assert os.listdir(here) == ["new"]
    os.rename(host / "new", host / "moved")
    eventually((here / "moved").exists)
    assert os.listdir(here) == ["moved"]
    (host / "other").write_bytes(b"other")
    eventually((here / "other").exists)
    os.rename(host / "other", host / "moved")
    eventually(lambda: content(here / "moved") == b"other")
    (host / "moved").unlink()
    eventually(lambda: not (here / "moved").exists())
    assert os.listdir(here) == []


def test_a_moved_directory_is_followed(here: Path, host: Path) -> None:
    fill(host)
    walk(here)
    os.rename(host / "d0", host / "d1" / "moved")
    eventually((here / "d1" / "moved" / "deep" / "a").exists)
    assert not (here / "d0").exists()
    (host / "d1" / "moved" / "deep" / "new").touch()
    eventually((here / "d1" / "moved" / "deep" / "new").exists)
    (here / "d1" / "moved" / "deep" / "b").write_bytes(b"through the mount")
    assert (host / "d1" / "moved" / "deep" / "b").read_bytes() == b"through the mount"


def test_attributes_of_files_and_directories_are_seen(here: Path, host: Path) -> None:
    (host / "file").touch()
    (host / "sub").mkdir()
    walk(here)
    os.chmod(host / "file", 0o444)
    eventually(lambda: not (here / "file").stat().st_mode & 0o222)
    os.utime(host / "sub", ns=(7, 7))
    eventually(lambda: (here / "sub").stat().st_mtime_ns == 7)
    (host / "sub" / "inner").touch()
    eventually(lambda: (here / "sub").stat().st_mtime_ns != 7)


def test_another_link_of_a_file_is_seen_in_a_second(here: Path, host: Path) -> None:
    (host / "aside").mkdir()
    (host / "file").write_bytes(b"before")
    os.link(host / "file", host / "aside" / "link")
    assert (here / "file").read_bytes() == b"before"
    (host / "aside" / "link").write_bytes(b"longer than before")
    eventually(lambda: (here / "file").read_bytes() == b"longer than before")


def test_a_truncated_file_does_not_grow_back(here: Path, host: Path) -> None:
    """A page that a mapping has changed is written back, but not where the file ended since."""
    (host / "file").write_bytes(b"x" * 8192)
    script = (
        "import mmap, os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDWR)\n"
        "view = mmap.mmap(fd, 0)\n"
        "view[4096:4100] = b'over'\n"
        "os.truncate(sys.argv[2], 100)\n"
        "os.fsync(fd)\n"
    )
    argv = [sys.executable, "-SEc", script, str(here / "file"), str(host / "file")]
    subprocess.run(argv, check=True, timeout=20)
    assert (host / "file").stat().st_size == 100


def test_more_directories_than_can_be_watched(tmp_path: Path) -> None:
    """Each makes room for the next, and what was known of it is asked for again."""
    with mounts.mounted(tmp_path, watches=3) as drive:
        fill(drive.root)
        for _ in range(2):
            walk(drive.path)
            for number in range(5):
                assert not (drive.path / f"d{number}" / "deep" / "new").exists()
        for number in range(5):
            (drive.root / f"d{number}" / "deep" / "a").write_bytes(b"changed")
            (drive.root / f"d{number}" / "deep" / "new").touch()
        for number in range(5):
            eventually((drive.path / f"d{number}" / "deep" / "new").exists)
            eventually(partial(has, drive.path / f"d{number}" / "deep" / "a", b"changed"))


def test_where_changes_are_not_reported_nothing_is_kept_for_long(tmp_path: Path) -> None:
    with mounts.mounted(tmp_path, watchable=False) as drive:
        (drive.root / "file").write_bytes(b"before")
        assert (drive.path / "file").read_bytes() == b"before"
        assert not (drive.path / "new").exists()
        (drive.root / "file").write_bytes(b"after!")
        (drive.root / "new").touch()
        started = time.monotonic()
        eventually((drive.path / "new").exists)
        eventually(lambda: (drive.path / "file").read_bytes() == b"after!")
        assert time.monotonic() - started < _DEADLINE_S
        assert drive.states() == ["limited"]


def test_lost_changes_end_all_that_was_kept(tmp_path: Path) -> None:
    """While the server stands still more happens than inotify keeps for it."""
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with mounts.mounted(tmp_path) as drive:
        fill(drive.root)
        (drive.root / "many").mkdir()
        (drive.root / "many" / "one").touch()
        (drive.root / "many" / "other").touch()
        walk(drive.path)
        assert not (drive.path / "d4" / "deep" / "new").exists()
        os.kill(drive.pid, signal.SIGSTOP)
        try:
            for _ in range(queue // 2 + 100):  # in turn: inotify puts together what is the same
                os.utime(drive.root / "many" / "one")
                os.utime(drive.root / "many" / "other")
            (drive.root / "d4" / "deep" / "a").write_bytes(b"changed")
            (drive.root / "d4" / "deep" / "new").touch()
        finally:
            os.kill(drive.pid, signal.SIGCONT)
        eventually((drive.path / "d4" / "deep" / "new").exists)
        eventually(lambda: (drive.path / "d4" / "deep" / "a").read_bytes() == b"changed")
        assert drive.states() == ["watching", "limited"]


def test_a_written_file_is_given_free(drive: mounts.Mounted, here: Path, host: Path) -> None:
    """A program of the host can be started that Linux has just written (execve(2), ETXTBSY)."""
    shutil.copy("/bin/true", here / "program")
    os.chmod(host / "program", 0o755)
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        try:
            subprocess.run([host / "program"], check=True, timeout=20)
            break
        except OSError as error:
            assert error.errno == errno.ETXTBSY
            assert time.monotonic() < deadline
            time.sleep(0.01)
