"""--help: the tables of options.py and commands.py as plain text, 80 columns wide. Pure."""

from __future__ import annotations

import textwrap

from shell.commands import COMMAND_OF, COMMANDS, HELP
from shell.options import RUN_OPTIONS

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shell.command import Command
    from shell.options import Option

PROGRAM = "isthmus"
WIDTH = 80

RUN_SYNOPSES = (
    f"{PROGRAM} [~] [OPTION...] [--] [COMMAND LINE]",
    f"{PROGRAM} [~] [OPTION...] --exec PROGRAM [ARGUMENT...]",
    f"{PROGRAM} SUB-COMMAND [ARGUMENT...]",
)
_OPENING = (
    "Without a command line, the default distribution's shell starts. A command line goes to "
    "that shell, in Linux; what follows --exec does not. ~ as the first argument starts in the "
    f"home directory. `lx` is {PROGRAM} in short."
)
_CLOSING = f"`{PROGRAM} SUB-COMMAND --help` explains one of them."


def usage(topic: str = "") -> str:
    """The help for a sub-command by its full name, or for the whole command line."""
    return _command_help(COMMAND_OF[topic]) if topic else _overview()


def synopsis(topic: str) -> str:
    """One line: how the sub-command `topic` is written."""
    command = COMMAND_OF[topic]
    parts = [PROGRAM, command.name]
    for operand in command.operands:
        value = "|".join(operand.choices) or operand.value
        parts.append(f"[{value}]" if operand.optional else value)
    if any(not option.ignored for option in command.options):
        parts.append("[OPTION...]")
    return " ".join(parts)


def spelling(names: Sequence[str], value: str = "") -> str:
    """All spellings of an option, and its value's name: "--user, -u USER"."""
    return ", ".join(names) + (f" {value}" if value else "")


def _overview() -> str:
    commands = [command for command in COMMANDS if not command.not_yet]
    missing = [command.name for command in COMMANDS if command.not_yet]
    return "\n".join(
        [
            *_synopses(RUN_SYNOPSES),
            "",
            *_wrap(_OPENING),
            "",
            "Options for running commands:",
            *_options(RUN_OPTIONS),
            "",
            "Sub-commands:",
            *_rows((_command_head(command), command.about) for command in commands),
            "",
            *_wrap(f"Not supported yet: {', '.join(missing)}."),
            "",
            *_wrap(_CLOSING),
            "",
        ]
    )


def _command_help(command: Command) -> str:
    lines = [*_synopses([synopsis(command.name)]), "", *_wrap(command.about)]
    if command.not_yet:
        lines += ["", *_wrap(f"Not supported yet. {command.not_yet}")]
    if len(command.names) > 1:
        lines += ["", f"Also written {' or '.join(command.names[1:])}."]
    shown = [option for option in command.options if not option.ignored]
    ignored = [option.names[0] for option in command.options if option.ignored]
    lines += ["", "Options:", *_options([*shown, HELP])]
    if ignored:
        lines += ["", *_wrap(f"Accepted, and without effect: {', '.join(ignored)}.")]
    return "\n".join([*lines, ""])


def _command_head(command: Command) -> str:
    values = [f"[{item.value}]" if item.optional else item.value for item in command.operands]
    return spelling(command.names, " ".join(values))


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _synopses(lines: Sequence[str]) -> list[str]:
    return [("Usage: " if at == 0 else "       ") + line for at, line in enumerate(lines)]


def _options(options: Iterable[Option]) -> list[str]:
    return _rows((spelling(option.names, option.value), option.about) for option in options)


def _rows(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Each head on a line of its own, what it means indented below."""
    lines = []
    for head, about in pairs:
        lines.append("  " + head)
        lines += _wrap(about, " " * 8)
    return lines
