from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vm.files import is_held, patiently, printable, read_tail, start_log, write_atomically

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes and links")


def test_writing_replaces_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "state"
    write_atomically(target, b"one, and longer")
    write_atomically(target, b"two")
    assert target.read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_failed_write_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "directory"
    target.mkdir()
    with pytest.raises(OSError):
        write_atomically(target, b"x")  # a file cannot take a directory's place
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]


def windows_error(number: int) -> OSError:
    """As Python raises it on Windows."""
    error = PermissionError(errno.EACCES, "no")
    error.winerror = number  # type: ignore[attr-defined, unused-ignore]
    return error


@pytest.mark.parametrize(
    ("error", "held"),
    [
        (windows_error(5), True),
        (windows_error(32), True),
        (windows_error(33), True),
        (windows_error(3), False),
        (PermissionError(errno.EACCES, "from open()"), True),
        (FileNotFoundError(errno.ENOENT, "no"), False),
    ],
)
def test_which_errors_may_pass_by_themselves(error: OSError, held: bool) -> None:
    assert is_held(error) is held


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_what_is_held_is_tried_again(failures: int) -> None:
    errors = [windows_error(32)] * failures

    def operation() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert patiently(Path("x"), operation, (0, 0)) == "done"


@posix_only
def test_writing_replaces_a_link_instead_of_following_it(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_bytes(b"precious")
    link.symlink_to(victim)
    write_atomically(link, b"new")
    assert victim.read_bytes() == b"precious"
    assert link.read_bytes() == b"new"


@posix_only
def test_a_log_starts_empty_and_private_and_the_last_one_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "serial.log"
    old_mask = os.umask(0)
    try:
        start_log(log)
        log.write_bytes(b"first")
        start_log(log)
    finally:
        os.umask(old_mask)
    assert log.read_bytes() == b""
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert (tmp_path / "serial.log.1").read_bytes() == b"first"


@posix_only
def test_a_log_is_not_started_through_a_link(tmp_path: Path) -> None:
    victim, log = tmp_path / "victim", tmp_path / "serial.log"
    victim.write_bytes(b"precious")
    log.symlink_to(victim)
    start_log(log)
    assert victim.read_bytes() == b"precious"
    assert not log.is_symlink()


def test_the_tail_is_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"0123456789")
    assert read_tail(path, 4) == "6789"
    assert read_tail(path, 100) == "0123456789"
    assert read_tail(tmp_path / "none", 4) == ""


def test_a_character_cut_in_half_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes("é!".encode())
    assert read_tail(path, 2) == "\ufffd!"


def test_firmware_clearing_the_screen_leaves_no_trace() -> None:
    assert printable("\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r\nnext\tone\r") == "SeaBIOS\nnext\tone\n"


@given(st.text())
def test_nothing_that_a_terminal_obeys_comes_through(text: str) -> None:
    shown = printable(text)
    assert all(character in "\n\t" or character.isprintable() for character in shown)


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"])))
def test_ordinary_text_is_not_changed(text: str) -> None:
    expected = "".join(c if c.isprintable() else "?" for c in text)
    assert printable(text) == expected
