"""The parser of sub-commands, driven by the table in commands.py. Pure.

wsl.exe's rules: operands may stand anywhere among the options; `--` ends the options; short
options that take no value may be joined (`-qv`); a lone `-` is an operand; the argument after an
option that takes a value is its value, whatever it looks like.

Stricter than wsl.exe in one thing: what it would silently ignore (run options before a
sub-command, operands too many, an option given twice with different values) is refused, because
`-d X --shutdown` stops more than the user may have thought.
"""

from __future__ import annotations

from shell.command import Command, Operand
from shell.commands import COMMAND_OF, COMMANDS, HELP
from shell.errors import INVALID_ARGUMENT, WSL1_NOT_SUPPORTED, NotYetError, UsageError
from shell.invocations import HelpCommand, Invocation
from shell.options import RUN_OPTION_OF, Option
from shell.values import read_value
from wire.failures import UNSUPPORTED

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from shell.grammar import Line

DISK_SUFFIXES = (".vhd", ".vhdx", ".qcow2")


def parse_subcommand(line: Line, given: list[str]) -> Invocation:
    """What the sub-command that `line` stands before asks for. Raises UsageError.

    `given` are the run options and the like that came before it.
    """
    token = line.peek() or ""
    command = COMMAND_OF.get(token)
    if command is None:
        raise _unknown_run_option(token)
    line.advance()
    arguments = line.arguments()
    if command.name == "--help":
        return HelpCommand(topic=_topic(arguments))
    reading = _Reading(command)
    if command.not_yet:
        if HELP.names[0] in arguments:
            return HelpCommand(topic=command.name)
        raise NotYetError(
            f"{command.name} is not supported yet.", command.not_yet, code=UNSUPPORTED
        )
    if not reading.read(arguments):
        return HelpCommand(topic=command.name)
    if given:
        raise UsageError(
            f"{token} cannot be combined with {given[0]}.", _see(command), topic=command.name
        )
    reading.check()
    return _FINISH.get(command.name, _finish)(reading)


def _topic(arguments: list[str]) -> str:
    """The sub-command that `--help` shall explain; "" for all. wsl.exe ignores what follows."""
    for argument in arguments:
        command = COMMAND_OF.get(argument) or COMMAND_OF.get("--" + argument)
        if command is not None:
            return command.name
    return ""


def _see(command: Command) -> str:
    return f"See `isthmus {command.name} --help`."


class _Reading:
    """The arguments of one sub-command while they are read.

    `values` are the invocation's fields; `seen` maps the full name of each option, and the
    value's name of each operand, to how the user wrote it.
    """

    def __init__(self, command: Command) -> None:
        self.command = command
        self.values: dict[str, Any] = {}
        self.seen: dict[str, str] = {}
        self._options = {name: option for option in command.options for name in option.names}
        self._operands_read = 0

    def read(self, arguments: list[str]) -> bool:
        """Take all arguments; False as soon as --help is asked. Raises UsageError."""
        pending = iter(arguments)
        for argument in pending:
            if argument == "--":
                break
            if argument == "-" or argument[:1] != "-":
                self._operand(argument)
            elif argument in HELP.names:
                return False
            elif (option := self._options.get(argument)) is not None:
                self._option(option, argument, pending)
            else:
                self._group(argument)
        for argument in pending:
            self._operand(argument)
        return True

    def check(self) -> None:
        """Hold what was read against the table's rules. Raises UsageError."""
        command = self.command
        for operand in command.operands[self._operands_read :]:
            if not operand.optional:
                raise self._error(
                    f"{command.name} requires {operand.value}.", code=command.missing_code
                )
        for left, right in command.conflicts:
            if left in self.seen and right in self.seen:
                raise self._error(
                    f"{self.seen[left]} and {self.seen[right]} are not valid together.",
                    code=command.conflict_code,
                )
        for option, other in command.needs:
            if option in self.seen and other not in self.seen:
                raise self._error(
                    f"{self.seen[option]} is only valid with {other}.", code=INVALID_ARGUMENT
                )
        if command.one_of and len(self.seen.keys() & set(command.one_of)) != 1:
            raise self._error(
                f"{command.name} requires exactly one of {', '.join(command.one_of)}.",
                code=command.missing_code,
            )

    def _operand(self, argument: str) -> None:
        operands = self.command.operands
        if self._operands_read == len(operands):
            raise self._error(f"Invalid command line argument: {argument}", code=INVALID_ARGUMENT)
        operand = operands[self._operands_read]
        self._operands_read += 1
        self._set(operand, argument, operand.value)

    def _option(self, option: Option, name: str, pending: Iterable[str]) -> None:
        if not option.takes_value:
            self._flag(option, name)
            return
        for value in pending:
            self._set(option, value, name)
            return
        raise self._error(
            f"Command line argument {name} requires a value: {option.value}.",
            code=INVALID_ARGUMENT,
        )

    def _flag(self, option: Option, name: str) -> None:
        if option.kind == "wsl1":
            raise NotYetError(
                "Isthmus runs every distribution in a virtual machine: there is no version 1.",
                f"Leave {name} out.",
                code=WSL1_NOT_SUPPORTED,
            )
        self.seen[option.names[0]] = name
        if option.field:
            self.values[option.field] = True

    def _group(self, argument: str) -> None:
        """Joined short options, or an error."""
        options = [self._options.get("-" + letter) for letter in argument[1:]]
        if argument[1] == "-" or len(options) < 2 or None in options:
            raise _with_suggestion(
                self._error(f"Invalid command line argument: {argument}", code=INVALID_ARGUMENT),
                argument,
                self._options,
            )
        for letter, option in zip(argument[1:], options, strict=True):
            assert option is not None
            if option.takes_value:
                raise self._error(
                    f"-{letter} requires a value and cannot be joined: {argument}",
                    code=INVALID_ARGUMENT,
                )
            self._flag(option, "-" + letter)

    def _set(self, row: Option | Operand, text: str, name: str) -> None:
        """Read `text` as the value of `row`, which the user knows as `name`."""
        kind, choices = row.kind, row.choices
        value = read_value(kind, text, name, choices)
        key = row.names[0] if isinstance(row, Option) else row.value
        if row.field:
            for operand in self.command.operands:
                if operand.field == row.field:
                    key = operand.value
            if self.values.get(row.field, value) != value:
                raise self._error(
                    f"{name} is given twice, with different values.", code=INVALID_ARGUMENT
                )
            self.values[row.field] = value
        self.seen[key] = name

    def _error(self, message: str, *, code: str) -> UsageError:
        command = self.command
        return UsageError(message, _see(command), code=code, topic=command.name)


def _finish(reading: _Reading) -> Invocation:
    return reading.command.invocation(**reading.values)


def _finish_import(reading: _Reading) -> Invocation:
    file = reading.values["file"]
    if not reading.values.get("is_disk") and file.lower().endswith(DISK_SUFFIXES):
        raise UsageError(
            f"{file} looks like a disk image, not an archive.",
            "Add --vhd to import a disk image.",
            topic="--import",
        )
    return _finish(reading)


def _finish_export(reading: _Reading) -> Invocation:
    if reading.values.pop("vhd", False):
        if reading.values.get("format", "vhd") != "vhd":
            raise UsageError(
                "--vhd and another --format are not valid together.",
                _see(reading.command),
                code=reading.command.conflict_code,
                topic="--export",
            )
        reading.values["format"] = "vhd"
    return _finish(reading)


def _finish_manage(reading: _Reading) -> Invocation:
    (chosen,) = reading.seen.keys() & set(reading.command.one_of)
    reading.values["action"] = chosen.removeprefix("--")
    return _finish(reading)


_FINISH: dict[str, Callable[[_Reading], Invocation]] = {
    "--import": _finish_import,
    "--export": _finish_export,
    "--manage": _finish_manage,
}
"""Sub-commands whose fields need more than the table says."""


def _unknown_run_option(token: str) -> UsageError:
    """The error for `token`, which begins with a dash and is in no table."""
    error = UsageError(f"Invalid command line argument: {token}", "See `isthmus --help`.")
    short = COMMAND_OF.get(token[:2])
    if token[:2] != "--" and short is not None:
        error.hint = f"Write {token[:2]} and its own options apart: {token[:2]} -{token[2:]}."
        return error
    known = [*RUN_OPTION_OF, *(name for command in COMMANDS for name in command.names)]
    return _with_suggestion(error, token, known)


def _with_suggestion(error: UsageError, token: str, known: Iterable[str]) -> UsageError:
    """`error` with a better hint, if `token` resembles something `known`."""
    from difflib import get_close_matches

    names = set(known)
    name, equals, _ = token.partition("=")
    if equals and name in names:
        error.hint = f"Write the value as an argument of its own, after {name} and a blank."
    elif close := get_close_matches(token[:80], names, n=1):
        error.hint = f"Did you mean {close[0]}? {error.hint}"
    return error
