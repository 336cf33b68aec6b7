"""What wsl.conf and wsl-distribution.conf of a distribution say, hostile ones included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest.agent import etc
from guest.agent.distroconf import (
    MAX_BYTES,
    MAX_HOSTNAME,
    clean_hostname,
    parse_distro_conf,
    parse_oobe,
    read_distro_conf,
    read_oobe,
)
from guest.agent.errors import AgentError
from guest.agent.roots import RootFiles, default_user_warnings, describe_root

PASSWD = "root:x:0:0:root:/root:/bin/bash\nme:x:1000:1000::/home/me:/bin/zsh\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A distribution's tree."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    return tmp_path


def write_conf(root: Path, text: str) -> None:
    (root / "etc/wsl.conf").write_text(text)


# -- wsl.conf --------------------------------------------------------------------------------------


def test_no_file_means_wsls_defaults(root: Path) -> None:
    conf = read_distro_conf(str(root))
    assert (conf.default_user, conf.hostname, conf.boot_command) == ("", "", "")
    assert conf.generate_hosts and conf.generate_resolv_conf
    assert (conf.automount_enabled, conf.automount_root, conf.automount_options) == (
        True,
        "/mnt",
        "",
    )
    assert conf.mount_fstab and conf.interop_enabled and conf.append_host_path
    assert conf.use_host_timezone
    assert conf.umask == 0o022
    assert conf.warnings == ()


def test_everything_said(root: Path) -> None:
    write_conf(
        root,
        "[automount]\nenabled=false\nroot=/win/\noptions=metadata,umask=77\nmountFsTab=false\n"
        "[network]\nhostname=_box\ngenerateHosts=false\ngenerateResolvConf=0\n"
        "[interop]\nenabled=false\nappendWindowsPath=false\n"
        '[user]\ndefault=me\n[boot]\ncommand="service a start; echo \\"b\\""\n'
        "[filesystem]\numask=077\n[time]\nuseWindowsTimezone=false\n",
    )
    conf = read_distro_conf(str(root))
    assert not conf.automount_enabled and not conf.mount_fstab
    assert (conf.automount_root, conf.automount_options) == ("/win", "metadata,umask=77")
    assert conf.hostname == "box"
    assert not conf.generate_hosts and not conf.generate_resolv_conf
    assert not conf.interop_enabled and not conf.append_host_path
    assert conf.default_user == "me"
    assert conf.boot_command == 'service a start; echo "b"'
    assert conf.umask == 0o077
    assert not conf.use_host_timezone


def test_a_malformed_line_ends_the_file() -> None:
    conf = parse_distro_conf("[user]\ndefault=me\n[boot\ncommand=rm\n[boot]\ncommand=rm\n")
    assert conf.default_user == "me"
    assert conf.boot_command == ""
    assert conf.warnings == ("Expected ']' in /etc/wsl.conf:3",)


def test_warnings_name_the_file_as_the_distribution_sees_it(root: Path) -> None:
    write_conf(root, "[user]\ndefalut=me\n[boot]\nsystemd=true\n")
    assert read_distro_conf(str(root)).warnings == (
        "Unknown key 'user.defalut' in /etc/wsl.conf:2",
        "Key 'boot.systemd' is not honoured yet in /etc/wsl.conf:4",
    )


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("box", "box"),
        ("my_box|2", "mybox2"),
        ("-box-", "box"),
        (".box.", "box"),
        ("a..b", "a.b"),
        ("a....b", "a.b"),
        ("a.b-c", "a.b-c"),
        ("_._-", "localhost"),
        ("", "localhost"),
        ("b\u00f6x", "bx"),
        ("x" * 70, "x" * 64),
        ("x" * 63 + "-y", "x" * 63),
        ("a\n127.0.0.1 evil", "a127.0.0.1evil"),
    ],
)
def test_host_names_are_cleaned_as_wsl_does(name: str, cleaned: str) -> None:
    assert clean_hostname(name) == cleaned


@given(st.text(alphabet="ab-._|\u00e4 ", max_size=100))
def test_a_cleaned_host_name_is_one_and_stays_so(name: str) -> None:
    cleaned = clean_hostname(name)
    assert 0 < len(cleaned) <= MAX_HOSTNAME
    assert cleaned.replace("-", "").replace(".", "").isalnum() and cleaned.isascii()
    assert ".." not in cleaned and cleaned.strip(".-") == cleaned
    assert clean_hostname(cleaned) == cleaned


@given(st.text(max_size=300))
def test_whatever_is_in_the_files_gives_settings(text: str) -> None:
    for said in (text, f"[boot]\ncommand={text}\n[user]\ndefault={text}\n"):
        conf = parse_distro_conf(said)
        assert "\0" not in conf.boot_command + conf.default_user
        assert 0 <= conf.umask <= 0o777
        assert all(warning.isprintable() for warning in conf.warnings)
    assert 0 <= parse_oobe(f"[oobe]\ndefaultUid={text}\n").default_uid < 2**32


def test_files_in_its_place_that_are_none(root: Path) -> None:
    os.mkfifo(root / "etc/wsl.conf")
    os.symlink("/etc/shadow-of-the-vm", root / "etc/wsl-distribution.conf")
    assert read_distro_conf(str(root)).default_user == ""
    assert read_oobe(str(root)).command == ""


def test_a_link_is_followed_within_the_tree_only(root: Path) -> None:
    (root / "real.conf").write_text("[user]\ndefault=me\n")
    os.symlink("../../../../real.conf", root / "etc/wsl.conf")
    assert read_distro_conf(str(root)).default_user == "me"


def test_only_the_beginning_of_an_endless_file_is_read(root: Path) -> None:
    text = "[user]\n" + "#" * MAX_BYTES + "\ndefault=me\n"
    write_conf(root, text)
    assert read_distro_conf(str(root)).default_user == ""


# -- who sessions run as ---------------------------------------------------------------------------


def test_the_default_user_of_wsl_conf_wins_over_the_registrys(root: Path) -> None:
    write_conf(root, "[user]\ndefault=me\n")
    files = RootFiles(str(root))
    assert files.find_user("", 0).name == "me"
    assert files.find_user("root", 1000).name == "root"
    assert default_user_warnings(str(root), files.conf) == []


def test_a_default_user_that_does_not_exist_locks_nobody_out(root: Path) -> None:
    write_conf(root, "[user]\ndefault=ghost\n")
    files = RootFiles(str(root))
    assert files.find_user("", 1000).name == "me"
    with pytest.raises(AgentError):
        files.find_user("ghost", 0)
    assert default_user_warnings(str(root), files.conf) == [
        "user.default in /etc/wsl.conf names 'ghost', which does not exist"
    ]


def test_without_a_wsl_conf_the_registry_decides(root: Path) -> None:
    files = RootFiles(str(root))
    assert files.find_user("", 1000).name == "me"
    assert default_user_warnings(str(root), files.conf) == []


def test_a_changed_wsl_conf_counts_from_the_next_start_on(root: Path) -> None:
    files = RootFiles(str(root))
    assert files.find_user("", 0).name == "root"
    write_conf(root, "[user]\ndefault=me\n")
    assert files.find_user("", 0).name == "root"
    assert RootFiles(str(root)).find_user("", 0).name == "me"


# -- the files written at its start ----------------------------------------------------------------


def test_hosts_and_resolv_conf_are_written(root: Path) -> None:
    assert etc.write_network_files(str(root), "box", read_distro_conf(str(root))) == []
    assert "127.0.1.1\tbox\n" in (root / "etc/hosts").read_text()
    assert os.readlink(root / "etc/resolv.conf") == f"{etc.SHARED}/{etc.RESOLV_CONF}"


def test_both_are_left_alone_where_wsl_conf_says_so(root: Path) -> None:
    write_conf(root, "[network]\ngenerateHosts=false\ngenerateResolvConf=false\n")
    (root / "etc/hosts").write_text("mine\n")
    (root / "etc/resolv.conf").write_text("mine\n")
    assert etc.write_network_files(str(root), "box", read_distro_conf(str(root))) == []
    assert (root / "etc/hosts").read_text() == "mine\n"
    assert (root / "etc/resolv.conf").read_text() == "mine\n"


# -- wsl-distribution.conf -------------------------------------------------------------------------


def test_what_makers_of_distributions_write(root: Path) -> None:
    (root / "etc/os-release").write_text('ID=arch\nVERSION_ID="2026"\n')
    (root / "etc/wsl-distribution.conf").write_text(
        "[oobe]\ncommand = /usr/lib/wsl/first-setup.sh\ndefaultUid = 1000\n"
        "defaultName = archlinux\n[shortcut]\nicon = /usr/lib/wsl/arch.ico\n"
        "[windowsterminal]\nProfileTemplate = /usr/lib/wsl/t.json\n"
    )
    oobe = read_oobe(str(root))
    assert oobe.command == "/usr/lib/wsl/first-setup.sh"
    described = describe_root(str(root))
    assert (described.default_name, described.default_uid) == ("archlinux", 1000)
    assert (described.os_id, described.os_version) == ("arch", "2026")


@pytest.mark.parametrize("uid", ["-1", "4294967296", "many", ""])
def test_a_uid_that_is_none_is_roots(uid: str) -> None:
    assert parse_oobe(f"[oobe]\ndefaultUid={uid}\n").default_uid == 0


def test_a_name_of_any_length_fits_into_a_reply() -> None:
    assert len(parse_oobe("[oobe]\ndefaultName=" + "x" * 5000).default_name) == 256
