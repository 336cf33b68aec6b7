"""Quoting of Windows arguments, and what a Windows program is started with."""

from __future__ import annotations

import errno
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.commandline import MAX_COMMAND_LINE, command_line, windows_argv
from shell.windows_line import split_program
from wire.errors import ArgumentError
from wire.winargs import join_command_line, quote_argument, quote_program, split_arguments

fast = settings(deadline=None, max_examples=100)
arguments = st.text('ab \t\\"\n', max_size=8) | st.text(
    st.characters(exclude_characters="\0"), max_size=8
)


@pytest.mark.parametrize(
    ("argument", "quoted"),
    [
        ("", '""'),
        ("a", "a"),
        ("a b", '"a b"'),
        ("a\tb", '"a\tb"'),
        ("a\nb", '"a\nb"'),
        ("a\rb", '"a\rb"'),
        ('"', '"\\""'),
        ("a\\b", "a\\b"),
        ("a\\", "a\\"),
        ("a b\\", '"a b\\\\"'),
        ('a\\"b', '"a\\\\\\"b"'),
        ("a\\\\ b", '"a\\\\ b"'),
        ("%PATH%^&|", "%PATH%^&|"),
        ("é😀", "é😀"),
    ],
)
def test_arguments_are_quoted(argument: str, quoted: str) -> None:
    assert quote_argument(argument) == quoted


@fast
@given(st.lists(arguments, max_size=5))
def test_quoted_arguments_come_back(given_arguments: list[str]) -> None:
    line = " ".join(map(quote_argument, given_arguments))
    assert split_arguments(line) == given_arguments


@fast
@given(arguments)
def test_the_standard_library_means_the_same(argument: str) -> None:
    assert split_arguments(subprocess.list2cmdline([argument])) == [argument]
    assert split_arguments(quote_argument(argument)) == [argument]


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("cmd.exe", "cmd.exe"),
        ("", '""'),
        ("a b.exe", '"a b.exe"'),
        ("a b\\", '"a b\\"'),
        ("a\x01b", '"a\x01b"'),
        ('a"b c.exe', '"ab c.exe"'),
    ],
)
def test_programs_are_quoted(name: str, quoted: str) -> None:
    assert quote_program(name) == quoted


@fast
@given(st.lists(arguments, min_size=1, max_size=4))
def test_whole_command_lines_come_back(argv: list[str]) -> None:
    argv[0] = argv[0].replace('"', "")
    assert split_program(join_command_line(argv)) == argv


@pytest.mark.parametrize("argv", [["a\0b"], ["a", "b\0"]])
def test_nul_is_refused(argv: list[str]) -> None:
    with pytest.raises(ArgumentError) as caught:
        join_command_line(argv)
    assert "\0" in caught.value.text


@pytest.mark.parametrize(
    ("program", "argv", "expected"),
    [
        ("/mnt/c/x/cmd.exe", ["/mnt/c/x/cmd.exe", "/c", "dir"], ["cmd.exe", "/c", "dir"]),
        ("./cmd.exe", ["./cmd.exe"], ["cmd.exe"]),
        ("/mnt/c/x/cmd.exe", ["cmd.exe", "/mnt/c/x/cmd.exe"], ["cmd.exe", "/mnt/c/x/cmd.exe"]),
        ("/mnt/c/x/cmd.exe", ["./cmd.exe"], ["./cmd.exe"]),
        ("/mnt/c/x/cmd.exe", [""], [""]),
        ("/mnt/c/x/cmd.exe", [], ["cmd.exe"]),
    ],
)
def test_the_first_argument(program: str, argv: list[str], expected: list[str]) -> None:
    assert windows_argv(program, argv) == expected


def test_a_command_line() -> None:
    argv = ["/mnt/c/a b.exe", "", "x y", 'say "hi"']
    assert command_line("/mnt/c/a b.exe", argv) == '"a b.exe" "" "x y" "say \\"hi\\""'


def test_the_longest_command_line() -> None:
    longest = "x" * (MAX_COMMAND_LINE - len("a ") - 1)
    assert len(command_line("/a", ["a", longest])) == MAX_COMMAND_LINE - 1
    for argument in (longest + "x", longest[:-1] + "😀"):
        with pytest.raises(ArgumentError) as caught:
            command_line("/a", ["a", argument])
        assert caught.value.number == errno.E2BIG
        assert "32768" in str(caught.value) and caught.value.hint
