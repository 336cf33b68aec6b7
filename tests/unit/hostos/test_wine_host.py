"""How a Linux host knows its Wine; what that does with programs is in test_host_contract.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from interop.hostos.errors import HostError, NoWindowsError
from interop.hostos.find import find_host
from interop.hostos.wine import WineHost, find_name, find_wine

assert sys.platform != "win32"


def test_without_wine_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoWindowsError):
        find_wine({"PATH": str(tmp_path)})


def test_without_a_prefix_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no Wine prefix"):
        WineHost("wine", str(tmp_path)).drives()


def test_wine_that_has_never_run_leaves_the_host_its_one_drive(tmp_path: Path) -> None:
    (tmp_path / "wine").write_text("#!/bin/sh\n")
    (tmp_path / "wine").chmod(0o755)
    host = find_host({"PATH": str(tmp_path), "WINEPREFIX": str(tmp_path / "none")})
    assert host.drives() == {"Z": "/"}
    assert host.windows_path("/tmp") == "Z:\\tmp"


def test_names_are_found_without_regard_to_case(tmp_path: Path) -> None:
    (tmp_path / "Notepad.EXE").touch()
    assert find_name(str(tmp_path), "notepad.exe") == "Notepad.EXE"
    assert find_name(str(tmp_path), "new") == "new"
    assert find_name(str(tmp_path / "missing"), "x") == "x"
