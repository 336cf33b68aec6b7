"""The grammar of .wslconfig and wsl.conf, and the values of their keys."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.wslconf import (
    ESCAPES,
    MAX_WARNINGS,
    Entry,
    Key,
    Malformed,
    State,
    parse,
    read_boolean,
    read_config,
    read_integer,
    read_memory,
)

ROOT = Path(__file__).resolve().parents[3]
FILE = "/etc/wsl.conf"

KEYS = (
    Key("a.flag", "boolean", True, ""),
    Key("a.count", "integer", 7, "", aliases=("old.count",)),
    Key("a.size", "memory", 1024, ""),
    Key("a.name", "text", "", ""),
    Key("a.mode", "choice", "Nat", "", choices=("None", "Nat", "Mirrored")),
    Key("a.mac", "mac", None, ""),
    Key("a.ip", "ip", None, ""),
    Key("a.ports", "ports", (), ""),
    Key("a.later", "boolean", False, "", state=State.NOT_YET, always=False),
    Key("a.never", "text", "", "", state=State.NO_EFFECT),
)


def entries(text: str) -> list[tuple[str, str, int]]:
    """What a well-formed text says."""
    found = []
    for item in parse(text, stop_at_malformed=False):
        assert isinstance(item, Entry), item
        found.append((item.name, item.value, item.line))
    return found


def problems(text: str) -> list[tuple[str, int]]:
    """What is malformed in a text."""
    items = parse(text, stop_at_malformed=False)
    return [(item.reason, item.line) for item in items if isinstance(item, Malformed)]


def warnings(text: str) -> tuple[str, ...]:
    return read_config(text, KEYS, FILE, stop_at_malformed=False).warnings


# -- the grammar -----------------------------------------------------------------------------------


def test_sections_keys_comments_and_blank_lines() -> None:
    text = "# head\n\n[wsl2]   # why\n  memory = 4GB # half\n\tprocessors=2\n[user]\ndefault=me"
    assert entries(text) == [
        ("wsl2.memory", "4GB", 4),
        ("wsl2.processors", "2", 5),
        ("user.default", "me", 7),
    ]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("plain", "plain"),
        ("  two words  ", "two words"),
        ("", ""),
        ('" kept "', " kept "),
        ('a" # "b', "a # b"),
        ("before # after", "before"),
        ("a#b", "a"),
        (r"C:\\kernel", "C:\\kernel"),
        (r"say \"hi\"", 'say "hi"'),
        (r"a\tb\nc\bd", "a\tb\nc\bd"),
        ("trailing\\t  ", "trailing\t"),
        ("a \\\n  b", "a   b"),
        ("a=b", "a=b"),
        ("[x]", "[x]"),
        ('"one \\\ntwo"', "one two"),
    ],
)
def test_values(written: str, value: str) -> None:
    assert [found[1] for found in entries(f"[s]\nk={written}\n")] == [value]


def test_a_continued_value_stands_where_it_ends() -> None:
    assert entries("[s]\nk=a\\\nb\nl=c") == [("s.k", "ab", 3), ("s.l", "c", 4)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("=x", "Invalid key name"),
        ("1x=y", "Invalid key name"),
        ("key", "Expected '='"),
        ("key value", "Expected '='"),
        ("my_key=1", "Expected '='"),
        ("[]", "Invalid section name"),
        ("[2]", "Invalid section name"),
        ("[wsl2", "Expected ']'"),
        ("[a b]", "Expected ']'"),
        ("[a] x", "Expected ' ' or '\\n'"),
        ('k="open', "Expected '\"'"),
        (r"k=C:\kernel", "Invalid escaped character: 'k'"),
        ("k=\\\x1b", "Invalid escaped character: '?'"),
    ],
)
def test_malformed_lines(line: str, reason: str) -> None:
    text = f"[a]\ngood=1\n{line}\n[b]\nlast=2\n"
    assert problems(text) == [(reason, 3)]


def test_a_continuation_needs_a_line_to_go_on_in() -> None:
    assert problems("[a]\nk=end\\") == [("Invalid escaped character: ''", 2)]


def test_a_bad_line_is_skipped_or_ends_the_file() -> None:
    text = "[a]\nx=1\n?\ny=2\n"
    skipping = list(parse(text, stop_at_malformed=False))
    assert [item.name for item in skipping if isinstance(item, Entry)] == ["a.x", "a.y"]
    stopping = list(parse(text, stop_at_malformed=True))
    assert [item.name for item in stopping if isinstance(item, Entry)] == ["a.x"]
    assert isinstance(stopping[-1], Malformed)


def test_keys_after_a_malformed_section_are_in_none() -> None:
    items = list(parse("[a]\nx=1\n[b\nx=2\n", stop_at_malformed=False))
    assert [item.name for item in items if isinstance(item, Entry)] == ["a.x", "x"]


@pytest.mark.parametrize("newline", ["\r\n", "\r", "\n"])
def test_every_kind_of_newline(newline: str) -> None:
    text = newline.join(["\ufeff[a]", "x=1 \\", " 2", "# c", "y=3"])
    assert entries(text) == [("a.x", "1  2", 3), ("a.y", "3", 5)]


_plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=30)


@given(_plain)
def test_any_text_survives_being_quoted(value: str) -> None:
    """Whatever a value holds, there is a way to write it."""
    escapes = {char: "\\" + name for name, char in ESCAPES.items()}
    written = "".join(escapes.get(char, char) for char in value)
    assert entries(f'[s]\nk="{written}"\n') == [("s.k", value, 2)]


@given(st.text(alphabet='ab[]=#"\\ \t\n\rk1_', max_size=60), st.booleans())
def test_nothing_confuses_the_parser(text: str, stop: bool) -> None:
    """It ends, its lines rise and are in the file, and it stops where it should."""
    items = list(parse(text, stop_at_malformed=stop))
    lines = [item.line for item in items]
    assert lines == sorted(lines)
    last = text.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
    assert all(1 <= line <= last for line in lines)
    if stop:
        assert not any(isinstance(item, Malformed) for item in items[:-1])


@given(st.text(max_size=200))
def test_any_text_at_all_gives_a_config(text: str) -> None:
    config = read_config(text, KEYS, FILE, stop_at_malformed=False)
    assert all(warning.isprintable() for warning in config.warnings)
    assert len(config.warnings) <= MAX_WARNINGS + 1


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("true", True), ("TRUE", True), ("0", False), ("False", False)]
    + [(text, None) for text in ("yes", "on", "", "2", "01", " 1", "truee")],
)
def test_booleans(text: str, value: bool | None) -> None:
    assert read_boolean(text) is value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("37", 37),
        ("-1", -1),
        ("+5", 5),
        ("0x3000", 0x3000),
        ("0XfF", 255),
        ("0644", 0o644),
        ("2147483647", 2**31 - 1),
        ("-2147483648", -(2**31)),
    ],
)
def test_integers(text: str, value: int | None) -> None:
    assert read_integer(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "x", "-", "--1", "1 ", "1.5", "1_000", "\u0663", "0x", "08", "0b1", "0o7", "2147483648"],
)
def test_no_integers(text: str) -> None:
    assert read_integer(text) is None


@given(st.integers(-(2**31), 2**31 - 1))
def test_integers_of_every_base_are_read_back(number: int) -> None:
    sign = "-" if number < 0 else ""
    for form in (f"{number}", f"{sign}{abs(number):#x}", f"{sign}0{abs(number):o}"):
        assert read_integer(form) == number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("0GB", 0),
        ("12", 12),
        ("12B", 12),
        ("1K", 2**10),
        ("1KB", 2**10),
        ("3M", 3 * 2**20),
        ("3MB", 3 * 2**20),
        ("4G", 2**32),
        ("4GB", 2**32),
        ("1T", 2**40),
        ("1TB", 2**40),
    ],
)
def test_memory_sizes(text: str, value: int | None) -> None:
    assert read_memory(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GB",
        "1gb",
        "1 GB",
        "-1",
        "1.5GB",
        "1BB",
        "1KKB",
        "1BK",
        "1PB",
        "00",
        "0x10",
        "9999999TB",
    ],
)
def test_no_memory_sizes(text: str) -> None:
    assert read_memory(text) is None


def test_typed_values_and_defaults() -> None:
    text = (
        "[A]\nFLAG=false\nmode=mirrored\nmac=00-0A-0b-0c-0d-0e\nip=10.0.0.1\n"
        "ports=80, 0x50,443\n[old]\ncount=3\n"
    )
    config = read_config(text, KEYS, FILE, stop_at_malformed=False)
    assert config.warnings == ()
    assert config.boolean("a.flag") is False
    assert config.integer("a.count") == 3
    assert config.integer("a.size") == 1024
    assert config.text("a.mode") == "Mirrored"
    assert config.text("a.mac") == "00:0a:0b:0c:0d:0e"
    assert config.text("a.ip") == "10.0.0.1"
    assert config.get("a.ports") == (80, 80, 443)
    assert config.text("a.name") == ""
    assert "a.size" not in config.values


# -- warnings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[wsl2]\na=1\n", "Unknown key 'wsl2.a' in /etc/wsl.conf:2"),
        ("flag=1\n", "Unknown key 'flag' in /etc/wsl.conf:1"),
        ("[a]\nFlag=yes", "Invalid boolean value 'yes' for config key 'a.Flag' in {}:2"),
        ("[a]\ncount=ten", "Invalid integer value 'ten' for config key 'a.count' in {}:2"),
        ("[a]\nsize=4gb", "Invalid memory string '4gb' for config key 'a.size' in {}:2"),
        ("[a]\nmac=x", "Invalid MAC address 'x' for config key 'a.mac' in {}:2"),
        ("[a]\nip=1.2.3", "Invalid IP value '1.2.3' for config key 'a.ip' in {}:2"),
        ("[a]\nip=1.2.3.04", "Invalid IP value '1.2.3.04' for config key 'a.ip' in {}:2"),
        (
            "[a]\nmode=x",
            "Invalid value 'x' for config key 'a.mode' in {}:2 (Valid values: None, Nat, Mirrored)",
        ),
        ("[a]\nports=1,x", "Invalid integer value '1,x' for config key 'a.ports' in {}:2"),
        (
            "[a]\ncount=1\nCount=2",
            "Duplicated config key 'a.Count' in {}:3 (Conflicting key: 'a.count' in {}:2)",
        ),
        (
            "[a]\ncount=1\n[old]\ncount=2",
            "Duplicated config key 'old.count' in {}:4 (Conflicting key: 'a.count' in {}:2)",
        ),
        ("[a]\nlater=1", "Key 'a.later' is not honoured yet in {}:2"),
        ("[a]\nnever=x", "Key 'a.never' has no effect in Isthmus in {}:2"),
        ("[a\n", "Expected ']' in {}:1"),
    ],
)
def test_warnings_in_wsls_form(text: str, warning: str) -> None:
    assert warnings(text) == (warning.replace("{}", FILE),)


def test_asking_for_what_is_so_anyway_is_no_cause_for_a_warning() -> None:
    assert warnings("[a]\nlater=false\n") == ()


def test_the_first_of_two_counts_even_if_it_is_invalid() -> None:
    config = read_config("[a]\ncount=x\ncount=2\n", KEYS, FILE, stop_at_malformed=False)
    assert config.integer("a.count") == 7
    assert len(config.warnings) == 2


def test_valid_ports_of_a_partly_invalid_list_count() -> None:
    config = read_config("[a]\nports=80,0,443\n", KEYS, FILE, stop_at_malformed=False)
    assert config.get("a.ports") == (80, 443)


def test_a_hostile_file_cannot_flood_or_steer_the_terminal() -> None:
    flood = warnings("[a]\n" + "x=1\n" * 5000)
    assert len(flood) == MAX_WARNINGS + 1
    assert flood[-1] == f"{5000 - MAX_WARNINGS} more warnings about {FILE}"
    (warning,) = warnings("[a]\nflag=\x1b]0;x\x07" + "y" * 500 + "\udc80")
    assert warning.isprintable()
    assert len(warning) < 200


def test_a_value_ends_at_a_nul() -> None:
    config = read_config("[a]\nname=sh\0rm\n", KEYS, FILE, stop_at_malformed=False)
    assert config.text("a.name") == "sh"


# -- imports ---------------------------------------------------------------------------------------


def test_reading_a_file_imports_nothing() -> None:
    """The agent pays for each module ten times what the host does."""
    for name in ("wslconf", "wslconf_keys"):
        tree = ast.parse((ROOT / "wire" / f"{name}.py").read_text(encoding="utf-8"))
        modules = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert modules <= {"__future__", "wire.wslconf"}
        assert not any(isinstance(node, ast.Import) for node in tree.body)
    program = (
        f"import sys; sys.path[0:0] = [{str(ROOT)!r}]\nimport wire\nbefore = set(sys.modules)\n"
        "from wire.wslconf_keys import WSL_CONF\nfrom wire.wslconf import read_config\n"
        "read_config('[user]\\ndefault=x', WSL_CONF, 'f', stop_at_malformed=True)\n"
        "print(sorted(set(sys.modules) - before))"
    )
    argv = [sys.executable, "-I", "-c", program]
    output = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
    assert ast.literal_eval(output) == ["__future__", "wire.wslconf", "wire.wslconf_keys"]
