"""The sub-parser: every sub-command of the table."""

from __future__ import annotations

import pytest

from shell.commands import COMMAND_OF, COMMANDS
from shell.errors import (
    INVALID_ARGUMENT,
    INVALID_USAGE,
    VERSION_PARSE_ERROR,
    WSL1_NOT_SUPPORTED,
    NotYetError,
    UsageError,
)
from shell.grammar import parse_posix, parse_windows
from shell.invocations import (
    CompletionCommand,
    ExportCommand,
    HelpCommand,
    ImportCommand,
    ImportInPlaceCommand,
    InstallCommand,
    Invocation,
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
from wire.failures import UNSUPPORTED

GIB = 1024**3

UNDERSTOOD: list[tuple[str, Invocation]] = [
    ("--install", InstallCommand()),
    ("--install Debian", InstallCommand(distribution="Debian")),
    ("--install -d Debian", InstallCommand(distribution="Debian")),
    ("--install --distribution Debian -n", InstallCommand(distribution="Debian", no_launch=True)),
    ("--install Debian -d Debian", InstallCommand(distribution="Debian")),
    ("--install --no-launch Debian", InstallCommand(distribution="Debian", no_launch=True)),
    ("--install --no-distribution", InstallCommand(no_distribution=True)),
    ("--install -f x.wsl", InstallCommand(from_file="x.wsl")),
    ("--install --from-file - --name X", InstallCommand(from_file="-", name="X")),
    ("--install D -l dir", InstallCommand(distribution="D", location="dir")),
    ("--install D --location -odd", InstallCommand(distribution="D", location="-odd")),
    ("--install D --vhd-size 10GB", InstallCommand(distribution="D", disk_bytes=10 * GIB)),
    (
        "--install D --vhd-size 1T --fixed-vhd",
        InstallCommand(distribution="D", disk_bytes=1024 * GIB, fixed_disk=True),
    ),
    ("--install D --version 2 --web-download --legacy", InstallCommand(distribution="D")),
    ("--install --pre-release --prompt-before-exit", InstallCommand()),
    ("--import N dir x.tar", ImportCommand(name="N", location="dir", file="x.tar")),
    ("--import N dir -", ImportCommand(name="N", location="dir", file="-")),
    ("--import --version 2 N dir -", ImportCommand(name="N", location="dir", file="-")),
    (
        "--import N --vhd dir x.vhdx",
        ImportCommand(name="N", location="dir", file="x.vhdx", is_disk=True),
    ),
    ("--import N dir -- -x", ImportCommand(name="N", location="dir", file="-x")),
    ("--import-in-place N x.vhdx", ImportInPlaceCommand(name="N", file="x.vhdx")),
    ("--export N x.tar", ExportCommand(name="N", file="x.tar")),
    ("--export N -", ExportCommand(name="N", file="-")),
    ("--export N - --format tar.gz", ExportCommand(name="N", file="-", format="tar.gz")),
    ("--export --format tar.xz N -", ExportCommand(name="N", file="-", format="tar.xz")),
    ("--export N x --vhd", ExportCommand(name="N", file="x", format="vhd")),
    ("--export N x --vhd --format vhd", ExportCommand(name="N", file="x", format="vhd")),
    ("--list", ListCommand()),
    ("-l -v", ListCommand(verbose=True)),
    ("--list --verbose --running", ListCommand(verbose=True, running=True)),
    ("--list -q --all", ListCommand(quiet=True, all=True)),
    ("--list -qo", ListCommand(quiet=True, online=True)),
    ("-l -oq", ListCommand(quiet=True, online=True)),
    ("--list --online --json", ListCommand(online=True, json=True)),
    ("--manage N --move dir", ManageCommand(name="N", action="move", move="dir")),
    ("--manage -m dir N", ManageCommand(name="N", action="move", move="dir")),
    (
        "--manage N -s TRUE --allow-unsafe",
        ManageCommand(name="N", action="set-sparse", sparse=True, allow_unsafe=True),
    ),
    ("--manage N --set-sparse 0", ManageCommand(name="N", action="set-sparse", sparse=False)),
    (
        "--manage N --set-default-user me",
        ManageCommand(name="N", action="set-default-user", default_user="me"),
    ),
    ("--manage N -r 64G", ManageCommand(name="N", action="resize", resize_bytes=64 * GIB)),
    ("--terminate N", TerminateCommand(name="N")),
    ("-t N", TerminateCommand(name="N")),
    ("--unregister N", UnregisterCommand(name="N")),
    ("--set-default N", SetDefaultCommand(name="N")),
    ("-s N", SetDefaultCommand(name="N")),
    ("--setdefault N", SetDefaultCommand(name="N")),
    ("--set-default-version 2", SetDefaultVersionCommand()),
    ("--shutdown", ShutdownCommand()),
    ("--shutdown --force", ShutdownCommand(force=True)),
    ("--status", StatusCommand()),
    ("--status --json", StatusCommand(json=True)),
    ("--version", VersionCommand()),
    ("-v", VersionCommand()),
    ("--update", UpdateCommand()),
    ("--update --pre-release", UpdateCommand(pre_release=True)),
    ("--update --web-download --confirm --prompt-before-exit", UpdateCommand()),
    ("--completion bash", CompletionCommand(shell="bash")),
    ("--help", HelpCommand()),
    ("--help --list", HelpCommand(topic="--list")),
    ("--help install", HelpCommand(topic="--install")),
    ("--help -t", HelpCommand(topic="--terminate")),
    ("--help whatever", HelpCommand()),
]


@pytest.mark.parametrize(("line", "expected"), UNDERSTOOD)
def test_understood_on_both_hosts(line: str, expected: Invocation) -> None:
    assert parse_posix(line.split()) == expected
    assert parse_windows(f"isthmus.exe {line}") == expected


def test_every_sub_command_is_covered() -> None:
    covered = {COMMAND_OF[line.split()[0]].name for line, _ in UNDERSTOOD}
    assert covered == {command.name for command in COMMANDS if not command.not_yet}


def test_windows_operands_lose_their_quotes() -> None:
    assert parse_windows('x --import "N" "C:\\a b" -') == ImportCommand(
        name="N", location="C:\\a b", file="-"
    )
    assert parse_windows('x --terminate "N"') == TerminateCommand(name="N")


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        # missing operands
        ("--terminate", "", "--terminate requires NAME"),
        ("--unregister", "", "--unregister requires NAME"),
        ("--set-default", "", "--set-default requires NAME"),
        ("-s", "", "--set-default requires NAME"),
        ("--set-default-version", "", "requires VERSION"),
        ("--completion", INVALID_USAGE, "requires SHELL"),
        ("--import N dir", INVALID_ARGUMENT, "requires FILE"),
        ("--import", INVALID_ARGUMENT, "requires NAME"),
        ("--import-in-place N", INVALID_USAGE, "requires FILE"),
        ("--export N", INVALID_USAGE, "requires FILE"),
        ("--manage --move x", INVALID_USAGE, "requires NAME"),
        # exactly one
        ("--manage N", INVALID_USAGE, "exactly one of --move"),
        ("--manage N --move x --resize 1G", INVALID_USAGE, "exactly one of"),
        ("--manage N --allow-unsafe", INVALID_ARGUMENT, "only valid with --set-sparse"),
        # missing values
        ("--install --name", INVALID_ARGUMENT, "--name requires a value: NAME"),
        ("--export N - --format", INVALID_ARGUMENT, "--format requires a value"),
        ("--manage N -m", INVALID_ARGUMENT, "-m requires a value"),
        # too many operands, unknown options
        ("--terminate N M", INVALID_ARGUMENT, "argument: M"),
        ("--shutdown now", INVALID_ARGUMENT, "argument: now"),
        ("--version x", INVALID_ARGUMENT, "argument: x"),
        ("--list --bogus", INVALID_ARGUMENT, "argument: --bogus"),
        ("--list -x", INVALID_ARGUMENT, "argument: -x"),
        ("--list -qx", INVALID_ARGUMENT, "argument: -qx"),
        ("--list -d", INVALID_ARGUMENT, "argument: -d"),
        ("--list -- -q", INVALID_ARGUMENT, "argument: -q"),
        ("--list -", INVALID_ARGUMENT, "argument: -"),
        ("--install -nd Debian", INVALID_ARGUMENT, "-d requires a value and cannot be joined"),
        # conflicts
        ("--list -qv", INVALID_USAGE, "-q and -v are not valid together"),
        ("--list --quiet --verbose", INVALID_USAGE, "--quiet and --verbose"),
        ("--list --all --running", INVALID_USAGE, "--all and --running"),
        ("--list -o -v", INVALID_USAGE, "-o and -v"),
        ("--list --online --all", INVALID_USAGE, "--online and --all"),
        ("--list --json -q", INVALID_USAGE, "--json and -q"),
        ("--install --no-distribution Debian", INVALID_ARGUMENT, "not valid together"),
        ("--install --no-distribution -d Debian", INVALID_ARGUMENT, "not valid together"),
        ("--install -f x.tar Debian", INVALID_ARGUMENT, "not valid together"),
        ("--install -f x.tar -d Debian", INVALID_ARGUMENT, "-f and -d"),
        ("--install D --fixed-vhd", INVALID_ARGUMENT, "only valid with --vhd-size"),
        ("--install D -d E", INVALID_ARGUMENT, "given twice"),
        ("--install D --name a --name b", INVALID_ARGUMENT, "given twice"),
        ("--export N x --vhd --format tar.gz", INVALID_USAGE, "--vhd and another --format"),
        # values
        ("--export N x --format zip", INVALID_ARGUMENT, "'zip' is not one of"),
        ("--completion tcsh", INVALID_ARGUMENT, "'tcsh' is not one of"),
        ("--manage N -s maybe", INVALID_ARGUMENT, "'maybe' is not a valid boolean"),
        ("--manage N -r big", INVALID_ARGUMENT, "'big' is not a valid size"),
        ("--install D --name a/b", INVALID_ARGUMENT, "'a/b' is not a valid distribution name"),
        ("--import Legacy d f", INVALID_ARGUMENT, "'Legacy' is not a valid"),
        ("--import-in-place a:b f", INVALID_ARGUMENT, "'a:b' is not a valid"),
        ("--set-default-version 3", VERSION_PARSE_ERROR, "'3' is not a valid version"),
        ("--import N d f --version x", VERSION_PARSE_ERROR, "'x' is not a valid version"),
        ("--import N d x.VHDX", "", "looks like a disk image"),
        ("--import N d x.qcow2", "", "looks like a disk image"),
        # run options before a sub-command
        ("-d N --shutdown", "", "--shutdown cannot be combined with -d"),
        ("~ -l", "", "-l cannot be combined with ~"),
        ("--system --version", "", "--version cannot be combined with --system"),
    ],
)
def test_usage_errors(line: str, code: str, message: str) -> None:
    with pytest.raises(UsageError) as on_posix:
        parse_posix(line.split())
    with pytest.raises(UsageError) as on_windows:
        parse_windows(f"isthmus.exe {line}")
    for error in (on_posix.value, on_windows.value):
        assert message in error.message
        assert error.code == code
        assert not isinstance(error, NotYetError)


@pytest.mark.parametrize("line", ["--install --version 1", "--set-default-version 1"])
def test_version_1_is_refused_clearly(line: str) -> None:
    with pytest.raises(NotYetError, match="no version 1") as caught:
        parse_posix(line.split())
    assert caught.value.code == WSL1_NOT_SUPPORTED


def test_wsl1_component_is_refused_clearly() -> None:
    with pytest.raises(NotYetError, match="no version 1"):
        parse_posix(["--install", "--enable-wsl1"])


@pytest.mark.parametrize("name", ["--mount", "--unmount", "--set-version", "--uninstall"])
def test_what_is_not_there_yet_is_named(name: str) -> None:
    for arguments in ([], ["x", "--bare", "-t", "ext4"]):
        with pytest.raises(NotYetError) as caught:
            parse_posix([name, *arguments])
        assert caught.value.message == f"{name} is not supported yet."
        assert caught.value.hint
        assert caught.value.code == UNSUPPORTED


@pytest.mark.parametrize("spelling", [name for name in COMMAND_OF if name != "--help"])
def test_every_sub_command_explains_itself(spelling: str) -> None:
    assert parse_posix([spelling, "--help"]) == HelpCommand(topic=COMMAND_OF[spelling].name)


def test_help_wins_over_what_is_missing() -> None:
    assert parse_posix(["--import", "N", "--help"]) == HelpCommand(topic="--import")
    assert parse_posix(["-d", "N", "--list", "--help"]) == HelpCommand(topic="--list")


def test_help_as_a_value_or_operand_is_none() -> None:
    assert parse_posix(["--export", "N", "--", "--help"]) == ExportCommand(name="N", file="--help")
    assert parse_posix(["--manage", "N", "-m", "--help"]) == ManageCommand(
        name="N", action="move", move="--help"
    )


def test_an_empty_operand_is_refused() -> None:
    with pytest.raises(UsageError):
        parse_posix(["--terminate", ""])
    with pytest.raises(UsageError):
        parse_posix(["--import", "N", "", "f"])


def test_errors_name_their_sub_command() -> None:
    with pytest.raises(UsageError) as caught:
        parse_posix(["-l", "--quit"])
    assert caught.value.topic == "--list"
    assert "--quiet" in caught.value.hint
