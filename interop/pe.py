"""What a Windows program's file says of it (the PE format). Pure.

https://learn.microsoft.com/windows/win32/debug/pe-format
"""

from __future__ import annotations

HEAD_BYTES = 4096
"""How much of a file to read: its headers are at its start."""

_MZ = b"MZ"
_PE = b"PE\0\0"
_OFFSET_AT = 0x3C
_SUBSYSTEM_AT = 4 + 20 + 68
"""After the signature and the COFF header, at the same place in PE32 and PE32+."""
_WINDOWS_GUI = 2
"""IMAGE_SUBSYSTEM_WINDOWS_GUI"""


def is_windows_program(head: bytes) -> bool:
    """Whether the file that begins with `head` is a program for Windows at all."""
    return _subsystem(head) is not None


def is_gui_program(head: bytes) -> bool:
    """Whether the program whose file begins with `head` has windows and no use for a console."""
    return _subsystem(head) == _WINDOWS_GUI


def _subsystem(head: bytes) -> int | None:
    if not head.startswith(_MZ) or len(head) < _OFFSET_AT + 4:
        return None
    at = int.from_bytes(head[_OFFSET_AT : _OFFSET_AT + 4], "little")
    subsystem = head[at + _SUBSYSTEM_AT : at + _SUBSYSTEM_AT + 2]
    if head[at : at + 4] != _PE or len(subsystem) != 2:
        return None
    return int.from_bytes(subsystem, "little")
