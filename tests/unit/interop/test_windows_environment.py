"""Environment blocks: names without case, order, deletion."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.environment import environment_block, fold_name, merge_environment
from wire.errors import ArgumentError

fast = settings(deadline=None, max_examples=50)
texts = st.text(st.characters(exclude_characters="\0="), max_size=6)
environments = st.dictionaries(texts.filter(bool), texts, max_size=6)


def test_changes_are_merged_without_regard_to_case() -> None:
    host = {"Path": "C:\\", "TEMP": "t", "=C:": "C:\\x"}
    merged = merge_environment(host, {"PATH": "D:\\", "New": "n", "NEW": "m", "temp": ""})
    assert merged == {"Path": "D:\\", "=C:": "C:\\x", "New": "m"}
    assert host["TEMP"] == "t"


def test_a_deleted_variable_may_come_again() -> None:
    assert merge_environment({"a": "1"}, {"A": "", "b": "", "B": "2"}) == {"b": "2"}


def test_blocks_are_sorted_as_windows_sorts() -> None:
    block = environment_block(
        {"b": "1", "_x": "2", "A": "3", "=C:": "C:\\", "B2": "", "\u00e9": "4"}
    )
    assert block == "=C:=C:\\\0A=3\0b=1\0B2=\0_x=2\0\u00e9=4\0\0"


def test_an_empty_block_ends_twice() -> None:
    assert environment_block({}) == "\0\0"


@pytest.mark.parametrize(("name", "folded"), [("aé", "AÉ"), ("ß", "ß"), ("\u01c6", "\u01c4")])
def test_names_fold_character_by_character(name: str, folded: str) -> None:
    assert fold_name(name) == folded


@pytest.mark.parametrize(("name", "value"), [("", "x"), ("a=b", "x"), ("a\0", "x"), ("a", "\0x")])
def test_what_windows_cannot_hold_is_refused(name: str, value: str) -> None:
    with pytest.raises(ArgumentError):
        environment_block({name: value})
    with pytest.raises(ArgumentError):
        merge_environment({}, {name: value})


@fast
@given(environments, environments)
def test_blocks_hold_what_was_merged(host: dict[str, str], changes: dict[str, str]) -> None:
    merged = merge_environment(host, changes)
    block = environment_block(merged)
    assert block.endswith("\0\0")
    parsed = dict(entry.split("=", 1) for entry in block.rstrip("\0").split("\0") if entry)
    assert parsed == merged
    assert merge_environment(merged, {}) == merged
    for name, value in changes.items():
        same = [text for other, text in changes.items() if fold_name(other) == fold_name(name)]
        held = [text for other, text in merged.items() if fold_name(other) == fold_name(name)]
        if len(same) == 1 and fold_name(name) not in map(fold_name, host):
            assert held == ([value] if value else [])
