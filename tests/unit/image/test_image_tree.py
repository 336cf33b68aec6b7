"""Trees: in memory, in a tar, in a cpio archive."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vm.image.cpio import write_cpio
from vm.image.tree import Directory, File, Link, Tree, UnsafePath, normal_path
from vm.image.treefile import disk_tree, read_tree, write_tree

names = st.from_regex(r"\A[a-z]{1,3}\Z")
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
nodes = st.one_of(
    st.builds(File, st.sampled_from([0o644, 0o755]), st.binary(max_size=20)),
    st.builds(Link, paths),
    st.builds(Directory, st.sampled_from([0o755, 0o700])),
)


def tree_of(entries: dict[str, File | Link | Directory]) -> Tree:
    """A tree of those entries that fit together."""
    tree = Tree()
    for path, node in entries.items():
        try:
            tree.add(path, node)
        except UnsafePath:
            continue
    return tree


@given(st.dictionaries(paths, nodes, max_size=8))
def test_every_parent_is_a_directory(entries: dict[str, File | Link | Directory]) -> None:
    tree = tree_of(entries)
    for path in tree.nodes:
        parent = path.rpartition("/")[0]
        assert not parent or isinstance(tree.nodes[parent], Directory)


@given(entries=st.dictionaries(paths, nodes, max_size=8))
def test_a_tree_in_a_file_is_the_same_tree(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, File | Link | Directory]
) -> None:
    tree = tree_of(entries)
    directory = tmp_path_factory.mktemp("tree")
    write_tree(tree, directory / "1.tar")
    again = read_tree(directory / "1.tar")
    assert again.nodes == tree.nodes
    assert again.digest() == tree.digest()
    write_tree(again, directory / "2.tar")
    assert (directory / "1.tar").read_bytes() == (directory / "2.tar").read_bytes()


@given(st.text())
def test_no_path_leads_out(path: str) -> None:
    try:
        normal = normal_path(path)
    except UnsafePath:
        return
    assert not normal.startswith("/")
    assert ".." not in normal.split("/")
    assert normal_path(normal) == normal


def test_the_digest_tells_every_difference() -> None:
    variants: list[dict[str, File | Link | Directory]] = [
        {"a": File(0o644, b"x")},
        {"a": File(0o755, b"x")},
        {"a": File(0o644, b"y")},
        {"b": File(0o644, b"x")},
        {"a": Link("x")},
        {"a": Directory()},
        {},
    ]
    assert len({tree_of(variant).digest() for variant in variants}) == len(variants)


def test_links_are_followed_inside_of_the_tree() -> None:
    tree = tree_of(
        {
            "usr/bin/python3.13": File(0o755, b"elf"),
            "usr/bin/python3": Link("python3.13"),
            "usr/bin/python": Link("/usr/bin/python3"),
            "usr/lib/up": Link("../../bin/python3"),
            "usr/bin/loop": Link("loop"),
            "usr/bin/gone": Link("nowhere"),
        }
    )
    assert tree.file("usr/bin/python") == b"elf"
    assert tree.file("bin/python3") == b"elf"
    assert tree.find("usr/bin/loop") is None
    assert tree.find("usr/bin/gone") is None
    with pytest.raises(KeyError):
        tree.file("usr/bin")


def test_a_directory_is_never_replaced_by_a_file() -> None:
    tree = tree_of({"etc/conf": File(0o644, b"")})
    with pytest.raises(UnsafePath):
        tree.add("etc", Link("/elsewhere"))


@pytest.mark.skipif("sys.platform == 'win32'", reason="the image is built on Linux hosts only")
def test_a_tree_on_the_disk_is_the_same_tree(tmp_path: Path) -> None:
    tree = tree_of(
        {
            "a/run": File(0o755, b"1"),
            "a/data": File(0o644, b"2"),
            "a/link": Link("run"),
            "closed": Directory(0o700),
        }
    )
    tree.write(tmp_path)
    assert disk_tree(tmp_path).nodes == {
        path: node for path, node in tree.walk() if path != "closed"
    }
    assert (tmp_path / "closed").stat().st_mode & 0o777 == 0o700


def read_cpio(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and contents by path; written from the format's description."""
    entries: dict[str, tuple[int, bytes]] = {}
    offset = 0
    while True:
        assert data[offset : offset + 6] == b"070701"
        fields = [int(data[offset + 6 + 8 * n : offset + 14 + 8 * n], 16) for n in range(13)]
        name_start = offset + 110
        name = data[name_start : name_start + fields[11] - 1].decode()
        start = (name_start + fields[11] + 3) & ~3
        if name == "TRAILER!!!":
            return entries
        entries[name] = (fields[1], data[start : start + fields[6]])
        offset = (start + fields[6] + 3) & ~3


@given(st.dictionaries(paths, nodes, max_size=8))
def test_a_cpio_archive_has_everything(entries: dict[str, File | Link | Directory]) -> None:
    tree = tree_of(entries)
    found = read_cpio(write_cpio(tree))
    assert list(found) == [path for path, _ in tree.walk()]
    for path, node in tree.walk():
        mode, data = found[path]
        match node:
            case File(bits, contents):
                assert (mode, data) == (0o100000 | bits, contents)
            case Link(target):
                assert (mode, data) == (0o120777, target.encode())
            case Directory(bits):
                assert (mode, data) == (0o040000 | bits, b"")
