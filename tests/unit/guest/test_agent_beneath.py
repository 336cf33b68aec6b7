"""Files of a hostile tree: no link, no `..` and no race leads out of it."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest.agent.beneath import (
    keep_beneath,
    link_beneath,
    open_beneath,
    read_beneath,
    write_beneath,
)
from tests.unit.guest.agent_harness import DEADLINE_S, open_descriptors

assert sys.platform != "win32"

OUTSIDE = "the host's own"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A directory with a tree below `root`, and what is not its business beside it."""
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "file").write_text("inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text(OUTSIDE)
    return tmp_path


@pytest.fixture
def root(world: Path) -> Path:
    return world / "root"


def read(root: Path, path: str) -> str:
    return read_beneath(str(root), path)


@pytest.mark.parametrize(
    "path", ["/etc/file", "etc/file", "//etc/./file", "/etc/../etc/file", "/../../etc/file"]
)
def test_paths_are_resolved_below_the_root(root: Path, path: str) -> None:
    assert read(root, path) == "inside"


@pytest.mark.parametrize(
    "target",
    ["file", "./file", "/etc/file", "../etc/file", "../../../../etc/file", "/../etc/file"],
)
def test_links_are_followed_as_in_a_chroot(root: Path, target: str) -> None:
    (root / "etc" / "link").symlink_to(target)
    assert read(root, "/etc/link") == "inside"
    (root / "dir").symlink_to("/etc")
    assert read(root, "/dir/link") == "inside"


@pytest.mark.parametrize(
    "target",
    ["../../outside/file", "/outside/file", "{outside}/file", "/proc/self/root/etc/passwd"],
)
def test_links_do_not_lead_out(world: Path, root: Path, target: str) -> None:
    (root / "etc" / "link").symlink_to(target.format(outside=world / "outside"))
    assert read(root, "/etc/link") == ""
    (root / "dir").symlink_to(os.path.dirname(target.format(outside=world / "outside")))
    assert read(root, "/dir/file") == ""


def test_a_loop_of_links_ends(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(OSError) as caught:
        open_beneath(str(root), "/a", os.O_RDONLY)
    assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize("count", [40, 41])
def test_as_many_links_as_the_kernel_allows(root: Path, count: int) -> None:
    (root / "0").write_text("end")
    for number in range(count):
        (root / str(number + 1)).symlink_to(str(number))
    assert read(root, f"/{count}") == ("end" if count <= 40 else "")


NAMES = ("a", "b", "c")
targets = st.lists(st.sampled_from([*NAMES, "..", ".", "", "outside"]), min_size=1, max_size=5).map(
    "/".join
)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join),
        targets.filter(bool) | st.none(),
        max_size=8,
    ),
    st.lists(targets, min_size=1, max_size=5),
)
def test_no_tree_of_links_leads_out(tree: dict[str, str | None], paths: list[str]) -> None:
    """Names to link targets, or to directories; whatever opens is below the root."""
    with tempfile.TemporaryDirectory() as directory:
        root = os.path.join(os.path.realpath(directory), "root")
        os.makedirs(os.path.join(directory, "outside"))
        os.mkdir(root)
        for path, target in tree.items():
            try:
                if target is None:
                    os.mkdir(os.path.join(root, path))
                else:
                    os.symlink(target, os.path.join(root, path))
            except OSError:
                continue  # below a link, or there already
        for path in paths:
            try:
                fd = open_beneath(root, path, os.O_RDONLY)
            except OSError:
                continue
            opened = os.readlink(f"/proc/self/fd/{fd}")
            os.close(fd)
            assert opened == root or opened.startswith(root + "/")


SWAP = """
import os, sys
os.chdir(sys.argv[1])
count = 0
while True:
    os.rename("etc", "etc.real")
    os.symlink(sys.argv[2], "etc")
    count = (count * 7 + 1) % 10007  # sometimes long enough to be walked through, often not
    for _ in range(count):
        pass
    os.unlink("etc")
    os.rename("etc.real", "etc")
    for _ in range(count):
        pass
"""
"""A program of the tree that makes /etc a link to the outside and back, again and again."""


@contextmanager
def swapping(root: Path, outside: Path) -> Iterator[None]:
    """Run SWAP, as a process of its own: threads would take turns."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", SWAP, root, outside])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_race_does_not_lead_out(world: Path, root: Path) -> None:
    """Until both the tree and the attack have been seen often."""
    outside = world / "outside"
    found = {"inside": 0, "": 0}
    deadline = time.monotonic() + DEADLINE_S
    with swapping(root, outside):
        while min(found.values()) < 20:
            assert time.monotonic() < deadline, found
            found[read(root, "/etc/file")] += 1  # a KeyError is an escape
            for replace in (write_beneath, link_beneath):
                try:
                    replace(str(root), "/etc/hosts", "ours")
                except OSError:
                    found[""] += 1
    assert sorted(os.listdir(outside)) == ["file"]
    assert (outside / "file").read_text() == OUTSIDE


def test_what_is_no_regular_file_is_empty(root: Path) -> None:
    os.mkfifo(root / "fifo")  # nobody writes to it: opening it must not block
    assert read(root, "/fifo") == ""
    assert read(root, "/etc") == ""
    assert read(root, "/missing") == ""
    assert read(root, "/etc/file/x") == ""
    assert read(root, "/") == ""


def test_a_text_may_be_any_bytes_and_is_cut(root: Path) -> None:
    (root / "bytes").write_bytes(b"\xff\x00abc")
    assert read_beneath(str(root), "/bytes", 4) == "\udcff\0ab"


def test_a_file_is_replaced_as_a_whole(root: Path) -> None:
    (root / "etc" / "hosts").write_text("a much longer text than the new one")
    write_beneath(str(root), "/etc/hosts", "né\udcff")
    assert (root / "etc" / "hosts").read_bytes() == b"n\xc3\xa9\xff"
    assert stat.S_IMODE((root / "etc" / "hosts").stat().st_mode) & 0o133 == 0
    assert sorted(os.listdir(root / "etc")) == ["file", "hosts"]


def test_a_link_in_a_files_place_is_replaced(world: Path, root: Path) -> None:
    (root / "etc" / "hosts").symlink_to(world / "outside" / "file")
    write_beneath(str(root), "/etc/hosts", "ours")
    assert (root / "etc" / "hosts").read_text() == "ours"
    assert not (root / "etc" / "hosts").is_symlink()
    assert (world / "outside" / "file").read_text() == OUTSIDE


def test_a_temporary_file_that_was_left_or_laid_out_is_replaced(world: Path, root: Path) -> None:
    (root / "etc" / ".hosts.isthmus").symlink_to(world / "outside" / "file")
    write_beneath(str(root), "/etc/hosts", "ours")
    (root / "etc" / ".link.isthmus").write_text("left")
    link_beneath(str(root), "/etc/link", "target")
    assert (root / "etc" / "hosts").read_text() == "ours"
    assert os.readlink(root / "etc" / "link") == "target"
    assert (world / "outside" / "file").read_text() == OUTSIDE


def test_a_link_replaces_a_file_or_a_link(root: Path) -> None:
    link_beneath(str(root), "/etc/file", "one")
    assert os.readlink(root / "etc" / "file") == "one"
    link_beneath(str(root), "/etc/file", "other")
    assert os.readlink(root / "etc" / "file") == "other"
    inode = os.lstat(root / "etc" / "file").st_ino
    link_beneath(str(root), "/etc/file", "other")
    assert os.lstat(root / "etc" / "file").st_ino == inode, "it is right as it is"


def test_a_directory_in_a_files_place_stays_and_nothing_is_left(root: Path) -> None:
    (root / "etc" / "hosts").mkdir()
    (root / "etc" / "hosts" / "kept").touch()
    for replace in (write_beneath, link_beneath):
        with pytest.raises(OSError):
            replace(str(root), "/etc/hosts", "ours")
    assert sorted(os.listdir(root / "etc")) == ["file", "hosts"]
    assert os.listdir(root / "etc" / "hosts") == ["kept"]


def test_no_descriptor_is_left(root: Path) -> None:
    before = open_descriptors()
    (root / "loop").symlink_to("loop")
    for path in ("/etc/file", "/missing/x", "/loop", "/etc/file/x", "/etc/../.."):
        read(root, path)
    for path in ("/etc/new", "/missing/x", "/loop/x"):
        try:
            write_beneath(str(root), path, "x")
            link_beneath(str(root), path, "x")
        except OSError:
            pass
    fd = open_beneath(str(root), "/etc/file", os.O_RDONLY)
    assert not os.get_inheritable(fd)
    os.close(fd)
    assert open_descriptors() == before


def test_a_file_with_the_wanted_content_is_not_written(root: Path) -> None:
    keep_beneath(str(root), "/etc/hosts", "ours")
    before = (root / "etc/hosts").stat()
    keep_beneath(str(root), "/etc/hosts", "ours")
    assert (root / "etc/hosts").stat().st_ino == before.st_ino
    keep_beneath(str(root), "/etc/hosts", "new")
    assert (root / "etc/hosts").read_text() == "new"
