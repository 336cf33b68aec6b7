"""The table of options: what a row says, and the options that say how a command is run.

This table and its continuation in commands.py are the only declaration of the command line:
the parser, --help, the completion scripts and docs/commands.md are all derived from them.
"""

from __future__ import annotations


class Option:
    """One option: all its spellings, the full one first.

    `field` is what it sets in the invocation, `kind` how its value is read (shell/values.py;
    "flag" takes none, "stop" and "exec" end the options), `value` the value's name in help texts,
    `choices` the values allowed. `ours` marks what wsl.exe has not. An `ignored` option is
    accepted for the sake of old scripts and changes nothing.
    """

    __slots__ = ("about", "choices", "field", "ignored", "kind", "names", "ours", "value")

    def __init__(
        self,
        *names: str,
        about: str,
        field: str = "",
        kind: str = "flag",
        value: str = "",
        choices: tuple[str, ...] = (),
        ours: bool = False,
        ignored: bool = False,
    ) -> None:
        self.names = names
        self.about = about
        self.field = field
        self.kind = kind
        self.value = value
        self.choices = choices
        self.ours = ours
        self.ignored = ignored

    @property
    def takes_value(self) -> bool:
        """Whether the next argument belongs to the option."""
        return bool(self.value)


RUN_OPTIONS: tuple[Option, ...] = (
    Option(
        "--distribution",
        "-d",
        field="distribution",
        kind="distribution",
        value="NAME",
        about="Run in this distribution instead of the default one.",
    ),
    Option(
        "--distribution-id",
        field="distribution",
        kind="guid",
        value="GUID",
        about="The same, by the distribution's GUID (braces and case do not matter).",
    ),
    Option(
        "--user",
        "-u",
        field="user",
        kind="text",
        value="USER",
        about="Run as this Linux user instead of the default one.",
    ),
    Option(
        "--cd",
        field="directory",
        kind="working-directory",
        value="DIR",
        about="Start in this directory: a Linux path (begins with / or ~) or an absolute "
        "Windows path.",
    ),
    Option(
        "--shell-type",
        field="shell_type",
        kind="choice",
        value="TYPE",
        choices=("standard", "login", "none"),
        about="standard: the command line goes to the user's shell. login: the same, as a login "
        "shell. none: no shell, as --exec.",
    ),
    Option(
        "--system",
        field="system",
        about="Run in the virtual machine's own system instead of a distribution.",
    ),
    Option(
        "--debug-shell",
        field="debug_shell",
        about="Open a root shell in the virtual machine, for finding faults.",
    ),
    Option(
        "--exec",
        "-e",
        kind="exec",
        about="Execute the rest as program and arguments, without a shell.",
    ),
    Option("--", kind="stop", about="End of options: the rest goes to the shell as it is."),
)

RUN_OPTION_OF: dict[str, Option] = {name: option for option in RUN_OPTIONS for name in option.names}
"""Every spelling of a run option."""

HOME = "~"
"""As the first argument: start in the user's home directory."""
