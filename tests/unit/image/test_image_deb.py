"""Unpacking packages, hostile ones too."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.image.fake_archive import Member, ar_archive, deb_package, tar_archive
from vm.image.deb import ar_members, unpack_deb
from vm.image.errors import PackageMalformed
from vm.image.tree import Directory, File, Link, Tree


def everything(path: str) -> bool:
    return True


def unpack(
    tmp_path: Path, data: bytes, wanted: Callable[[str], bool] = everything
) -> dict[str, File | Link | Directory]:
    deb = tmp_path / "package.deb"
    deb.write_bytes(data)
    return unpack_deb(deb, "package 1", wanted).nodes


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_files_links_and_the_directories_they_need(tmp_path: Path) -> None:
    members: list[Member] = [
        special("./", tarfile.DIRTYPE),
        special("./usr/share/doc/", tarfile.DIRTYPE),
        ("./usr/bin/tool", b"#!"),
        special("./usr/bin/alias", tarfile.SYMTYPE, "tool"),
        special("./usr/bin/second", tarfile.LNKTYPE, "./usr/bin/tool"),
    ]
    assert unpack(tmp_path, deb_package(members)) == {
        "usr": Directory(),
        "usr/bin": Directory(),
        "usr/bin/tool": File(0o755, b"#!"),
        "usr/bin/alias": Link("tool"),
        "usr/bin/second": File(0o755, b"#!"),
    }


def test_only_what_is_wanted_is_taken(tmp_path: Path) -> None:
    members: list[Member] = [
        ("./usr/share/doc/copyright", b"c"),
        special("./usr/bin/second", tarfile.LNKTYPE, "usr/share/doc/copyright"),
    ]
    nodes = unpack(tmp_path, deb_package(members), lambda path: path.startswith("usr/bin/"))
    assert nodes["usr/bin/second"] == File(0o755, b"c")  # its contents come along
    assert "usr/share" not in nodes


def test_set_id_bits_are_dropped(tmp_path: Path) -> None:
    member = tarfile.TarInfo("usr/bin/su")
    member.mode = 0o6755
    assert unpack(tmp_path, deb_package([member]))["usr/bin/su"] == File(0o755, b"")


def test_directories_merged_into_usr_are_found_there(tmp_path: Path) -> None:
    nodes = unpack(tmp_path, deb_package([("./sbin/init", b"i"), ("./lib64/ld.so", b"l")]))
    assert nodes["usr/sbin/init"] == File(0o755, b"i")
    assert nodes["usr/lib64/ld.so"] == File(0o755, b"l")


@pytest.mark.parametrize(
    "name, pack",
    [
        ("data.tar", bytes),
        ("data.tar.gz", gzip.compress),
        ("data.tar.xz", lzma.compress),
    ],
)
def test_compressions(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    members = [("debian-binary", b"2.0\n"), (name, pack(tar_archive([("a", b"x")])))]
    assert unpack(tmp_path, ar_archive(members)) == {"a": File(0o755, b"x")}


@pytest.mark.parametrize(
    "member",
    [
        ("../escape", b""),
        ("/absolute", b""),
        ("usr/../../escape", b""),
        ("usr/bin/a\\b", b""),
        ("usr/bin/a\nb", b""),
        special("dev/sda", tarfile.BLKTYPE),
        special("dev/tty", tarfile.CHRTYPE),
        special("run/pipe", tarfile.FIFOTYPE),
        special("usr/bin/hard", tarfile.LNKTYPE, "etc/shadow"),
        special("usr/bin/hard", tarfile.LNKTYPE, "../../etc/shadow"),
    ],
    ids=lambda member: str(member[0] if isinstance(member, tuple) else member.get_info()),
)
def test_hostile_members_are_refused(tmp_path: Path, member: Member) -> None:
    with pytest.raises(PackageMalformed) as caught:
        unpack(tmp_path, deb_package([("ok", b""), member]))
    assert caught.value.source == "package 1"


def test_a_file_written_through_a_link_is_refused(tmp_path: Path) -> None:
    members: list[Member] = [
        special("usr/link", tarfile.SYMTYPE, "/etc"),
        ("usr/link/passwd", b"root::0:0"),
    ]
    with pytest.raises(PackageMalformed, match="no directory"):
        unpack(tmp_path, deb_package(members))


def test_a_member_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageMalformed, match="twice"):
        unpack(tmp_path, deb_package([("a", b"1"), ("./a", b"2")]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\3\4",
        b"!<arch>\n",
        ar_archive([("data.tar.xz", lzma.compress(b""))]),
        ar_archive([("debian-binary", b"2.0\n")]),
        ar_archive([("debian-binary", b"2.0\n"), ("data.tar.lzma", b"")]),
        ar_archive([("debian-binary", b"2.0\n"), ("data.tar.xz", b"not xz")]),
        ar_archive([("debian-binary", b"2.0\n"), ("data.tar", b"x" * 512)]),
        deb_package([("a", b"1")])[:-40],
    ],
)
def test_what_is_no_package_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(PackageMalformed):
        unpack(tmp_path, data)


@given(st.binary(max_size=300))
def test_no_bytes_do_more_to_the_ar_reader_than_be_refused(data: bytes) -> None:
    for candidate in (data, b"!<arch>\n" + data):
        with contextlib.suppress(ValueError):
            list(ar_members(candidate))


@given(st.lists(st.tuples(st.from_regex(r"\A[a-z.]{1,14}\Z"), st.binary(max_size=50)), max_size=4))
def test_ar_members_come_back(members: list[tuple[str, bytes]]) -> None:
    found = [(name, bytes(data)) for name, data in ar_members(ar_archive(members))]
    assert found == members


def test_trees_are_comparable_values() -> None:
    tree = Tree()
    tree.add("a/b", File(0o644, b""))
    assert list(dict(tree.walk())) == ["a", "a/b"]
