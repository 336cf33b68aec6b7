"""Which format an export has when --format does not say."""

from __future__ import annotations

import pytest

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
