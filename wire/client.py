"""Messages of the shell-service link (docs/protocol.md §7). Requests name their reply."""

from __future__ import annotations

from wire.codec import Message
from wire.common import Done, Terminal

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from typing import ClassVar


class Ready(Message, name="ready"):
    """Reply to Greeting: the service speaks the same protocol."""

    protocol: int
    version: str
    pid: int


class Greeting(Message, name="greeting"):
    """First request of every client."""

    REPLY: ClassVar[type[Message]] = Ready
    protocol: int
    version: str
    token: str = ""


class Running(Message, name="running"):
    """Reply to Run: the process has started; its end is an Exited event."""

    warnings: tuple[str, ...] = ()


class Run(Message, name="run"):
    """Run a command in a distribution; its streams are session 1 of this connection.

    Fields as in wire.agent.Spawn. `distribution` "" is the default one, a name or a GUID in
    braces otherwise; `system` runs it in the utility VM instead. `directory` is a Linux path or
    "~"; `host_directory` is where the client stands on the host, or a Windows path.
    `host_environment` holds WSLENV and the variables that it names, as the host has them,
    `proxies` the variables of wire.network.PROXY_VARIABLES, in any case.
    """

    REPLY: ClassVar[type[Message]] = Running
    distribution: str = ""
    line: str | None = None
    argv: tuple[str, ...] = ()
    login: bool = False
    user: str = ""
    directory: str = ""
    host_directory: str = ""
    environment: dict[str, str] = {}  # noqa: RUF012 - a field's default, never changed
    terminal: Terminal | None = None
    redirected: tuple[int, ...] = ()
    system: bool = False
    host_environment: dict[str, str] = {}  # noqa: RUF012 - as above
    proxies: dict[str, str] = {}  # noqa: RUF012 - as above


class Installed(Message, name="installed"):
    """Reply to Install, Import, ImportInPlace and ImportDisk."""

    name: str
    identity: str
    is_default: bool = False


class Install(Message, name="install"):
    """Install a distribution by its catalogue name; "" is the default one."""

    REPLY: ClassVar[type[Message]] = Installed
    source: str = ""
    name: str = ""
    location: str = ""
    disk_bytes: int = 0
    is_fixed: bool = False


class Import(Message, name="import"):
    """Register a distribution from the tar archive sent on session 1's stdin.

    `name` "" is the name that the archive gives itself, else `fallback_name`. `first_run` tells
    that it is being installed, not brought back: the setup it brings with it runs before its
    first shell.
    """

    REPLY: ClassVar[type[Message]] = Installed
    name: str
    location: str = ""
    disk_bytes: int = 0
    is_fixed: bool = False
    first_run: bool = False
    fallback_name: str = ""


class Export(Message, name="export"):
    """Send a distribution's tree on session 1's stdout as `format`: tar, tar.gz or tar.xz."""

    REPLY: ClassVar[type[Message]] = Done
    name: str
    format: str = "tar"


class Distribution(Message):
    """One row of Distributions. `state` is one of WSL's words: Stopped, Running, Installing …"""

    name: str
    identity: str
    state: str
    version: int = 2
    is_default: bool = False
    flavor: str = ""
    os_version: str = ""
    disk_bytes: int = 0


class Distributions(Message, name="distributions"):
    """Reply to List, in order of registration."""

    distributions: tuple[Distribution, ...]


class List(Message, name="list"):
    """Which distributions are there?"""

    REPLY: ClassVar[type[Message]] = Distributions


class CatalogueRow(Message):
    """One distribution that can be installed."""

    name: str
    friendly_name: str


class CatalogueRows(Message, name="catalogue-rows"):
    """Reply to Catalogue; the first row is what `--install` alone installs."""

    rows: tuple[CatalogueRow, ...]


class Catalogue(Message, name="catalogue"):
    """Which distributions can be installed by name?"""

    REPLY: ClassVar[type[Message]] = CatalogueRows


class Terminate(Message, name="terminate"):
    """Stop a distribution and all its processes."""

    REPLY: ClassVar[type[Message]] = Done
    name: str


class Boot(Message, name="boot"):
    """Make sure that the utility VM runs; what is missing for that is prepared."""

    REPLY: ClassVar[type[Message]] = Done


class Shutdown(Message, name="shutdown"):
    """Stop all distributions and the utility VM. `force` skips the grace periods."""

    REPLY: ClassVar[type[Message]] = Done
    force: bool = False


class Unregister(Message, name="unregister"):
    """Stop a distribution and delete it with its disk."""

    REPLY: ClassVar[type[Message]] = Done
    name: str


class SetDefault(Message, name="set-default"):
    """Make a distribution the default one."""

    REPLY: ClassVar[type[Message]] = Done
    name: str


class Move(Message, name="move"):
    """Move a distribution's disk to `directory`, an absolute path of the host."""

    REPLY: ClassVar[type[Message]] = Done
    name: str
    directory: str


class ResizeDisk(Message, name="resize-disk"):
    """Grow a distribution's disk and the file system in it."""

    REPLY: ClassVar[type[Message]] = Done
    name: str
    size_bytes: int


class SetSparse(Message, name="set-sparse"):
    """Make a distribution's disk sparse, or not."""

    REPLY: ClassVar[type[Message]] = Done
    name: str
    is_sparse: bool


class SetDefaultUser(Message, name="set-default-user"):
    """Choose the user that a distribution's commands run as."""

    REPLY: ClassVar[type[Message]] = Done
    name: str
    user: str


class ImportInPlace(Message, name="import-in-place"):
    """Register the disk at `path`, absolute on the host, which stays where it is."""

    REPLY: ClassVar[type[Message]] = Installed
    name: str
    path: str


class ImportDisk(Message, name="import-disk"):
    """Register a converted copy of the disk image at `path`, absolute on the host."""

    REPLY: ClassVar[type[Message]] = Installed
    name: str
    path: str
    location: str = ""


class ExportDisk(Message, name="export-disk"):
    """Write a distribution's disk to `path`, in the format its name says."""

    REPLY: ClassVar[type[Message]] = Done
    name: str
    path: str


class Updated(Message, name="updated"):
    """Reply to Update: what will be booted next, and what is kept."""

    kernel: str
    previous: str
    is_new: bool


class Update(Message, name="update"):
    """Move to the newest kernel and system image, keeping the old ones for roll-back."""

    REPLY: ClassVar[type[Message]] = Updated


class ForwardedPort(Message):
    """A port served in Linux that the host's localhost has as well, or, with a `problem`, has not.

    `protocol` is "tcp" or "udp".
    """

    number: int
    protocol: str
    problem: str = ""


class MountedDrive(Message):
    r"""One mount of a drive: what (C:\), in which distribution, and where (/mnt/c).

    `directory` is what it shows of the host; `state` is "watching" while changes that the host
    makes show at once, else it says how it is with that.
    """

    source: str
    distribution: str
    place: str
    directory: str
    state: str


class StatusReport(Message, name="status-report"):
    """Reply to Status. Strings are "" for what is not known (the VM does not run, …)."""

    version: str
    default_distribution: str
    machine_state: str
    qemu: str = ""
    accelerator: str = ""
    accelerator_note: str = ""
    machine: str = ""
    kernel: str = ""
    memory_mib: int = 0
    processors: int = 0
    service_pid: int = 0
    qemu_pid: int = 0
    directory: str = ""
    warnings: tuple[str, ...] = ()
    networking_mode: str = ""
    addresses: tuple[str, ...] = ()
    forwards: tuple[ForwardedPort, ...] = ()
    drives: tuple[MountedDrive, ...] = ()


class Status(Message, name="status"):
    """What runs, on what, and how?"""

    REPLY: ClassVar[type[Message]] = StatusReport


class Quit(Message, name="quit"):
    """End the service itself, the machine first. For upgrades and tests."""

    REPLY: ClassVar[type[Message]] = Done
