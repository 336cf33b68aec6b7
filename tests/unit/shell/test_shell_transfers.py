"""Archives on the host: their formats by name, and those that cannot be written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from shell.archives import ArchiveWriter
from shell.transfers import format_of


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.tar", "tar"),
        ("a.tar.gz", "tar.gz"),
        ("A.TGZ", "tar.gz"),
        ("dir.xz/a.tar.xz", "tar.xz"),
        ("a.txz", "tar.xz"),
        ("gz", "tar"),
        ("-", "tar"),
    ],
)
def test_the_name_decides(path: str, expected: str) -> None:
    assert format_of(path) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no /dev/full")
def test_what_cannot_be_written_is_removed_all_the_same(tmp_path: Path) -> None:
    """What is still buffered fails once more when the file is closed."""
    writer = ArchiveWriter(str(tmp_path / "out.tar"), "tar")
    os.dup2(os.open("/dev/full", os.O_WRONLY), writer._raw.fileno())
    writer.write(b"a few bytes")
    writer.abandon()
    assert list(tmp_path.iterdir()) == []
