"""Links to our programs in a distribution, and the facts they read."""

from __future__ import annotations

import os
from pathlib import Path

from guest.agent.tools import PROGRAMS, facts_text, write_links

TARGET = f"{PROGRAMS}/wslpath"


def test_links_are_made_where_path_looks(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    assert write_links(str(tmp_path)) == []
    assert os.readlink(tmp_path / "usr/bin/wslpath") == TARGET
    assert os.readlink(tmp_path / "usr/bin/wslinfo") == TARGET  # one program, by either name
    assert write_links(str(tmp_path)) == []


def test_a_tree_without_usr(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "usr").mkdir()
    assert write_links(str(tmp_path)) == []
    assert os.readlink(tmp_path / "bin/wslpath") == TARGET


def test_only_our_own_links_are_replaced(tmp_path: Path) -> None:
    directory = tmp_path / "usr/bin"
    directory.mkdir(parents=True)
    (directory / "wslpath").write_text("the user's own")
    (directory / "wslinfo").symlink_to(f"{PROGRAMS}/elsewhere")
    assert write_links(str(tmp_path)) == []
    assert (directory / "wslpath").read_text() == "the user's own"
    assert os.readlink(directory / "wslinfo") == TARGET


def test_a_users_own_link_stays(tmp_path: Path) -> None:
    directory = tmp_path / "usr/bin"
    directory.mkdir(parents=True)
    (directory / "wslpath").symlink_to("/opt/wslpath")
    assert write_links(str(tmp_path)) == []
    assert os.readlink(directory / "wslpath") == "/opt/wslpath"


def test_links_do_not_lead_out_of_the_tree(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "usr").mkdir(parents=True)
    outside.mkdir()
    (root / "usr/bin").symlink_to(outside)
    (root / "bin").symlink_to(outside)
    assert len(write_links(str(root))) == 1
    assert list(outside.iterdir()) == []


def test_facts() -> None:
    facts = {"distribution": "Debian", "version": "", "vm-id": "a\nversion=2", "x": "y=z"}
    assert facts_text(facts) == "distribution=Debian\nx=y=z\n"
