"""Messages' JSON is the library's, whichever way it is made."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import jsontext

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip
WAYS = [jsontext._direct(), jsontext._by_library()]
Way = tuple[Callable[[Any], str], Callable[[str], Any]]


@pytest.mark.parametrize("way", WAYS)
@given(value=VALUES)
def test_values_survive_and_are_written_as_the_library_writes_them(way: Way, value: Any) -> None:
    dumps, loads = way
    text = dumps(value)
    assert text == json.dumps(value, separators=(",", ":"))
    assert text.isascii()
    assert loads(text) == value
    assert loads(json.dumps(value, indent=2, ensure_ascii=False)) == value


@pytest.mark.parametrize("way", WAYS)
@given(text=st.text() | st.text(alphabet='[]{}:,"\\0123456789eE+-.truefalsn \t\n', max_size=30))
def test_what_the_library_refuses_is_refused(way: Way, text: str) -> None:
    _, loads = way
    try:
        wanted = json.loads(text, parse_constant=jsontext._refuse)
    except (ValueError, RecursionError):
        with pytest.raises((ValueError, RecursionError)):
            loads(text)
    else:
        assert loads(text) == wanted


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "text",
    ["", " ", "{} {}", "[1,]", "NaN", "[Infinity]", '{"a":1', '"\n"', "\ufeff{}", "[" * 10**6],
)
def test_malformed(way: Way, text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        way[1](text)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [float("nan"), object(), {1: b""}])
def test_what_has_no_json(way: Way, value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        way[0](value)


@pytest.mark.parametrize("text", ['{"a"', "{'a':1}", '["\\x"]', "nul", "{}}"])
def test_malformed_before_the_library_is_loaded(text: str) -> None:
    """The C scanner takes its exception from there."""
    code = (
        "import sys; from wire import codec, errors\n"
        "try: codec.decode_message(sys.argv[1].encode())\n"
        "except errors.MessageError as error: print('refused', error)"
    )
    argv = [sys.executable, "-c", code, text]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused payload is not JSON")


def test_the_library_is_not_loaded() -> None:
    """That is what it is for; should an interpreter lose what this needs, nothing else shows it."""
    code = "import sys, wire.codec; print({'json', 're'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
