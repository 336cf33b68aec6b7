"""The outer parser: running commands, on both kinds of host."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shell.commands import COMMANDS
from shell.errors import INVALID_ARGUMENT, UsageError
from shell.grammar import parse_posix, parse_windows
from shell.invocations import (
    HelpCommand,
    Invocation,
    ListCommand,
    RunCommand,
    VersionCommand,
)
from shell.options import RUN_OPTIONS

GUID = "01234567-89ab-CDEF-0123-456789abcdef"
CANONICAL = "{01234567-89ab-cdef-0123-456789abcdef}"
SHELL = RunCommand(login=True)


def posix_error(*words: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse_posix(words)
    return caught.value


def windows(rest: str) -> Invocation:
    return parse_windows(f'"C:\\Program Files\\isthmus.exe" {rest}')


BOTH: list[tuple[list[str], Invocation]] = [
    ([], SHELL),
    (["~"], RunCommand(login=True, directory="~")),
    ([GUID], RunCommand(login=True, distribution=CANONICAL)),
    ([f"{{{GUID}}}", "~"], RunCommand(login=True, distribution=CANONICAL, directory="~")),
    (["ls"], RunCommand(line="ls")),
    (["--"], SHELL),
    (["--", "-x"], RunCommand(line="-x")),
    (["--", "--list"], RunCommand(line="--list")),
    (["--", "--", "x"], RunCommand(line="-- x")),
    (["ls", "-l", "--", "--list"], RunCommand(line="ls -l -- --list")),
    (["echo", "$HOME"], RunCommand(line="echo $HOME")),
    (["ls", "~"], RunCommand(line="ls ~")),
    (["-d", "Debian"], RunCommand(login=True, distribution="Debian")),
    (
        ["--distribution", "Debian", "x"],
        RunCommand(distribution="Debian", line="x"),
    ),
    (["--distribution-id", GUID, "x"], RunCommand(distribution=CANONICAL, line="x")),
    (["-u", "root", "id"], RunCommand(user="root", line="id")),
    (["-u", "a", "--user", "b"], RunCommand(user="b", login=True)),
    (["--system", "-u", "root", "ps"], RunCommand(system=True, user="root", line="ps")),
    (["--cd", "/tmp", "pwd"], RunCommand(directory="/tmp", line="pwd")),
    (["--cd", "~/x"], RunCommand(directory="~/x", login=True)),
    (["--cd", "C:\\x", "pwd"], RunCommand(host_directory="C:\\x", line="pwd")),
    (["--cd", "\\\\server\\share"], RunCommand(host_directory="\\\\server\\share", login=True)),
    (["~", "--cd", "/tmp"], RunCommand(directory="/tmp", login=True)),
    (["-e", "true"], RunCommand(argv=("true",))),
    (["--exec", "echo", "$HOME"], RunCommand(argv=("echo", "$HOME"))),
    (["-e", "--list"], RunCommand(argv=("--list",))),
    (["-e", "--", "x"], RunCommand(argv=("--", "x"))),
    (["--shell-type", "none", "a", "b"], RunCommand(argv=("a", "b"))),
    (["--shell-type", "login", "a"], RunCommand(line="a", login=True)),
    (["--shell-type", "login"], SHELL),
    (["--shell-type", "standard", "a"], RunCommand(line="a")),
    (["--shell-type", "standard"], RunCommand()),
    (["--shell-type", "login", "-e", "a"], RunCommand(argv=("a",))),
    (["--debug-shell"], RunCommand(debug_shell=True, system=True, login=True)),
    (["-l"], ListCommand()),
    (["-v"], VersionCommand()),
    (["--help"], HelpCommand()),
]


@pytest.mark.parametrize(("words", "expected"), BOTH)
def test_both_hosts_agree(words: list[str], expected: Invocation) -> None:
    assert parse_posix(words) == expected
    assert windows(" ".join(words)) == expected


def test_posix_words_keep_their_boundaries() -> None:
    assert parse_posix(["--", "sh", "-c", "uname -a; cat x"]) == RunCommand(
        line="sh -c 'uname -a; cat x'"
    )
    assert parse_posix(["echo $HOME | wc"]) == RunCommand(line="echo $HOME | wc")
    assert parse_posix(["-e", "echo", "", "a b"]) == RunCommand(argv=("echo", "", "a b"))
    assert parse_posix(["-e", "\udcff"]) == RunCommand(argv=("\udcff",))


def test_an_empty_word_is_a_line_that_does_nothing() -> None:
    assert parse_posix([""]) == RunCommand(line="")
    assert parse_posix(["--", ""]) == RunCommand(line="")


def test_windows_rest_is_verbatim() -> None:
    assert windows('echo -n "a""b"  $USER\t') == RunCommand(line='echo -n "a""b"  $USER\t')
    assert windows("-- -n  '\"$USER\"'") == RunCommand(line="-n  '\"$USER\"'")


def test_windows_exec_is_split() -> None:
    assert windows('--exec echo -n "a""b"') == RunCommand(argv=("echo", "-n", 'a"b'))
    assert windows('-e echo "" "a b"') == RunCommand(argv=("echo", "", "a b"))


def test_windows_quotes_mean_nothing_among_options() -> None:
    assert windows('-d "Debian" ls') == RunCommand(distribution='"Debian"', line="ls")
    assert windows('-u "a b" ls') == RunCommand(user='"a', line='b" ls')


def test_windows_cd_honours_quotes() -> None:
    assert windows('--cd "C:\\Program Files" ls') == RunCommand(
        host_directory="C:\\Program Files", line="ls"
    )
    assert windows('--cd "/a b"ls') == RunCommand(directory="/a b", line="ls")


def test_windows_behind_a_launcher() -> None:
    line = '"C:\\py\\python.exe" "C:\\a b\\lx.exe" -e true'
    assert parse_windows(line, programs=2) == RunCommand(argv=("true",))


@pytest.mark.parametrize(
    "option", ["-d", "--distribution", "--distribution-id", "-u", "--user", "--cd", "--shell-type"]
)
def test_a_missing_value(option: str) -> None:
    for error in (posix_error(option), posix_error("~", option)):
        assert error.message.startswith(f"{option} requires a value")
        assert error.code == ""
    with pytest.raises(UsageError, match=f"^{option} requires a value"):
        windows(option)


def test_an_empty_value_is_a_missing_one() -> None:
    assert posix_error("-d", "").message.startswith("-d requires a value")
    assert posix_error("--cd", "").code == INVALID_ARGUMENT
    with pytest.raises(UsageError):
        windows('--cd ""')


@pytest.mark.parametrize(
    "words",
    [
        ["-d", "a", "-d", "b"],
        ["-d", "a", "--distribution", "a"],
        [GUID, "-d", "a"],
        ["-d", "a", "--distribution-id", GUID],
    ],
)
def test_two_distributions(words: list[str]) -> None:
    assert "already been set" in posix_error(*words).message


@pytest.mark.parametrize(
    "words",
    [
        ["--cd", "relative"],
        ["--cd", "C:relative"],
        ["--cd", "C:"],
        ["--cd", "\\x"],
        ["--distribution-id", "x"],
        ["--distribution-id", GUID[:-1]],
        ["--distribution-id", GUID.replace("-", "_")],
        ["--distribution-id", "g" + GUID[1:]],
        ["--distribution-id", "{" + GUID],
        ["--shell-type", "bash"],
        ["--shell-type", "Login"],
        ["-e"],
        ["--exec"],
        ["--shell-type", "none"],
        ["--debug-shell", "ls"],
        ["--debug-shell", "-u", "root"],
        ["-u", "root", "--debug-shell"],
    ],
)
def test_invalid_arguments(words: list[str]) -> None:
    assert posix_error(*words).code == INVALID_ARGUMENT
    with pytest.raises(UsageError):
        windows(" ".join(words))


def test_only_the_first_places_take_guid_and_home() -> None:
    assert parse_posix(["~", GUID]) == RunCommand(directory="~", line=GUID)
    assert parse_posix(["-u", "a", "~"]) == RunCommand(user="a", line="~")
    assert parse_posix(["-u", "a", GUID]) == RunCommand(user="a", line=GUID)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--lst"], "--list"),
        (["--distibution", "x"], "--distribution"),
        (["-x"], "--help"),
        (["-"], "--help"),
        (["--cd=/tmp"], "--cd"),
        (["-lv"], "-l -v"),
        (["--parent-console", "1"], "--help"),
    ],
)
def test_unknown_options_get_a_hint(words: list[str], hint: str) -> None:
    error = posix_error(*words)
    assert error.message == f"Invalid command line argument: {words[0]}"
    assert hint in error.hint


KNOWN = [name for option in RUN_OPTIONS for name in option.names]
KNOWN += [name for command in COMMANDS for name in command.names]
KNOWN += [name for command in COMMANDS for option in command.options for name in option.names]
KNOWN += ["Debian", GUID, "~", "/tmp", "C:\\x", "10GB", "true", "2", "none", "-", "", "bash", '"']
some_words = st.one_of(st.sampled_from(KNOWN), st.text(max_size=12))


@settings(deadline=None, max_examples=200)
@given(st.lists(some_words, max_size=8))
def test_any_words_are_understood_or_a_usage_error(words: list[str]) -> None:
    try:
        result = parse_posix(words)
    except UsageError as error:
        assert error.message
    else:
        assert isinstance(result, Invocation)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(some_words, max_size=8).map(" ".join) | st.text(),
    st.integers(min_value=1, max_value=2),
)
def test_any_line_is_understood_or_a_usage_error(rest: str, programs: int) -> None:
    try:
        result = parse_windows("isthmus.exe " * programs + rest, programs)
    except UsageError as error:
        assert error.message
    else:
        assert isinstance(result, Invocation)
