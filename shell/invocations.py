"""What a command line asks for, as plain values: the parser's result, main's input. Pure data.

`OPERATION` names the kind of work in error lines (shell/errorpath.py). Paths are as the user
wrote them, relative ones too: resolving them is an effect and belongs to whoever opens the file.
Strings that came from a POSIX argv carry other bytes by `surrogateescape`.
"""

from __future__ import annotations

from wire.codec import Message

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from typing import ClassVar


class Invocation(Message):
    """Base of all that a command line can mean."""

    OPERATION: ClassVar[str] = ""


class RunCommand(Invocation):
    """Run a program, a shell line or a shell, as wire.client.Run asks for it.

    Exactly one of three: `argv` is executed as it is; `line` (may be "") goes to the user's
    shell as `-c`; with neither, the shell itself. `login` makes that shell a login shell.
    `distribution` is "" for the default one, a name, or a GUID in braces and lower case.
    `directory` is a Linux path or begins with "~"; `host_directory` is an absolute Windows path
    given with --cd; at most one of them is set. `debug_shell` is a root shell in the machine
    that must not wait for any distribution.
    """

    OPERATION = "run"
    distribution: str = ""
    line: str | None = None
    argv: tuple[str, ...] = ()
    login: bool = False
    user: str = ""
    directory: str = ""
    host_directory: str = ""
    system: bool = False
    debug_shell: bool = False


class InstallCommand(Invocation):
    """Install `distribution` from a catalogue ("" is the default one), or from `from_file`.

    `from_file` may be "-"; `name` and `location` "" leave the choice to the service;
    `disk_bytes` 0 is the default size. `no_distribution` prepares the machine only.
    """

    OPERATION = "install"
    distribution: str = ""
    from_file: str = ""
    name: str = ""
    location: str = ""
    disk_bytes: int = 0
    fixed_disk: bool = False
    no_launch: bool = False
    no_distribution: bool = False


class ImportCommand(Invocation):
    """Register `name` in the directory `location` from the archive or disk image `file` ("-")."""

    OPERATION = "import"
    name: str
    location: str
    file: str
    is_disk: bool = False


class ImportInPlaceCommand(Invocation):
    """Register `name` with the disk image `file`, which stays where it is."""

    OPERATION = "import"
    name: str
    file: str


class ExportCommand(Invocation):
    """Write a distribution to `file` ("-") as `format`: tar, tar.gz, tar.xz or vhd.

    `format` "" goes by the file's name.
    """

    OPERATION = "export"
    name: str
    file: str
    format: str = ""


class ListCommand(Invocation):
    """Show distributions: registered ones, or with `online` those that can be installed."""

    OPERATION = "list"
    all: bool = False
    running: bool = False
    quiet: bool = False
    verbose: bool = False
    online: bool = False
    json: bool = False


class ManageCommand(Invocation):
    """Change a distribution: `action` is "move", "set-sparse", "set-default-user" or "resize".

    Only the field of that action means anything: `move` is a directory, `default_user` a Linux
    user's name, `resize_bytes` the disk's new size.
    """

    OPERATION = "manage"
    name: str
    action: str
    move: str = ""
    sparse: bool = False
    allow_unsafe: bool = False
    default_user: str = ""
    resize_bytes: int = 0


class TerminateCommand(Invocation):
    """Stop a distribution."""

    OPERATION = "terminate"
    name: str


class UnregisterCommand(Invocation):
    """Delete a distribution with everything in it."""

    OPERATION = "unregister"
    name: str


class SetDefaultCommand(Invocation):
    """Make a distribution the default one."""

    OPERATION = "set-default"
    name: str


class SetDefaultVersionCommand(Invocation):
    """Accept `--set-default-version 2`, the only version there is."""

    OPERATION = "set-default-version"


class ShutdownCommand(Invocation):
    """Stop everything; with `force` without waiting for programs to end."""

    OPERATION = "shutdown"
    force: bool = False


class StatusCommand(Invocation):
    """Show what runs, and on what."""

    OPERATION = "status"
    json: bool = False


class VersionCommand(Invocation):
    """Show versions."""

    OPERATION = "version"


class UpdateCommand(Invocation):
    """Move to the newest kernel and system image."""

    OPERATION = "update"
    pre_release: bool = False


class HelpCommand(Invocation):
    """Explain the command line, or the sub-command `topic` ("--list")."""

    OPERATION = "help"
    topic: str = ""


class CompletionCommand(Invocation):
    """Print the completion script of `shell`: bash, zsh, fish or powershell."""

    OPERATION = "completion"
    shell: str
