"""What a program's headers say."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.pe import is_gui_program, is_windows_program


def program(subsystem: int, at: int = 0x80) -> bytes:
    """The headers of a PE file, as far as they matter."""
    stub = b"MZ" + bytes(0x3A) + struct.pack("<I", at)
    return stub.ljust(at, b"\0") + b"PE\0\0" + bytes(20 + 68) + struct.pack("<H", subsystem)


@pytest.mark.parametrize(("subsystem", "is_gui"), [(2, True), (3, False), (1, False)])
def test_the_subsystem_says_whether_it_has_windows(subsystem: int, is_gui: bool) -> None:
    assert is_windows_program(program(subsystem))
    assert is_gui_program(program(subsystem)) is is_gui


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"MZ",
        b"\x7fELF" + bytes(200),
        program(2)[:-1],
        program(2).replace(b"PE\0\0", b"NE\0\0"),
        program(2, at=0x80)[:0x3C] + b"\xff" * 4,
    ],
)
def test_what_is_no_program_for_windows(head: bytes) -> None:
    assert not is_windows_program(head)
    assert not is_gui_program(head)


@given(st.binary().map(lambda data: b"MZ" + data))
def test_any_bytes_are_judged(head: bytes) -> None:
    assert is_windows_program(head) or not is_gui_program(head)
