"""What a tree says of itself, and the files that every distribution gets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest.agent.distroconf import parse_distro_conf
from guest.agent.errors import AgentError
from guest.agent.etc import hosts_text, resolv_conf_text, write_network_files
from guest.agent.roots import RootFiles, describe_root, exists_beneath
from guest.agent.users import MAX_ID
from wire.agent import RootDescription
from wire.codec import decode_message, encode_message
from wire.frame import MAX_MESSAGE_BYTES

PASSWD = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n"


def put(root: Path, path: str, text: str) -> None:
    """Write a file of the tree; its time tells it from an older one of the same size."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize("path", ["etc/passwd", "bin/sh"])
def test_one_of_two_files_makes_a_root(tmp_path: Path, path: str) -> None:
    assert not describe_root(str(tmp_path)).is_root
    put(tmp_path, path, "")
    assert describe_root(str(tmp_path)) == RootDescription(is_root=True)


def test_a_shell_may_be_a_link_within_the_tree(tmp_path: Path) -> None:
    put(tmp_path, "usr/bin/busybox", "")
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "usr" / "bin" / "sh").symlink_to("/usr/bin/busybox")
    assert describe_root(str(tmp_path)).is_root
    assert exists_beneath(str(tmp_path), "/bin/sh")


def test_a_link_to_the_hosts_shell_is_none(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to("../../../../../../../bin/sh")
    assert not describe_root(str(tmp_path)).is_root


def test_a_tree_says_what_it_is(tmp_path: Path) -> None:
    put(tmp_path, "etc/os-release", '# ID=no\nNAME=x\nID=debian\nVERSION_ID="13"\nbad line\n')
    put(tmp_path, "etc/wsl-distribution.conf", "[oobe]\ndefaultName = Deb\ndefaultUid = 1000\n")
    assert describe_root(str(tmp_path)) == RootDescription(
        is_root=True, os_id="debian", os_version="13", default_name="Deb", default_uid=1000
    )


@settings(max_examples=40)
@given(st.text(max_size=100), st.text(max_size=60), st.integers())
def test_whatever_a_tree_says_can_be_sent(release: str, name: str, uid: int) -> None:
    import tempfile

    conf = f"[oobe]\ndefaultName = {name}\ndefaultUid = {uid}\n"
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "etc").mkdir()
        for path, text in (("os-release", f"ID={release}"), ("wsl-distribution.conf", conf)):
            (root / "etc" / path).write_bytes(text.encode("utf-8", "replace"))
        found = describe_root(directory)
    assert 0 <= found.default_uid <= MAX_ID
    assert decode_message(encode_message(found)) == found


def test_a_long_story_is_cut(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "os-release").write_bytes(b"ID=" + b"\xff" * 2_000_000)
    assert len(encode_message(describe_root(str(tmp_path)))) < MAX_MESSAGE_BYTES // 100


def test_users_are_read_again_when_they_change(tmp_path: Path) -> None:
    put(tmp_path, "etc/passwd", PASSWD)
    files = RootFiles(str(tmp_path))
    assert files.find_user("alice", 0).uid == 1000
    put(tmp_path, "etc/passwd.new", PASSWD.replace("alice", "malin"))
    os.rename(tmp_path / "etc" / "passwd.new", tmp_path / "etc" / "passwd")
    assert files.find_user("malin", 0).uid == 1000
    with pytest.raises(AgentError):
        files.find_user("alice", 0)


@pytest.mark.parametrize("which", ["etc", "etc/passwd"])
def test_users_behind_a_link_are_read_again(tmp_path: Path, which: str) -> None:
    """The link stays the same when what it leads to changes."""
    if which == "etc":
        (tmp_path / "etc").symlink_to("real")
        real = "real/passwd"
    else:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc" / "passwd").symlink_to("/real/passwd")
        real = "real/passwd"
    put(tmp_path, real, PASSWD)
    files = RootFiles(str(tmp_path))
    assert files.find_user("alice", 0).uid == 1000
    put(tmp_path, real, PASSWD.replace("alice", "malin"))
    assert files.find_user("malin", 0).uid == 1000


def test_the_language_comes_from_the_first_file_there_is(tmp_path: Path) -> None:
    put(tmp_path, "etc/locale.conf", "LANG=de_DE.UTF-8\n")
    files = RootFiles(str(tmp_path))
    files.find_user("", 0)
    assert files.language == "de_DE.UTF-8"
    put(tmp_path, "etc/default/locale", "LANG=fr_FR.UTF-8\n")
    files.find_user("", 0)
    assert files.language == "fr_FR.UTF-8"


def test_hosts_and_resolv_conf(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "resolv.conf").write_text("the distribution's own")
    assert write_network_files(str(tmp_path), "here", parse_distro_conf("")) == []
    assert (tmp_path / "etc" / "hosts").read_text() == hosts_text("here")
    assert "127.0.1.1\there\n" in hosts_text("here")
    assert os.readlink(tmp_path / "etc" / "resolv.conf") == "/mnt/wsl/resolv.conf"
    text = resolv_conf_text(("10.0.2.3", "192.0.2.1"), ("a.example", "b.example"))
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "nameserver 10.0.2.3",
        "nameserver 192.0.2.1",
        "search a.example b.example",
    ]


def test_a_tree_that_takes_no_files_is_told_of(tmp_path: Path) -> None:
    warnings = write_network_files(str(tmp_path), "here", parse_distro_conf(""))
    assert [warning.split()[0] for warning in warnings] == ["/etc/hosts", "/etc/resolv.conf"]
    (tmp_path / "etc" / "hosts").mkdir(parents=True)
    warnings = write_network_files(str(tmp_path), "here", parse_distro_conf(""))
    assert [warning.split()[0] for warning in warnings] == ["/etc/hosts"]


def test_a_distribution_may_keep_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    conf = parse_distro_conf("[network]\ngenerateHosts = false\ngenerateResolvConf = false\n")
    assert write_network_files(str(tmp_path), "here", conf) == []
    assert os.listdir(tmp_path / "etc") == []
