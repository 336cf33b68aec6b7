"""The table of sub-commands, continuing options.py: their operands and options. Plain data."""

from __future__ import annotations

from shell.command import Command, Operand
from shell.errors import INVALID_ARGUMENT
from shell.invocations import (
    CompletionCommand,
    ExportCommand,
    HelpCommand,
    ImportCommand,
    ImportInPlaceCommand,
    InstallCommand,
    ListCommand,
    ManageCommand,
    SetDefaultCommand,
    SetDefaultVersionCommand,
    ShutdownCommand,
    StatusCommand,
    TerminateCommand,
    UnregisterCommand,
    UpdateCommand,
    VersionCommand,
)
from shell.options import Option

HELP = Option("--help", about="Explain this sub-command.", kind="help", ours=True)
"""Understood by every sub-command; wsl.exe has it only for itself."""

SHELLS = ("bash", "zsh", "fish", "powershell")
EXPORT_FORMATS = ("tar", "tar.gz", "tar.xz", "vhd")

_REGISTERED = Operand("NAME", "name", "distribution")
_VERSION = Option(
    "--version", kind="version", value="2", about="The only version is 2.", ignored=True
)
_JSON = Option("--json", field="json", about="As JSON, for scripts.", ours=True)
_PROMPT = Option("--prompt-before-exit", about="No window closes at the end.", ignored=True)

_INSTALL = Command(
    "--install",
    about="Install a distribution and start it.",
    invocation=InstallCommand,
    operands=(Operand("DISTRIBUTION", "distribution", "catalog", optional=True),),
    options=(
        Option(
            "--distribution",
            "-d",
            field="distribution",
            kind="catalog",
            value="DISTRIBUTION",
            about="The distribution to install; an older way to write the operand.",
        ),
        Option(
            "--from-file",
            "-f",
            field="from_file",
            kind="file",
            value="FILE",
            about="Install from a .wsl or tar file, or from standard input (-).",
        ),
        Option(
            "--name",
            field="name",
            kind="new-name",
            value="NAME",
            about="Register the distribution under this name.",
        ),
        Option(
            "--location",
            "-l",
            field="location",
            kind="directory",
            value="DIR",
            about="Keep the distribution's disk in this directory.",
        ),
        Option(
            "--vhd-size",
            field="disk_bytes",
            kind="size",
            value="SIZE",
            about="The largest size the disk may grow to, such as 64GB.",
        ),
        Option(
            "--fixed-vhd",
            field="fixed_disk",
            about="Take the disk's whole space from the host now; needs --vhd-size.",
        ),
        Option("--no-launch", "-n", field="no_launch", about="Do not start it afterwards."),
        Option(
            "--no-distribution",
            field="no_distribution",
            about="Only prepare the virtual machine.",
        ),
        _VERSION,
        Option("--web-download", about="There is no other source.", ignored=True),
        Option("--legacy", about="There is one kind of catalogue.", ignored=True),
        Option("--pre-release", about="Means nothing here.", ignored=True),
        Option("--enable-wsl1", kind="wsl1", about="Refused: there is no version 1."),
        _PROMPT,
    ),
    conflicts=(
        ("--no-distribution", "DISTRIBUTION"),
        ("--from-file", "DISTRIBUTION"),
        ("--no-distribution", "--from-file"),
    ),
    conflict_code=INVALID_ARGUMENT,
    needs=(("--fixed-vhd", "--vhd-size"),),
)

_IMPORT = Command(
    "--import",
    about="Register a distribution from an archive of its root file system.",
    invocation=ImportCommand,
    operands=(
        Operand("NAME", "name", "new-name"),
        Operand("DIR", "location", "directory"),
        Operand("FILE", "file", "file"),
    ),
    options=(
        Option(
            "--vhd",
            field="is_disk",
            about="FILE is a disk image with an ext4 file system: .vhdx, .vhd, .qcow2, or raw "
            "(.img, .raw, .ext4).",
        ),
        _VERSION,
    ),
    missing_code=INVALID_ARGUMENT,
)

_EXPORT = Command(
    "--export",
    about="Write a distribution to a file, or to standard output (-).",
    invocation=ExportCommand,
    operands=(_REGISTERED, Operand("FILE", "file", "file")),
    options=(
        Option(
            "--format",
            field="format",
            kind="choice",
            value="FORMAT",
            choices=EXPORT_FORMATS,
            about="tar, tar.gz, tar.xz or vhd; without it the name of FILE decides, else tar.",
        ),
        Option("--vhd", field="vhd", about="The same as --format vhd."),
    ),
)

_LIST = Command(
    "--list",
    "-l",
    about="Show the distributions.",
    invocation=ListCommand,
    options=(
        Option(
            "--all", field="all", about="Also those that are being installed, moved or removed."
        ),
        Option("--running", field="running", about="Only those that run."),
        Option("--quiet", "-q", field="quiet", about="Names only."),
        Option("--verbose", "-v", field="verbose", about="With state and version."),
        Option(
            "--online",
            "-o",
            field="online",
            about="Those that can be installed with --install.",
        ),
        _JSON,
    ),
    conflicts=(
        ("--quiet", "--verbose"),
        ("--all", "--running"),
        ("--online", "--verbose"),
        ("--online", "--all"),
        ("--json", "--quiet"),
        ("--json", "--verbose"),
    ),
)

_MANAGE = Command(
    "--manage",
    about="Change one thing about a distribution.",
    invocation=ManageCommand,
    operands=(_REGISTERED,),
    options=(
        Option(
            "--move",
            "-m",
            field="move",
            kind="directory",
            value="DIR",
            about="Move its disk to this directory.",
        ),
        Option(
            "--set-sparse",
            "-s",
            field="sparse",
            kind="boolean",
            value="BOOLEAN",
            choices=("true", "false"),
            about="Whether space that Linux frees goes back to the host, from the next start on.",
        ),
        Option(
            "--set-default-user",
            field="default_user",
            kind="text",
            value="USER",
            about="Run commands as this Linux user from now on.",
        ),
        Option(
            "--resize",
            "-r",
            field="resize_bytes",
            kind="size",
            value="SIZE",
            about="Give its disk this size, such as 64GB.",
        ),
        Option("--allow-unsafe", field="allow_unsafe", about="With --set-sparse true."),
    ),
    one_of=("--move", "--set-sparse", "--set-default-user", "--resize"),
    needs=(("--allow-unsafe", "--set-sparse"),),
)

COMMANDS: tuple[Command, ...] = (
    _INSTALL,
    _LIST,
    Command(
        "--status",
        about="Show what runs, and on what.",
        invocation=StatusCommand,
        options=(_JSON,),
    ),
    Command("--version", "-v", about="Show versions.", invocation=VersionCommand),
    Command(
        "--help",
        about="Explain the command line, or one sub-command.",
        invocation=HelpCommand,
        operands=(Operand("COMMAND", "topic", "topic", optional=True),),
    ),
    Command(
        "--terminate",
        "-t",
        about="Stop a distribution.",
        invocation=TerminateCommand,
        operands=(_REGISTERED,),
        missing_code="",
    ),
    Command(
        "--shutdown",
        about="Stop all distributions and the virtual machine.",
        invocation=ShutdownCommand,
        options=(Option("--force", field="force", about="Do not wait for programs to end."),),
    ),
    Command(
        "--set-default",
        "-s",
        "--setdefault",
        about="Make a distribution the default one.",
        invocation=SetDefaultCommand,
        operands=(_REGISTERED,),
        missing_code="",
    ),
    _IMPORT,
    Command(
        "--import-in-place",
        about="Register a distribution with a disk image (ext4) that stays where it is.",
        invocation=ImportInPlaceCommand,
        operands=(Operand("NAME", "name", "new-name"), Operand("FILE", "file", "file")),
    ),
    _EXPORT,
    _MANAGE,
    Command(
        "--unregister",
        about="Delete a distribution and everything in it.",
        invocation=UnregisterCommand,
        operands=(_REGISTERED,),
        missing_code="",
    ),
    Command(
        "--update",
        about="Move to the newest kernel and system image.",
        invocation=UpdateCommand,
        options=(
            Option("--pre-release", field="pre_release", about="Also those still in testing."),
            Option("--web-download", about="There is no other source.", ignored=True),
            Option("--confirm", about="Nothing is asked.", ignored=True),
            _PROMPT,
        ),
    ),
    Command(
        "--set-default-version",
        about="Accepted for 2, the only version there is.",
        invocation=SetDefaultVersionCommand,
        operands=(Operand("VERSION", "", "version"),),
        missing_code="",
    ),
    Command(
        "--completion",
        about="Print the completion script for a shell.",
        invocation=CompletionCommand,
        operands=(Operand("SHELL", "shell", "choice", choices=SHELLS),),
        ours=True,
    ),
    Command(
        "--mount",
        about="Attach a disk of the host.",
        not_yet="Disks of the host cannot be attached.",
    ),
    Command(
        "--unmount",
        about="Detach a disk of the host.",
        not_yet="Disks of the host cannot be attached, so none needs detaching.",
    ),
    Command(
        "--set-version",
        about="Convert a distribution between versions.",
        not_yet="Every distribution has version 2.",
    ),
    Command(
        "--uninstall",
        about="Remove the program.",
        not_yet="Remove the package with the tool that installed it (pipx, uv, pip).",
    ),
)

COMMAND_OF: dict[str, Command] = {name: command for command in COMMANDS for name in command.names}
"""Every spelling of a sub-command."""
