"""The two lexers: words of a POSIX shell, and the raw line of Windows."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shell.posix_line import PosixLine, join_words, quote_word
from shell.windows_line import (
    WindowsLine,
    replace_lone_surrogates,
    split_program,
    strip_program,
)
from wire.winargs import split_arguments

relaxed = settings(deadline=None)

SPLITS = [
    ("", []),
    ("  \t ", []),
    ("a b", ["a", "b"]),
    (" a\t b ", ["a", "b"]),
    ('""', [""]),
    ('a "" b', ["a", "", "b"]),
    ('"" ""', ["", ""]),
    ('"a b" c', ["a b", "c"]),
    ('a"b c"d', ["ab cd"]),
    ('"ab"c', ["abc"]),
    (r"a\b", [r"a\b"]),
    (r"a\\b", [r"a\\b"]),
    ("a\\", ["a\\"]),
    (r"\"a\"", ['"a"']),
    (r'"a\"b"', ['a"b']),
    (r'"C:\dir\\" x', ["C:\\dir\\", "x"]),
    (r"a\\\"b", [r"a\"b"]),
    (r'"a\\" b', ["a\\", "b"]),
    ('"unclosed b', ["unclosed b"]),
    ("a\nb", ["a\nb"]),
    ('echo -n "a""b"', ["echo", "-n", 'a"b']),
    ('"a""b" c', ['a"b c']),
    ('"""a"""  b', ['"a"', "b"]),
    ('"a b"" c', ['a b"', "c"]),
    ('""""', ['"']),
]


@pytest.mark.parametrize(("line", "arguments"), SPLITS)
def test_arguments_are_split_as_windows_does(line: str, arguments: list[str]) -> None:
    assert split_arguments(line) == arguments


if sys.platform == "win32":

    @pytest.mark.parametrize("line", [line for line, _ in SPLITS])
    def test_windows_itself_agrees(line: str) -> None:
        import ctypes

        split = ctypes.windll.shell32.CommandLineToArgvW
        split.restype = ctypes.POINTER(ctypes.c_wchar_p)
        count = ctypes.c_int()
        found = split(f"x {line}", ctypes.byref(count))
        assert [found[at] for at in range(1, count.value)] == split_arguments(line)


# A carriage return or a form feed needs no quotes on Windows: only blank and tab separate.
@relaxed
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_quoted_arguments_come_back(arguments: list[str]) -> None:
    assert split_arguments(subprocess.list2cmdline(arguments)) == arguments


@relaxed
@given(st.lists(st.text('ab \t\\"', max_size=6), max_size=5))
def test_quoted_arguments_come_back_from_backslashes_and_quotes(arguments: list[str]) -> None:
    assert split_arguments(subprocess.list2cmdline(arguments)) == arguments


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ("", []),
        (" \t", []),
        ("true", ["true"]),
        ("echo  -n\tx", ["echo", "-n", "x"]),
        ('"/opt/a b/c" d', ["/opt/a b/c", "d"]),
        ('"a\\" b', ["a\\", "b"]),  # no escapes in a program's name
        ('a"b c', ['a"b', "c"]),
        ('"" x', ["", "x"]),
        ('"a b', ["a b"]),
        ('"a"b', ["a", "b"]),
        ('echo ""', ["echo", ""]),
    ],
)
def test_first_word_of_exec_is_a_program(line: str, argv: list[str]) -> None:
    assert split_program(line) == argv


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("isthmus", ""),
        ("isthmus  a b ", "a b "),
        ('"C:\\Program Files\\isthmus.exe" -l', "-l"),
        ('C:\\"Program Files"\\isthmus.exe -l', "-l"),
        ('"C:\\unclosed name -l', ""),
        ('"x""y z" -l', "-l"),
        ("isthmus\t-l", "-l"),
        ("", ""),
    ],
)
def test_program_name_is_stripped(line: str, rest: str) -> None:
    assert strip_program(line) == rest


def test_words_before_the_users_are_stripped() -> None:
    line = WindowsLine('python.exe "C:\\a b\\isthmus.exe"  echo  "a b"', programs=2)
    assert line.shell_line() == 'echo  "a b"'


def test_tokens_ignore_quotes_but_where_asked() -> None:
    line = WindowsLine('x "a b" "c d"rest')
    assert line.peek() == '"a'
    assert line.take_value() == '"a'
    assert line.take_value(quotes=True) == 'b"'
    assert line.take_value(quotes=True) == "c d"
    assert line.peek() == "rest"


def test_unclosed_quote_of_a_value_ends_at_a_blank() -> None:
    line = WindowsLine('x "a b')
    assert line.take_value(quotes=True) == '"a'
    assert line.shell_line() == "b"


def test_end_of_a_windows_line() -> None:
    line = WindowsLine("x a")
    line.advance()
    assert (line.peek(), line.take_value(), line.shell_line()) == (None, None, None)
    assert (line.program(), line.arguments()) == ([], [])


def test_lone_surrogates_are_replaced() -> None:
    assert replace_lone_surrogates("a\ud800b") == "a\ufffdb"
    assert replace_lone_surrogates("a\U0001f600\u00e9") == "a\U0001f600\u00e9"
    assert WindowsLine("x \udc80").shell_line() == "\ufffd"


def test_end_of_a_posix_line() -> None:
    line = PosixLine(["a"])
    line.advance()
    assert (line.peek(), line.take_value(), line.shell_line()) == (None, None, None)


def test_a_single_word_is_the_line_itself() -> None:
    assert join_words(["echo $HOME | wc"]) == "echo $HOME | wc"
    assert join_words([""]) == ""


def test_words_are_quoted_only_where_needed() -> None:
    assert join_words(["sh", "-c", "uname -a; cat x"]) == "sh -c 'uname -a; cat x'"
    assert join_words(["echo", "$HOME", "*.c", "a?", "[ab]", "~", "{}"]) == (
        "echo $HOME *.c a? [ab] ~ {}"
    )
    assert join_words(["a", ""]) == "a ''"
    assert join_words(["it's", "b"]) == "'it'\"'\"'s' b"


@pytest.mark.parametrize("character", " \t\n\r'\"\\`;&|<>()#!")
def test_what_breaks_a_word_is_quoted(character: str) -> None:
    assert quote_word(f"a{character}b") != f"a{character}b"


if sys.platform != "win32":
    EXPANDING = b"$*?[~{"
    words = st.binary(max_size=8).filter(lambda word: not set(word) & {0, *EXPANDING})

    @settings(deadline=None, max_examples=50)
    @given(st.lists(words, min_size=1, max_size=4), st.sampled_from(["sh", "bash"]))
    def test_a_real_shell_sees_the_words(arguments: list[bytes], shell: str) -> None:
        line = join_words(["printf", "%s\\0", *map(os.fsdecode, arguments)])
        output = subprocess.run(
            [shell, "-c", os.fsencode(line)], check=True, stdout=subprocess.PIPE, timeout=60
        ).stdout
        assert output.split(b"\0")[:-1] == arguments

    def test_a_real_shell_expands() -> None:
        line = join_words(["printf", "%s\\n", "$WORD", "{a,b}", "two words"])
        output = subprocess.run(
            ["bash", "-c", line],
            check=True,
            stdout=subprocess.PIPE,
            timeout=60,
            env={**os.environ, "WORD": "value"},
        ).stdout
        assert output.decode().split("\n") == ["value", "a", "b", "two words", ""]
