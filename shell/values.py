"""How the values of options and operands are read, by their kind in the table. Pure.

Not imported for plain commands but when an option needs it.
"""

from __future__ import annotations

from shell.errors import (
    INVALID_ARGUMENT,
    VERSION_PARSE_ERROR,
    WSL1_NOT_SUPPORTED,
    NotYetError,
    UsageError,
)

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
NAME_LENGTH = 256
RESERVED_NAME = "Legacy"
"""What wsl.exe reserves for registrations of its first version."""

_SIZE_UNITS = {
    unit + suffix: 1 << 10 * power
    for power, unit in enumerate("BKMGT")
    for suffix in (("",) if unit == "B" else ("", "B"))
} | {"": 1}
_LARGEST_SIZE = 2**63 - 1
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}
_GUID_GROUPS = [8, 4, 4, 4, 12]
_HEX_DIGITS = frozenset("0123456789abcdef")


def text(value: str, name: str) -> str:
    """Any text but none. Raises UsageError."""
    if not value:
        raise UsageError(f"{name} requires a value that is not empty.", code=INVALID_ARGUMENT)
    return value


def new_name(value: str, name: str) -> str:
    """A name that a distribution may be given. Raises UsageError."""
    ok = 0 < len(value) <= NAME_LENGTH and NAME_CHARACTERS.issuperset(value)
    if not ok or value.lower() == RESERVED_NAME.lower():
        raise UsageError(
            f"'{value}' is not a valid distribution name.",
            f"A name has 1 to {NAME_LENGTH} of the characters A-Z a-z 0-9 . _ - and is not "
            f"'{RESERVED_NAME}'.",
            code=INVALID_ARGUMENT,
            context="Service/RegisterDistro",
        )
    return value


def find_guid(value: str) -> str:
    """`value` as a GUID in braces and lower case; "" if it is none. Braces are optional."""
    bare = value[1:-1] if value[:1] == "{" and value[-1:] == "}" else value
    bare = bare.lower()
    groups = bare.split("-")
    if [len(group) for group in groups] != _GUID_GROUPS:
        return ""
    return "{" + bare + "}" if _HEX_DIGITS.issuperset(bare.replace("-", "")) else ""


def guid(value: str, name: str) -> str:
    """A GUID in braces and lower case. Raises UsageError."""
    found = find_guid(value)
    if not found:
        raise UsageError(
            f"{name}: '{value}' is not a GUID.",
            "`isthmus --list --json` shows the GUIDs of all distributions.",
            code=INVALID_ARGUMENT,
        )
    return found


def is_linux_directory(value: str) -> bool:
    """Whether --cd means a path in Linux."""
    return value[:1] in ("/", "~")


def working_directory(value: str, name: str) -> str:
    """A Linux path (see is_linux_directory) or an absolute Windows path. Raises UsageError."""
    has_drive = len(value) > 2 and value[0].isalpha() and value[1] == ":" and value[2] in "\\/"
    if not (is_linux_directory(value) or has_drive or value.startswith("\\\\")):
        raise UsageError(
            f"{name}: '{value}' is neither a Linux path nor an absolute Windows path.",
            "A Linux path begins with / or ~, a Windows path with a drive (C:\\) or \\\\.",
            code=INVALID_ARGUMENT,
        )
    return value


def size(value: str, name: str) -> int:
    """A size in bytes: a whole number and one of wsl.exe's units, all powers of 1024.

    The units are those of .wslconfig: none or B, K or KB, M or MB, G or GB, T or TB; upper case,
    no blank. Raises UsageError, also for zero.
    """
    digits = value.rstrip("BKMGT")
    factor = _SIZE_UNITS.get(value[len(digits) :])
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else 0
    if factor is None or not 0 < number * factor <= _LARGEST_SIZE:
        raise UsageError(
            f"{name}: '{value}' is not a valid size.",
            "A size is a whole number with one of the units B, KB, MB, GB, TB: 64GB.",
            code=INVALID_ARGUMENT,
        )
    return number * factor


def boolean(value: str, name: str) -> bool:
    """true, false, 1 or 0. Raises UsageError."""
    found = _BOOLEANS.get(value.lower())
    if found is None:
        raise UsageError(
            f"{name}: '{value}' is not a valid boolean.",
            "Write true or false.",
            code=INVALID_ARGUMENT,
        )
    return found


def version(value: str, name: str) -> int:
    """The version of the subsystem: 2. Raises UsageError, NotYetError for 1."""
    if value == "1":
        raise NotYetError(
            "Isthmus runs every distribution in a virtual machine: there is no version 1.",
            f"Leave {name} out, or set it to 2.",
            code=WSL1_NOT_SUPPORTED,
        )
    if value != "2":
        raise UsageError(
            f"{name}: '{value}' is not a valid version.",
            "The only version is 2.",
            code=VERSION_PARSE_ERROR,
        )
    return 2


def choice(value: str, name: str, choices: tuple[str, ...]) -> str:
    """One of `choices`. Raises UsageError."""
    if value not in choices:
        raise UsageError(
            f"{name}: '{value}' is not one of {', '.join(choices)}.", code=INVALID_ARGUMENT
        )
    return value


READERS: dict[str, Callable[[str, str], Any]] = {
    "text": text,
    "distribution": text,
    "catalog": text,
    "file": text,
    "directory": text,
    "new-name": new_name,
    "guid": guid,
    "working-directory": working_directory,
    "size": size,
    "boolean": boolean,
    "version": version,
}
"""Kind to its reader: (value, the option's or operand's name) -> the field's value."""


def read_value(kind: str, value: str, name: str, choices: tuple[str, ...]) -> Any:
    """The field's value for `value` given to `name`. Raises UsageError."""
    return choice(value, name, choices) if kind == "choice" else READERS[kind](value, name)
