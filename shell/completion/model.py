"""What can be completed where, in the form that all four scripts need. Pure.

A place is a sub-command's full name, "" before there is one. A slot says what a value is: one of
the constants below, or the words it can be.
"""

from __future__ import annotations

from shell.command import Command, Operand
from shell.commands import COMMANDS, HELP
from shell.options import RUN_OPTIONS, Option

NAMES = "names"
FILES = "files"
DIRECTORIES = "directories"
NOTHING = "nothing"

Slot = str | tuple[str, ...]

_SLOT_OF_KIND: dict[str, Slot] = {
    "distribution": NAMES,
    "file": FILES,
    "directory": DIRECTORIES,
    "working-directory": DIRECTORIES,
    "version": ("2",),
}

PROGRAMS = ("isthmus", "lx")
ENDS = tuple(
    name for option in RUN_OPTIONS if option.kind in ("stop", "exec") for name in option.names
)
"""After these comes the Linux command."""

COMPLETED = tuple(command for command in COMMANDS if not command.not_yet)
PLACE_OF = {name: command.name for command in COMPLETED for name in command.names}
"""Every spelling of a sub-command to its place."""


def slot_of(row: Option | Operand) -> Slot:
    """What the value of `row` is."""
    if row.kind == "topic":
        return tuple(command.name for command in COMPLETED)
    return row.choices or _SLOT_OF_KIND.get(row.kind, NOTHING)


def _options(command: Command) -> list[Option]:
    """Those worth offering: not what does nothing, and not what is always refused."""
    options = [option for option in command.options if not option.ignored and option.kind != "wsl1"]
    return [*options, HELP]


def words() -> dict[str, list[tuple[str, str]]]:
    """Place to the words that may stand there, with what they mean."""
    before = [(name, option.about) for option in RUN_OPTIONS for name in option.names]
    before += [(name, command.about) for command in COMPLETED for name in command.names]
    places = {"": before}
    for command in COMPLETED:
        options = _options(command)
        places[command.name] = [(name, option.about) for option in options for name in option.names]
    places["--help"] = [(command.name, command.about) for command in COMPLETED]
    return places


def values() -> dict[tuple[str, str], Slot]:
    """Place and option to the slot of the option's value, for all that take one."""
    found = {("", name): slot_of(row) for row in RUN_OPTIONS if row.value for name in row.names}
    for command in COMPLETED:
        for option in command.options:
            if option.takes_value:
                found |= {(command.name, name): slot_of(option) for name in option.names}
    return found


def operands() -> dict[tuple[str, int], Slot]:
    """Place and number of operands before, to the slot of the next one."""
    return {
        (command.name, at): slot_of(operand)
        for command in COMPLETED
        for at, operand in enumerate(command.operands)
    }


def grouped_by_slot(slots: dict[tuple[str, str], Slot]) -> dict[Slot, list[tuple[str, str]]]:
    """The keys of `slots` by what they map to, in order of first appearance."""
    groups: dict[Slot, list[tuple[str, str]]] = {}
    for key, slot in slots.items():
        groups.setdefault(slot, []).append(key)
    return groups
