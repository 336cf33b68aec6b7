"""From a command line to what it asks for, with wsl.exe's grammar (docs/commands.md). Pure.

This module reads the part that every command passes through: an optional GUID, an optional "~",
options up to the first word that is none, and the Linux command. Sub-commands have their own
parser, subcommands.py, which plain commands never import: start-up time is what a user feels.
"""

from __future__ import annotations

from shell.errors import INVALID_ARGUMENT, UsageError
from shell.invocations import RunCommand
from shell.options import HOME, RUN_OPTION_OF

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from shell.invocations import Invocation
    from shell.options import Option
    from shell.posix_line import PosixLine
    from shell.windows_line import WindowsLine

    Line = PosixLine | WindowsLine

GUID_LENGTHS = (36, 38)
"""Of a GUID as text, without and with braces."""


def parse_posix(words: Sequence[str]) -> Invocation:
    """What `words` (argv without the program) ask for. Raises UsageError, and nothing else."""
    from shell.posix_line import PosixLine

    return _parse(PosixLine(words))


def parse_windows(line: str, programs: int = 1) -> Invocation:
    """What the raw command line `line` asks for. Raises UsageError, and nothing else.

    `programs` counts the words at its start that are not the user's: 1 for isthmus.exe itself,
    one more for each of an interpreter and a script where a launcher has put them in front.
    """
    from shell.windows_line import WindowsLine

    return _parse(WindowsLine(line, programs))


def _parse(line: Line) -> Invocation:
    values: dict[str, Any] = {}
    given = _read_leading(line, values)
    execute = False
    while (token := line.peek()) is not None and token[:1] == "-":
        option = RUN_OPTION_OF.get(token)
        if option is None:
            from shell.subcommands import parse_subcommand

            return parse_subcommand(line, given)
        line.advance()
        if option.kind == "stop":
            break
        if option.kind == "exec":
            execute = True
            break
        given.append(token)
        values[option.field] = _option_value(option, token, line, values)
    if "debug_shell" in values:
        return _debug_shell(line, given)
    return _run_command(line, values, execute=execute)


def _read_leading(line: Line, values: dict[str, Any]) -> list[str]:
    """Take a bare GUID and a "~" from the start; returns what was taken."""
    given = []
    token = line.peek()
    if token is not None and len(token) in GUID_LENGTHS:
        from shell.values import find_guid

        if guid := find_guid(token):
            values["distribution"] = guid
            given.append(token)
            line.advance()
            token = line.peek()
    if token == HOME:
        values["directory"] = HOME
        given.append(token)
        line.advance()
    return given


def _option_value(option: Option, token: str, line: Line, values: dict[str, Any]) -> Any:
    """The value of `option`, just read as `token`; the line is then past it."""
    if not option.takes_value:
        return True
    if option.field == "distribution" and option.field in values:
        raise UsageError(f"{token}: the distribution has already been set.")
    quotes = option.kind == "working-directory"
    value = line.take_value(quotes=quotes)
    if value is None or not (value or quotes):
        raise UsageError(
            f"{token} requires a value: {token} {option.value}.", "See `isthmus --help`."
        )
    if option.kind in ("text", "distribution"):
        return value
    from shell.values import read_value

    return read_value(option.kind, value, token, option.choices)


def _debug_shell(line: Line, given: list[str]) -> RunCommand:
    """`--debug-shell`, which goes with nothing else."""
    if line.peek() is not None or len(given) > 1:
        raise UsageError(
            "--debug-shell takes no command and no other option.",
            "`isthmus --system COMMAND` runs a command in the virtual machine.",
            code=INVALID_ARGUMENT,
        )
    return RunCommand(debug_shell=True, system=True, login=True)


def _run_command(line: Line, values: dict[str, Any], *, execute: bool) -> RunCommand:
    """What is to be run: the rest of `line`, by `--exec` or the shell type in `values`."""
    directory = values.pop("directory", "")
    if directory:
        from shell.values import is_linux_directory

        values["directory" if is_linux_directory(directory) else "host_directory"] = directory
    shell_type = values.pop("shell_type", "")
    if execute or shell_type == "none":
        argv = tuple(line.program())
        if not argv:
            raise UsageError(
                "There is no command to execute.",
                "Without --exec, `isthmus` alone starts a shell.",
                code=INVALID_ARGUMENT,
            )
        return RunCommand(argv=argv, **values)
    rest = line.shell_line()
    login = shell_type == "login" or (rest is None and not shell_type)
    return RunCommand(line=rest, login=login, **values)
