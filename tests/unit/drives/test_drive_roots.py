"""Which directory of the host a mount's source names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from interop.drives.errors import SourceError
from interop.drives.roots import DosRoots, WindowsRoots, find_roots

assert sys.platform != "win32"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    links = tmp_path / "dosdevices"
    links.mkdir()
    (tmp_path / "drive_c" / "Users").mkdir(parents=True)
    (tmp_path / "servers" / "server" / "Share").mkdir(parents=True)
    for name, target in (("c:", "../drive_c"), ("z:", "/"), ("unc", "../servers"), ("c::", "x")):
        (links / name).symlink_to(target)
    return tmp_path


def test_a_wine_prefix(prefix: Path) -> None:
    roots = find_roots({"WINEPREFIX": str(prefix)})
    assert roots.letters() == ("C", "Z")
    assert roots.resolve("c:") == roots.resolve("C:\\")
    assert roots.resolve("C:").source == "C:\\"
    assert roots.resolve("C:").directory.rstrip("/") == os.path.realpath(prefix / "drive_c")
    found = roots.resolve("C:/users")  # Windows does not mind case
    assert found.directory == os.path.realpath(prefix / "drive_c" / "Users")
    share = roots.resolve("\\\\server\\share")
    assert (share.source, share.directory) == (
        "\\\\server\\share",
        os.path.realpath(prefix / "servers" / "server" / "Share"),
    )


def test_a_host_without_wine(tmp_path: Path) -> None:
    roots = find_roots({"HOME": str(tmp_path)})
    assert isinstance(roots, DosRoots)
    assert roots.letters() == ("Z",)
    assert roots.resolve("Z:\\etc").directory == "/etc"


@pytest.mark.parametrize("source", ["", "C", "relative", "/mnt", "Q:", "\\\\server", "..", "C:x"])
def test_what_names_nothing(tmp_path: Path, source: str) -> None:
    with pytest.raises(SourceError) as failure:
        find_roots({"HOME": str(tmp_path)}).resolve(source)
    assert failure.value.hint


def test_windows() -> None:
    roots = WindowsRoots(("C", "D"))
    assert roots.letters() == ("C", "D")
    assert roots.resolve("d:/data/").directory == "D:\\data"
    assert roots.resolve("\\\\server\\share").directory == "\\\\server\\share"
    with pytest.raises(SourceError):
        roots.resolve("data")
