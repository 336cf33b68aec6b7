"""Windows paths as text: separators, collapsing, escapes, the canonical form."""

from __future__ import annotations

import ntpath
import posixpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.errors import PathError, WireError
from wire.windowspath import (
    FORBIDDEN,
    canonical_windows_path,
    collapse,
    escape,
    fold,
    is_absolute,
    unescape,
    unify,
)

fast = settings(deadline=None, max_examples=50)
pathlike = st.text("C:\\/.?abUNC\uf03aé\udc80", max_size=14) | st.text(max_size=14)


def test_what_is_forbidden() -> None:
    characters = sorted(FORBIDDEN - {chr(code) for code in range(1, 32)})
    assert "".join(characters) == '"*:<>?\\|'
    assert len(FORBIDDEN) == 39


def test_escapes_are_in_the_private_use_area() -> None:
    assert escape("/a:b\\c\x01/d. \x7f") == "\\a\uf03ab\uf05cc\uf001\\d. \x7f"
    assert unescape("\uf03a\uf05c\uf001\uf01f") == ":\\\x01\x1f"


@pytest.mark.parametrize("code", [0xF000, 0xF020, 0xF02E, 0xF02F, 0xF07F, 0xF080, 0xF100])
def test_what_escape_never_writes_stays(code: int) -> None:
    assert unescape(chr(code)) == chr(code)


@fast
@given(st.text().filter(lambda text: not set(text) & {*"/", *escape("".join(FORBIDDEN))}))
def test_escapes_come_back(name: str) -> None:
    assert unescape(escape(name)) == name
    assert not set(escape(name)) & FORBIDDEN
    assert escape(escape(name)) == escape(name)


def test_fold_knows_ascii_only() -> None:
    assert fold("AZ@[É\u0130\u212a") == "az@[É\u0130\u212a"


@pytest.mark.parametrize(
    ("path", "unified"),
    [
        ("", ""),
        ("/", "\\"),
        ("//", "\\\\"),
        ("///", "\\\\"),
        ("/a", "\\a"),
        ("//a", "\\\\a"),
        ("\\/\\a//b\\", "\\\\a\\b\\"),
        ("a//b", "a\\b"),
        ("C://a", "C:\\a"),
        ("a/", "a\\"),
    ],
)
def test_separators_are_unified(path: str, unified: str) -> None:
    assert unify(path, "\\") == unified
    assert unify(path, "/") == unified.replace("\\", "/")


@pytest.mark.parametrize(
    ("path", "absolute"),
    [
        ("C:", False),
        ("C:\\", True),
        ("C:x", True),
        ("\\\\", False),
        ("\\\\x", True),
        ("/\\x", True),
        ("\\xy", False),
        ("1:\\", False),
        ("é:\\", False),
        ("CC:\\", False),
    ],
)
def test_what_is_absolute(path: str, absolute: bool) -> None:
    assert is_absolute(path) is absolute


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("c:/", "c:\\"),
        ("C:\\a\\.\\b\\..\\", "C:\\a\\"),
        ("C:\\a\\.\\..", "C:\\"),
        ("//server/share", "\\\\server\\share"),
        ("\\\\server\\a\\..\\b", "\\\\server\\b"),
        ("\\\\?\\c:\\a", "c:\\a"),
        ("\\\\?\\unc\\server\\x", "\\\\server\\x"),
    ],
)
def test_canonical_form(path: str, canonical: str) -> None:
    assert canonical_windows_path(path) == canonical


@pytest.mark.parametrize(
    "path",
    [
        "",
        "C:",
        "C:x",
        "x",
        "\\x",
        "C:\\..",
        "\\\\server\\..\\..",
        "\\\\?\\x",
        "\\\\?\\C:x",
        "\\\\.\\C:\\x",
        "\\\\?\\UNC\\?\\C:\\x",
        "\\\\?\\UNC\\",
        "\\\\?\\C:\\..\\x",
    ],
)
def test_paths_without_a_canonical_form(path: str) -> None:
    with pytest.raises(PathError) as caught:
        canonical_windows_path(path)
    assert caught.value.path == path
    assert path in str(caught.value)


@fast
@given(pathlike)
def test_the_canonical_form_is_its_own(path: str) -> None:
    try:
        canonical = canonical_windows_path(path)
    except WireError:
        return
    assert canonical_windows_path(canonical) == canonical
    assert canonical_windows_path(canonical.replace("\\", "/")) == canonical


components = st.lists(st.sampled_from(["a", "b c", ".", "..", "", "...", "é"]), max_size=7)


@fast
@given(components)
def test_collapsing_agrees_with_the_standard_library(names: list[str]) -> None:
    climbs = 0
    for name in names:
        climbs += {"..": -1, ".": 0, "": 0}.get(name, 1)
        if climbs < 0:
            break
    path = "\\".join(["C:", *names])
    collapsed = collapse(path, "\\")
    if climbs < 0:
        assert collapsed is None
        return
    assert collapsed is not None
    assert (collapsed.rstrip("\\") or "C:") == ntpath.normpath(path).rstrip("\\")
    linux = collapse("/" + "/".join(names), "/")
    assert linux is not None
    assert (linux.rstrip("/") or "/") == "/" + posixpath.normpath("/" + "/".join(names)).lstrip("/")


@fast
@given(pathlike, st.sampled_from("\\/"))
def test_unify_and_collapse_need_doing_once(path: str, separator: str) -> None:
    unified = unify(path, separator)
    assert unify(unified, separator) == unified
    collapsed = collapse(unified, separator)
    assert collapsed is None or collapse(collapsed, separator) == collapsed
