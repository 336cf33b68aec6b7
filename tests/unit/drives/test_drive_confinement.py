"""Nothing that a host program does to names meanwhile leads the server out of its root."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interop.drives import libc_posix
from interop.drives.constants import RENAME_EXCHANGE
from tests.unit.drives import mounted as mounts

if sys.platform == "win32":
    pytest.skip("POSIX hosts only", allow_module_level=True)
assert sys.platform != "win32"

_ENOUGH_S = 2.0
_ENOUGH = 100
"""Attempts that went either way."""


def _swap(one: Path, other: Path, done: multiprocessing.synchronize.Event) -> None:
    names = os.fsencode(one), os.fsencode(other)
    while not done.is_set():
        until = time.monotonic() + 0.2
        while time.monotonic() < until:
            for _ in range(100):
                libc_posix.rename(-100, names[0], -100, names[1], RENAME_EXCHANGE)
        # Each has its own name now. Without a pause the reports of changes never end, and on a
        # fast host hardly an attempt succeeds while the drive is watched.
        time.sleep(0.1)


@contextmanager
def swapping(one: Path, other: Path) -> Iterator[None]:
    """Have a host program exchange two names as fast as it can."""
    context = multiprocessing.get_context("fork")
    done = context.Event()
    attacker = context.Process(target=_swap, args=(one, other, done))
    attacker.start()
    try:
        yield
    finally:
        done.set()
        attacker.join()
    assert attacker.exitcode == 0


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory beside the drive's root, but not beside where it is mounted.

    So "../outside" leads there on the host, and nowhere for the kernel that uses the mount.
    """
    directory = tmp_path / "host" / "outside"
    (tmp_path / "host" / "root").mkdir(parents=True)
    (tmp_path / "root").symlink_to("host/root")
    (directory / "inner").mkdir(parents=True)
    for place in (directory, directory / "inner"):
        (place / "file").write_bytes(b"outside")
        (place / "only-outside").write_bytes(b"outside")
    return directory


def snapshot(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return found


def attempts(directory: Path) -> list[Callable[[], object]]:
    """What a Linux program may try in a directory that is being swapped."""
    name = directory / "file"

    def write() -> None:
        fd = os.open(name, os.O_WRONLY)
        try:
            os.write(fd, b"inside!")
        finally:
            os.close(fd)

    return [
        name.read_bytes,
        write,
        lambda: os.truncate(name, 7),
        lambda: os.chmod(name, 0o600),
        lambda: os.utime(name, ns=(1, 1)),
        lambda: (directory / "new").write_bytes(b"inside!"),
        (directory / "new").unlink,
        (directory / "dir").mkdir,
        (directory / "dir").rmdir,
        lambda: (directory / "link").symlink_to("file"),
        (directory / "link").unlink,
        lambda: os.link(name, directory / "hard"),
        (directory / "hard").unlink,
        lambda: os.rename(name, directory / "renamed"),
        lambda: os.rename(directory / "renamed", name),
        lambda: os.setxattr(name, "user.note", b"inside"),
        lambda: [os.lstat(directory / name) for name in os.listdir(directory)],
    ]


@pytest.mark.parametrize("deep", [False, True], ids=["in-the-root", "in-a-parent"])
@pytest.mark.parametrize("lifetime_s", [0.0, None], ids=["nothing-kept", "watched"])
def test_a_directory_that_turns_into_a_link(
    tmp_path: Path, outside: Path, deep: bool, lifetime_s: float | None
) -> None:
    """The link leads out of the root; the server must take it for a link and nothing else."""
    with mounts.mounted(tmp_path, "metadata", lifetime_s=lifetime_s) as drive:
        (drive.root / "d" / "inner").mkdir(parents=True)
        for place in (drive.root / "d", drive.root / "d" / "inner"):
            (place / "file").write_bytes(b"inside!")
        (drive.root / "link").symlink_to("../outside")
        assert (drive.root / "link" / "file").read_bytes() == b"outside"
        before = snapshot(outside)
        directory = drive.path / "d" / "inner" if deep else drive.path / "d"
        succeeded = failed = 0
        with swapping(drive.root / "d", drive.root / "link"):
            until = time.monotonic() + _ENOUGH_S
            while min(succeeded, failed) < _ENOUGH and time.monotonic() < until:
                for attempt in attempts(directory):
                    try:
                        result = attempt()
                    except OSError:
                        failed += 1
                        continue
                    succeeded += 1
                    assert result != b"outside"
        assert succeeded
        assert failed
        assert snapshot(outside) == before
