"""Drives of a Wine prefix from its dosdevices links."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.dosdevices import DosDevices
from wire.errors import PathError

PREFIX = "/home/me/.wine/dosdevices"
LINKS = {
    "c:": "../drive_c",
    "z:": "/",
    "d:": "/media/disc/",
    "y:": "/media/disc",
    "c::": "/dev/sda1",
    "com1": "/dev/ttyS0",
    "unc": "../drive_unc",
    "cc:": "/x",
    "1:": "/x",
}
DRIVES = DosDevices(LINKS, PREFIX)


def test_drives() -> None:
    assert DRIVES.drives == {
        "C": "/home/me/.wine/drive_c",
        "D": "/media/disc",
        "Y": "/media/disc",
        "Z": "/",
    }
    assert DosDevices({}, PREFIX).drives == {}


@pytest.mark.parametrize(
    ("unix", "windows"),
    [
        ("/home/me/.wine/drive_c", "C:\\"),
        ("/home/me/.wine/drive_c/windows/", "C:\\windows"),
        ("/home/me/.wine/drive_cx", "Z:\\home\\me\\.wine\\drive_cx"),
        ("/media/disc/a b", "D:\\a b"),
        ("/", "Z:\\"),
        ("//usr/./lib/../bin", "Z:\\usr\\bin"),
        ("/a:b", "Z:\\a:b"),
    ],
)
def test_unix_paths_become_windows_paths(unix: str, windows: str) -> None:
    assert DRIVES.to_windows(unix) == windows


@pytest.mark.parametrize(
    ("windows", "unix"),
    [
        ("C:\\", "/home/me/.wine/drive_c"),
        ("c:/windows/system32\\cmd.exe", "/home/me/.wine/drive_c/windows/system32/cmd.exe"),
        ("C:\\a\\..\\b\\", "/home/me/.wine/drive_c/b"),
        ("Z:\\", "/"),
        ("\\\\?\\Z:\\usr", "/usr"),
        ("\\\\server\\share\\x", "/home/me/.wine/drive_unc/server/share/x"),
        ("\\\\?\\unix\\home\\me", "/home/me"),
        ("\\\\?\\UNIX", "/"),
        ("\\\\?\\unix\\..\\etc", "/etc"),
    ],
)
def test_windows_paths_become_unix_paths(windows: str, unix: str) -> None:
    assert DRIVES.to_unix(windows) == unix


def test_without_a_drive_above_it_a_path_has_wines_own_name() -> None:
    only_c = DosDevices({"c:": "../drive_c"}, PREFIX)
    assert only_c.to_windows("/usr/bin") == "\\\\?\\unix\\usr\\bin"
    assert only_c.to_unix("\\\\?\\unix\\usr\\bin") == "/usr/bin"
    assert only_c.to_windows("/") == "\\\\?\\unix\\"


@pytest.mark.parametrize("path", ["x", "", "/a\\b"])
def test_unix_paths_without_a_windows_name(path: str) -> None:
    with pytest.raises(PathError):
        DRIVES.to_windows(path)


@pytest.mark.parametrize("path", ["x", "C:", "C:x", "E:\\x", "C:\\..", "\\x", "\\\\?\\unixx\\y"])
def test_windows_paths_on_no_drive(path: str) -> None:
    with pytest.raises(PathError):
        DRIVES.to_unix(path)


def test_a_server_needs_its_directory() -> None:
    with pytest.raises(PathError) as caught:
        DosDevices({"c:": "/c"}, PREFIX).to_unix("\\\\server\\share")
    assert caught.value.hint


if sys.platform != "win32":  # Wine prefixes are on POSIX hosts

    def test_names_are_looked_up_one_by_one(tmp_path: Path) -> None:
        (tmp_path / "Windows" / "System32").mkdir(parents=True)
        devices = DosDevices({"c:": str(tmp_path)}, PREFIX)

        def find_name(directory: str, name: str) -> str:
            names = os.listdir(directory) if os.path.isdir(directory) else []
            return next((other for other in names if other.lower() == name.lower()), name)

        found = devices.to_unix("C:\\WINDOWS\\system32\\New.exe", find_name)
        assert found == f"{tmp_path}/Windows/System32/New.exe"

    def test_links_may_be_resolved(tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to("real")
        devices = DosDevices({"c:": "../link"}, str(tmp_path / "dosdevices"), os.path.realpath)
        assert devices.drives == {"C": os.path.realpath(tmp_path / "real")}


names = st.text(st.characters(exclude_characters="\0/\\:", exclude_categories=["Cs"]), min_size=1)
clean = names.filter(lambda name: name not in (".", ".."))


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["", "/home/me/.wine/drive_c", "/media/disc"]), st.lists(clean, min_size=1))
def test_paths_come_back(parent: str, components: list[str]) -> None:
    path = "/".join([parent, *components])
    assert DRIVES.to_unix(DRIVES.to_windows(path)) == path


@settings(deadline=None, max_examples=50)
@given(st.text("Cz:\\/.?unix ab\ud800", max_size=20) | st.text(max_size=10))
def test_nothing_is_too_odd(path: str) -> None:
    for translate in (DRIVES.to_windows, DRIVES.to_unix):
        try:
            assert translate(path)
        except PathError as error:
            assert error.path == path
