"""Names that QEMU for Windows can open, and files that other programs hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from vm.files import patiently
from vm.openable import LONGEST, is_plain, openable


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("C:\\Program Files\\x", True),
        ("C:\\Users\\Žofia\\x", False),
        ("C:\\" + "a" * LONGEST, False),
    ],
)
def test_names_are_plain_when_short_and_ascii(name: str, plain: bool) -> None:
    assert is_plain(name) == plain


def test_what_is_plain_stays(tmp_path: Path) -> None:
    assert openable(tmp_path) == tmp_path


class Held(PermissionError):
    winerror = 32


def test_a_held_file_is_waited_for() -> None:
    attempts = iter([Held(), Held(), None])

    def operation() -> None:
        if (error := next(attempts)) is not None:
            raise error

    patiently(Path("x"), operation, (0.0, 0.0))
    assert list(attempts) == []


def test_who_never_lets_go_is_named_in_the_error() -> None:
    def operation() -> None:
        raise Held

    with pytest.raises(PermissionError, match="virus scanner"):
        patiently(Path("x"), operation, (0.0, 0.0))


def test_other_refusals_are_not_waited_for() -> None:
    def operation() -> None:
        raise PermissionError(1, "no")

    with pytest.raises(PermissionError, match="no"):
        patiently(Path("x"), operation, (3600.0,))
