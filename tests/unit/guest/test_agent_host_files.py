"""The host's time zone in a distribution, and where the modules of its kernel are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guest.agent import kernelmodules
from guest.agent.distroconf import parse_distro_conf
from guest.agent.errors import AgentError
from guest.agent.etc import write_timezone

CONF = parse_distro_conf("")
RELEASE = "6.1-test"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A distribution's tree with one time zone."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "usr/share/zoneinfo/Europe").mkdir(parents=True)
    (tmp_path / "usr/share/zoneinfo/Europe/Rome").write_bytes(b"TZif")
    return tmp_path


# -- time zone -------------------------------------------------------------------------------------


def test_the_hosts_zone_becomes_the_distributions(root: Path) -> None:
    assert write_timezone(str(root), "Europe/Rome", CONF) == []
    assert os.readlink(root / "etc/localtime") == "/usr/share/zoneinfo/Europe/Rome"
    assert (root / "etc/timezone").read_text() == "Europe/Rome\n"
    stamp = (root / "etc/timezone").stat().st_ino
    assert write_timezone(str(root), "Europe/Rome", CONF) == []
    assert (root / "etc/timezone").stat().st_ino == stamp  # nothing to do, so nothing written


def test_it_replaces_what_was_there_and_follows_no_link(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    (root / "etc/localtime").write_bytes(b"a copy of a zone")
    (root / "etc/timezone").symlink_to(outside)
    assert write_timezone(str(root), "Europe/Rome", CONF) == []
    assert (root / "etc/localtime").is_symlink()
    assert outside.read_text() == "untouched"


@pytest.mark.parametrize("zone", ["", "Europe/Paris"])
def test_a_zone_that_is_not_known_changes_nothing(root: Path, zone: str) -> None:
    assert write_timezone(str(root), zone, CONF) == []
    assert list((root / "etc").iterdir()) == []


def test_wsl_conf_can_forbid_it(root: Path) -> None:
    conf = parse_distro_conf("[time]\nuseWindowsTimezone=false\n")
    assert write_timezone(str(root), "Europe/Rome", conf) == []
    assert list((root / "etc").iterdir()) == []


def test_what_stands_in_the_way_is_said(root: Path) -> None:
    (root / "etc/localtime").mkdir()
    (warning,) = write_timezone(str(root), "Europe/Rome", CONF)
    assert "/etc/localtime" in warning


# -- modules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", [f"lib/modules/{RELEASE}", f"usr/lib/modules/{RELEASE}", RELEASE, ""]
)
def test_modules_are_found_in_each_usual_place(tmp_path: Path, place: str) -> None:
    directory = tmp_path / place
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "modules.dep").touch()
    assert kernelmodules.find_tree(str(tmp_path), RELEASE) == str(directory)


def test_modules_of_another_kernel_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lib/modules/5.0").mkdir(parents=True)
    (tmp_path / "lib/modules/5.0/modules.dep").touch()
    with pytest.raises(AgentError) as caught:
        kernelmodules.find_tree(str(tmp_path), RELEASE)
    assert RELEASE in caught.value.message
    assert "depmod" in caught.value.hint


def test_distributions_see_them_where_their_modprobe_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kernelmodules.binds_for(str(tmp_path)) == ()  # none are mounted
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    release = os.uname().release
    (bind,) = kernelmodules.binds_for(str(tmp_path))
    assert bind.target == f"/lib/modules/{release}"
    (tmp_path / "lib").symlink_to("usr/lib")
    (bind,) = kernelmodules.binds_for(str(tmp_path))
    assert bind.target == f"/usr/lib/modules/{release}"
    assert bind.read_only
