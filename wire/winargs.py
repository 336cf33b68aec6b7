r"""Command lines of Windows programs: one text, split by the program itself. Pure.

Windows passes a process its command line as it was given (GetCommandLineW), and nearly every
program splits it by the rules of CommandLineToArgvW and the C runtime:
https://learn.microsoft.com/windows/win32/api/shellapi/nf-shellapi-commandlinetoargvw
https://learn.microsoft.com/cpp/c-language/parsing-c-command-line-arguments

join_command_line() writes a line that both read back the same; split_arguments() reads as
CommandLineToArgvW does. Quoting here is not for cmd.exe, which has characters of its own.
"""

from __future__ import annotations

from wire.errors import ArgumentError

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Sequence

_BLANKS = " \t"
_QUOTED = frozenset(' \t\r\n"')
"""An argument that holds one of these is quoted (WSL's set, a superset of what must be)."""


def split_arguments(line: str) -> list[str]:
    """The arguments in `line`, which holds no program name. Empty ones ("") count.

    2n backslashes before a quote are n backslashes, one more makes the quote literal, and
    backslashes elsewhere are themselves. The quote that would close a quoted part followed at
    once by another is a literal quote *and* closes it, which is where this function of Windows
    differs from the C runtime: `"a""b"` is a"b with a quoted part still open.
    """
    arguments = []
    at = 0
    while (at := _skip_blanks(line, at)) < len(line):
        argument, at = _read_argument(line, at)
        arguments.append(argument)
    return arguments


def _skip_blanks(line: str, at: int) -> int:
    while at < len(line) and line[at] in _BLANKS:
        at += 1
    return at


def _read_argument(line: str, at: int) -> tuple[str, int]:
    """The argument that begins at `at`, and where it ends."""
    parts = []
    quotes = 0
    while at < len(line) and (quotes or line[at] not in _BLANKS):
        if line[at] not in '\\"':
            parts.append(line[at])
            at += 1
            continue
        start = at
        while at < len(line) and line[at] == "\\":
            at += 1
        backslashes = at - start
        if at == len(line) or line[at] != '"':
            parts.append("\\" * backslashes)
            continue
        parts.append("\\" * (backslashes // 2))
        at += 1
        if backslashes % 2:
            parts.append('"')
        else:
            quotes += 1
        while at < len(line) and line[at] == '"':
            at += 1
            quotes += 1
            if quotes == 3:
                parts.append('"')
                quotes = 0
        if quotes == 2:
            quotes = 0
    return "".join(parts), at


def quote_argument(argument: str) -> str:
    r"""`argument` as split_arguments() reads it back: a\b as it is, `a "b\` as "a \"b\\".

    Raises ArgumentError where it holds NUL, at which Windows would end the whole line.
    """
    if "\0" in argument:
        raise ArgumentError(argument, "holds a NUL character")
    if argument and _QUOTED.isdisjoint(argument):
        return argument
    parts = ['"']
    backslashes = 0
    for character in argument:
        if character == "\\":
            backslashes += 1
            continue
        if character == '"':
            backslashes = backslashes * 2 + 1
        parts.append("\\" * backslashes + character)
        backslashes = 0
    return "".join(parts) + "\\" * (backslashes * 2) + '"'


def quote_program(name: str) -> str:
    r"""`name` as the first word of a command line, where backslashes escape nothing.

    Quotes, which no Windows file name can hold, are left out: there is no way to write one
    there, and one that ended the word early would shift every argument. Raises ArgumentError as
    quote_argument() does.
    """
    if "\0" in name:
        raise ArgumentError(name, "holds a NUL character")
    name = name.replace('"', "")
    # CommandLineToArgvW ends an unquoted first word at any character up to the blank.
    return f'"{name}"' if not name or any(character <= " " for character in name) else name


def join_command_line(argv: Sequence[str]) -> str:
    """The command line that gives a Windows program `argv`; "" for no argv at all.

    Raises ArgumentError as quote_argument() does.
    """
    if not argv:
        return ""
    return " ".join([quote_program(argv[0]), *map(quote_argument, argv[1:])])
