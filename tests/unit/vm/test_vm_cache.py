from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vm.cache import JsonCache


def test_what_was_put_comes_back_for_an_equal_key(tmp_path: Path) -> None:
    cache = JsonCache(tmp_path / "deep" / "cache.json")
    cache.put({"a": 1, "b": [2]}, {"x": "y"})
    assert JsonCache(tmp_path / "deep" / "cache.json").get({"b": [2], "a": 1}) == {"x": "y"}
    assert cache.get({"a": 2, "b": [2]}) is None


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    JsonCache(path).put({}, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_oldest_entries_give_way(tmp_path: Path) -> None:
    cache = JsonCache(tmp_path / "cache.json")
    for number in range(40):
        cache.put({"n": number}, {"n": number})
    assert cache.get({"n": 39}) == {"n": 39}
    assert cache.get({"n": 0}) is None
    assert len(json.loads((tmp_path / "cache.json").read_bytes())["entries"]) < 40


def test_no_path_keeps_nothing() -> None:
    cache = JsonCache(None)
    cache.put({}, {"x": 1})
    assert cache.get({}) is None


def test_a_place_that_cannot_be_written_is_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = JsonCache(tmp_path / "file" / "cache.json")
    cache.put({}, {"x": 1})
    assert cache.get({}) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=40)
@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_damage_is_an_empty_cache(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_bytes(content)
    cache = JsonCache(path)
    assert cache.get({"k": 1}) is None
    cache.put({"k": 1}, {"v": 2})
    assert cache.get({"k": 1}) == {"v": 2}


def test_nesting_without_end_is_an_empty_cache(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    path.write_bytes(b"[" * 100_000)
    assert JsonCache(path).get({}) is None
