"""--help and docs/commands.md say what the table says."""

from __future__ import annotations

import pytest

from shell.commands import COMMANDS
from shell.docs import TARGET, markdown
from shell.options import RUN_OPTIONS
from shell.usage import WIDTH, synopsis, usage

TOPICS = ["", *(command.name for command in COMMANDS)]


def test_the_page_is_not_stale() -> None:
    written = TARGET.read_text(encoding="utf-8")
    assert written == markdown(), "run `python -m shell.docs`"


def test_the_page_has_every_option() -> None:
    page = markdown()
    options = [*RUN_OPTIONS, *(option for command in COMMANDS for option in command.options)]
    for row in options:
        assert all(name in page for name in row.names)
    for command in COMMANDS:
        assert all(f"`{name}`" in page for name in command.names)


@pytest.mark.parametrize("topic", TOPICS)
def test_help_fits_a_terminal(topic: str) -> None:
    text = usage(topic)
    assert text.startswith("Usage: isthmus")
    assert text.endswith("\n")
    assert max(map(len, text.splitlines())) <= WIDTH


def test_the_overview_names_everything() -> None:
    text = usage()
    for option in RUN_OPTIONS:
        assert all(name in text for name in option.names)
    for command in COMMANDS:
        assert command.name in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_sub_command_names_its_options(command: object) -> None:
    row = next(item for item in COMMANDS if item is command)
    text = usage(row.name)
    assert all(name in text for name in row.names)
    assert all(option.names[0] in text for option in row.options)


def test_synopses() -> None:
    assert synopsis("--import") == "isthmus --import NAME DIR FILE [OPTION...]"
    assert synopsis("--install") == "isthmus --install [DISTRIBUTION] [OPTION...]"
    assert synopsis("--completion") == "isthmus --completion bash|zsh|fish|powershell"
    assert synopsis("--update") == "isthmus --update [OPTION...]"
    assert synopsis("--version") == "isthmus --version"


def test_the_table_is_sound() -> None:
    for command in COMMANDS:
        spellings = [name for option in command.options for name in option.names]
        assert len(spellings) == len(set(spellings))
        known = {option.names[0] for option in command.options}
        known |= {operand.value for operand in command.operands}
        rules = [name for pair in (*command.conflicts, *command.needs) for name in pair]
        assert set(rules) <= known
        assert set(command.one_of) <= known
        fields = command.invocation._fields
        stored = [option.field for option in command.options if option.field]
        stored += [operand.field for operand in command.operands if operand.field]
        assert set(stored) - {"vhd"} <= set(fields)
        optional = [operand.optional for operand in command.operands]
        assert optional == sorted(optional)
    everything = [name for row in COMMANDS for name in row.names]
    everything += [name for option in RUN_OPTIONS for name in option.names]
    assert len(everything) == len(set(everything))
