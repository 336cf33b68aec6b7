"""docs/wsl-compatibility.md is complete, agrees with the code, and names tests that exist."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from service.settings_keys import WSLCONFIG
from shell.commands import COMMANDS, HELP
from shell.options import RUN_OPTIONS
from wire.wslconf import Key, State
from wire.wslconf_keys import DISTRIBUTION_CONF, WSL_CONF

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "wsl-compatibility.md"
VERDICTS = {"same", "differs", "not yet"}


def read_rows() -> dict[tuple[str, str], tuple[str, str, str]]:
    """(heading, item) to (verdict, test, note) of every table row of the page."""
    rows: dict[tuple[str, str], tuple[str, str, str]] = {}
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("| `"):
            item, verdict, test, note = (cell.strip() for cell in line.strip("|").split(" | "))
            place = (heading, item.strip("`"))
            assert place not in rows, f"{place} has two rows"
            rows[place] = (verdict, test.strip("`"), note)
    return rows


ROWS = read_rows()
KEYS: list[tuple[str, Key]] = [
    (heading, key)
    for heading, table in (
        (".wslconfig", WSLCONFIG),
        ("/etc/wsl.conf", WSL_CONF),
        ("/etc/wsl-distribution.conf", DISTRIBUTION_CONF),
    )
    for key in table
]
OPTIONS = {("Running commands", option.names[0]) for option in RUN_OPTIONS}
SUBCOMMANDS = {("Sub-commands", command.name) for command in COMMANDS} | {
    ("Sub-commands", f"{command.name} {option.names[0]}")
    for command in COMMANDS
    for option in command.options
    if option is not HELP
}


@cache
def names_in(file: str) -> set[str]:
    """Names of the test functions in a file below tests/."""
    (path,) = (ROOT / "tests").rglob(file)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_option_and_key_has_a_row_and_no_row_is_stale() -> None:
    wanted = OPTIONS | SUBCOMMANDS | {(heading, key.name) for heading, key in KEYS}
    headings = {heading for heading, _ in wanted}
    assert {place for place in ROWS if place[0] in headings} == wanted


@pytest.mark.parametrize("place", ROWS, ids=" ".join)
def test_a_row_is_well_formed_and_its_test_exists(place: tuple[str, str]) -> None:
    verdict, test, note = ROWS[place]
    assert verdict in VERDICTS
    assert verdict != "differs" or note, "how does it differ?"
    assert verdict != "same" or test, "what backs this?"
    if test:
        file, _, name = test.partition("::")
        assert name.startswith("test_") and name in names_in(file)


@pytest.mark.parametrize(("heading", "key"), KEYS, ids=lambda item: getattr(item, "name", item))
def test_a_keys_verdict_agrees_with_its_table(heading: str, key: Key) -> None:
    verdict, test, _ = ROWS[heading, key.name]
    if key.state == State.NOT_YET:
        assert verdict == "not yet"
    elif key.state == State.NO_EFFECT or key.ours or key.wsl_default:
        assert verdict == "differs"
    else:
        assert verdict in ("same", "differs")
        assert test, "what backs this?"


def test_a_sub_command_that_is_refused_is_not_called_the_same() -> None:
    for command in COMMANDS:
        verdict = ROWS["Sub-commands", command.name][0]
        if command.not_yet or command.ours:
            assert verdict != "same", command.name
        for option in command.options:
            if option.ours and option is not HELP:
                assert ROWS["Sub-commands", f"{command.name} {option.names[0]}"][0] == "differs"
