"""WSLENV, lists of paths and starting directories."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.interop.wslpath_worlds import OURS
from wire.mounts import Mounts
from wire.pathlists import (
    append_windows_path,
    list_to_linux,
    list_to_windows,
    starting_directories,
)
from wire.paths import Translator
from wire.wslenv import parse_wslenv, variables_to_linux, variables_to_windows

fast = settings(deadline=None, max_examples=50)
TRANSLATOR = Translator(Mounts.parse(OURS), "Debian")


def home() -> str:
    return "/home/me"


def to_linux(wslenv: str, **variables: str) -> dict[str, str]:
    block = variables_to_linux({"WSLENV": wslenv, **variables}, TRANSLATOR)
    assert block.variables.pop("WSLENV") == wslenv
    return block.variables


def to_windows(wslenv: str, **variables: str) -> dict[str, str]:
    block = variables_to_windows({"WSLENV": wslenv, **variables}, TRANSLATOR, home)
    assert block.variables.pop("WSLENV") == wslenv
    return block.variables


def test_entries_are_parsed() -> None:
    entries = parse_wslenv("A:B/p:C/l:D/pu:E/wl:F/uw:::/p:G/x:H/p/l:I=J:WSLENV/p:K/ \n")
    assert [(e.name, e.is_path, e.to_linux, e.to_windows) for e in entries] == [
        ("A", False, True, True),
        ("B", True, True, True),
        ("C", True, True, True),
        ("D", True, True, False),
        ("E", True, False, True),
        ("F", False, False, False),
        ("K", False, True, True),
    ]


def test_trailing_blanks_are_no_part_of_the_list() -> None:
    assert to_linux("A/u \t\r\n", A="x") == {"A": "x"}
    assert to_linux("A /u:B", B="x") == {"A ": "", "B": "x"}


def test_wslenv_crosses_always_and_verbatim() -> None:
    assert variables_to_linux({}, TRANSLATOR).variables == {"WSLENV": ""}
    assert variables_to_windows({"A": "x"}, TRANSLATOR, home).variables == {"WSLENV": ""}
    assert to_linux("WSLENV/p:A/w ") == {}


@pytest.mark.parametrize("flags", ["l", "p", "pl", "lp", "pu", "lup", "ppp"])
def test_lists_cross_to_linux(flags: str) -> None:
    assert to_linux(f"A/{flags}", A="C:\\Users;C:\\Windows") == {"A": "/mnt/c/Users:/mnt/c/Windows"}


@pytest.mark.parametrize("flags", ["l", "p", "pl", "lp", "pw", "lwp"])
def test_lists_cross_to_windows(flags: str) -> None:
    assert to_windows(f"A/{flags}", A="/mnt/c/Users:/usr/bin:x/y") == {
        "A": "C:\\Users;\\\\wsl.localhost\\Debian\\usr\\bin;x\\y"
    }


def test_directions() -> None:
    variables = {"A": "a", "B": "b", "C": "c", "D": "d"}
    assert to_linux("A:B/u:C/w:D/uw", **variables) == {"A": "a", "B": "b"}
    assert to_windows("A:B/u:C/w:D/uw", **variables) == {"A": "a", "C": "c"}


def test_values_without_flags_are_not_translated() -> None:
    assert to_linux("A/u", A="c:/u") == {"A": "c:/u"}
    assert to_windows("A", A="/mnt/c") == {"A": "/mnt/c"}


def test_undefined_and_empty() -> None:
    assert to_linux("A/u:B:C/p:D/w", B="") == {"A": "", "B": "", "C": ""}
    assert to_windows("A/w:B:C/p:D/u", B="") == {"A": "", "B": "", "C": ""}
    assert to_linux("A/p", A="") == {}
    assert to_windows("A/l", A="") == {}


def test_names_have_case() -> None:
    assert to_linux("a", A="x") == {"a": ""}


def test_of_duplicates_the_last_counts() -> None:
    assert to_linux("A/p:A/p", A="C:\\") == {"A": "/mnt/c/"}
    assert to_linux("A/p:A", A="C:\\") == {"A": "C:\\"}
    assert to_linux("A:A/x", A="C:\\") == {"A": "C:\\"}


def test_what_does_not_translate_is_dropped_with_a_warning() -> None:
    environment = {"WSLENV": "A/l:B/p:C/l", "A": "Z:\\x;C:\\;rel;C:;Y:\\", "B": "Z:\\x", "C": "r"}
    block = variables_to_linux(environment, TRANSLATOR)
    assert block.variables == {"WSLENV": "A/l:B/p:C/l", "A": "/mnt/c/"}
    assert block.warnings == ("Failed to translate 'Z:\\x'", "Failed to translate 'Y:\\'")


def test_what_has_no_windows_name_is_dropped_with_a_warning() -> None:
    nameless = Translator(Mounts.parse(OURS), "")
    block = variables_to_windows({"WSLENV": "A/l", "A": "/usr:/mnt/c:"}, nameless, home)
    assert block.variables == {"WSLENV": "A/l", "A": "C:\\"}
    assert block.warnings == ("Failed to translate '/usr'",)


def test_a_separator_in_a_translation_does_not_split_it() -> None:
    odd = Translator(Mounts.parse("1 0 0:4 / /a:b rw - drvfs C:\\134 rw"), "")
    assert list_to_linux("C:\\x;C:\\y", odd).value is None
    translated = list_to_windows("/a;b:/mnt/c/x;y:/mnt/c", TRANSLATOR, home)
    assert translated.value == "C:\\"
    assert len(translated.warnings) == 2


def test_quoted_elements_of_a_windows_list() -> None:
    translated = list_to_linux('"C:\\a;b";C:\\c";"d;;"D:\\"', TRANSLATOR)
    assert translated.value == "/mnt/c/a;b:/mnt/c/c;d:/mnt/d/"


def test_windows_path_is_appended() -> None:
    added = append_windows_path("/usr/bin:/bin", "C:\\Windows\\;Z:\\x;c:\\b;C:\\b", TRANSLATOR)
    assert added.value == "/usr/bin:/bin:/mnt/c/Windows/:/mnt/c/b"
    assert added.warnings == ("Failed to translate 'Z:\\x'",)
    added = append_windows_path("/bin", "C:\\", TRANSLATOR, libraries=True)
    assert added.value == "/bin:/usr/lib/wsl/lib:/mnt/c/"


def test_what_is_in_path_keeps_its_place() -> None:
    added = append_windows_path("/mnt/c/b:/bin:/bin", "C:\\a;C:\\b", TRANSLATOR)
    assert added.value == "/mnt/c/b:/bin:/bin:/mnt/c/a"
    assert append_windows_path("", "", TRANSLATOR).value == ""
    assert append_windows_path("/bin", "", TRANSLATOR).value == "/bin"
    assert append_windows_path("", "C:\\", TRANSLATOR).value == "/mnt/c/"


def test_starting_directories() -> None:
    assert starting_directories("C:\\Users\\me", TRANSLATOR) == (("/mnt/c/Users/me", "~"), ())
    own = "\\\\wsl$\\Debian\\home\\me"
    assert starting_directories(own, TRANSLATOR) == (("/home/me", "~"), ())
    for directory in ["Z:\\x", "\\\\wsl$\\Ubuntu\\home", "C:", ""]:
        warning = f"Failed to translate '{directory}'"
        assert starting_directories(directory, TRANSLATOR) == (("~",), (warning,))


texts = st.text("AB:/;\\pluwC \n", max_size=14) | st.text(max_size=8)


@fast
@given(texts, st.dictionaries(st.sampled_from(["A", "B", "C"]), texts))
def test_nothing_is_too_odd_to_cross(wslenv: str, variables: dict[str, str]) -> None:
    environment = {**variables, "WSLENV": wslenv}
    for block in (
        variables_to_linux(environment, TRANSLATOR),
        variables_to_windows(environment, TRANSLATOR, home),
    ):
        assert block.variables["WSLENV"] == wslenv
        assert all("=" not in name and name for name in block.variables)


@fast
@given(st.lists(st.sampled_from(["/mnt/c/a", "/mnt/d", "/usr/bin", "/a b", "/mnt/c/x y"])))
def test_lists_come_back(elements: list[str]) -> None:
    windows = list_to_windows(":".join(elements), TRANSLATOR, home)
    assert windows.warnings == ()
    linux = list_to_linux(windows.value or "", TRANSLATOR).value
    expected = [element.replace("/mnt/d", "/mnt/d/") for element in elements]
    assert (linux or "") == ":".join(expected)
