"""Messages of the service-agent link (docs/protocol.md §6). Requests name their reply."""

from __future__ import annotations

from wire.codec import Message
from wire.common import Done, Terminal

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from typing import ClassVar


class Welcome(Message, name="welcome"):
    """Reply to Hello. `running` names distributions that an earlier agent left running."""

    protocol: int
    version: str
    kernel: str
    boot_id: str
    running: tuple[str, ...] = ()


class Hello(Message, name="hello"):
    """First request after the preamble. The agent sets CLOCK_REALTIME to `time_ns`.

    `device_timeout_ms` is how long it is to wait for a disk to appear that was plugged in.
    """

    REPLY: ClassVar[type[Message]] = Welcome
    protocol: int
    version: str
    time_ns: int
    hostname: str = "isthmus"
    device_timeout_ms: int = 30_000


class Reseed(Message, name="reseed"):
    """The machine goes on from a snapshot: its random numbers must not be those of another one.

    `entropy` is 32 bytes or more, in hexadecimal, that nobody else knows. Comes before Hello, so
    that the boot's id is one of this machine's own.
    """

    REPLY: ClassVar[type[Message]] = Done
    entropy: str


class FormatDisk(Message, name="format-disk"):
    """Wait for the disk with SCSI serial `disk` to appear and make an ext4 file system on it."""

    REPLY: ClassVar[type[Message]] = Done
    disk: str


class CheckDisk(Message, name="check-disk"):
    """Repair the (unmounted) file system of a disk with e2fsck -p, and grow it to the disk."""

    REPLY: ClassVar[type[Message]] = Done
    disk: str


class MountDisk(Message, name="mount-disk"):
    """Wait for a disk to appear and mount it in the utility VM. Not an error if it is already."""

    REPLY: ClassVar[type[Message]] = Done
    disk: str


class ExpectDisk(Message, name="expect-disk"):
    """Event: a distribution is about to be started from a disk, which may be mounted until then."""

    disk: str


class UnmountDisk(Message, name="unmount-disk"):
    """Unmount a disk and wait until the kernel has let go of it. Not an error if it is not."""

    REPLY: ClassVar[type[Message]] = Done
    disk: str


class AddSwap(Message, name="add-swap"):
    """Wait for a disk to appear, make it swap space, and use it until the machine ends."""

    REPLY: ClassVar[type[Message]] = Done
    disk: str


class AddModules(Message, name="add-modules"):
    """Mount the `disk` that holds the kernel's modules, unless "", and load those named.

    Distributions that start afterwards see them in /lib/modules.
    """

    REPLY: ClassVar[type[Message]] = Done
    disk: str = ""
    names: tuple[str, ...] = ()


class Unpack(Message, name="unpack"):
    """Unpack the tar archive that arrives on the session's stdin into a mounted, empty disk.

    Ends with Exited (the status is bsdtar's, its messages come on stderr). The reply says that
    bsdtar runs.
    """

    REPLY: ClassVar[type[Message]] = Done
    session: int
    disk: str


class Pack(Message, name="pack"):
    """Send the mounted disk's tree as a tar archive on the session's stdout, then Exited."""

    REPLY: ClassVar[type[Message]] = Done
    session: int
    disk: str


class RootDescription(Message, name="root-description"):
    """Reply to InspectRoot. Empty strings where os-release does not say."""

    is_root: bool
    os_id: str = ""
    os_version: str = ""
    default_name: str = ""
    default_uid: int = 0


class InspectRoot(Message, name="inspect-root"):
    """Is the mounted disk's tree a Linux root file system, and which one?"""

    REPLY: ClassVar[type[Message]] = RootDescription
    disk: str


class DistributionStarted(Message, name="distribution-started"):
    """Reply to StartDistribution. `warnings` are for the user."""

    warnings: tuple[str, ...] = ()


class StartDistribution(Message, name="start-distribution"):
    """Start a distribution on its mounted disk: its namespaces, its pid 1, its files in /etc.

    `identity` is the registry's unique id, `name` what the user calls it, `timezone` the host's
    zone in the IANA database ("" if not known). `drives` are those to be mounted, as letters
    ("C"), for the user `default_uid`, unless its wsl.conf says otherwise.
    """

    REPLY: ClassVar[type[Message]] = DistributionStarted
    identity: str
    name: str
    disk: str
    hostname: str
    timezone: str = ""
    default_uid: int = 0
    drives: tuple[str, ...] = ()


class StopDistribution(Message, name="stop-distribution"):
    """Stop a distribution: SIGTERM, `grace_ms` later SIGKILL, then unmount its disk.

    Not an error if it does not run.
    """

    REPLY: ClassVar[type[Message]] = Done
    identity: str
    grace_ms: int = 2000


class DistributionStopped(Message, name="distribution-stopped"):
    """Event: a distribution's pid 1 has ended, asked for or not."""

    identity: str


class Spawned(Message, name="spawned"):
    """Reply to Spawn: the process runs. `directory` is the one of `directories` it started in.

    `warnings` are for the user: what of Windows could not be translated.
    """

    pid: int
    directory: str
    warnings: tuple[str, ...] = ()


class Spawn(Message, name="spawn"):
    """Start a process as a new session of this link.

    With `line`, the user's shell runs it (`$SHELL -c line`); with `argv`, it is executed
    directly, looked up in the session's PATH; with neither, the user's login shell starts.
    `distribution` "" is the utility VM itself. `directories` are tried in turn; "~" is the
    user's home. What the distribution shows of `windows_directory`, a Windows path, comes before
    them; `windows_path` is Windows' PATH, and `windows_environment` holds WSLENV and variables
    that it names, in Windows' form (docs/paths.md §3). `user` "" is the distribution's default
    user. With a `terminal`, descriptors 0, 1 and 2 are that terminal (stream TERMINAL) except for
    those in `redirected`, which are pipes, as they all are without one. With `first_run`, the
    setup command that the distribution brings with it runs before, as root; the session ends if
    it fails.
    """

    REPLY: ClassVar[type[Message]] = Spawned
    session: int
    distribution: str
    line: str | None = None
    argv: tuple[str, ...] = ()
    login: bool = False
    user: str = ""
    default_uid: int = 0
    directories: tuple[str, ...] = ("~",)
    environment: dict[str, str] = {}  # noqa: RUF012 - a field's default, never changed
    terminal: Terminal | None = None
    redirected: tuple[int, ...] = ()
    first_run: bool = False
    windows_directory: str = ""
    windows_path: str = ""
    windows_environment: dict[str, str] = {}  # noqa: RUF012 - as above


class FirstRunDone(Message, name="first-run-done"):
    """Event: the setup of a Spawn with `first_run` has succeeded, or there is none.

    `default_uid` is the user that commands run as from now on.
    """

    identity: str
    default_uid: int


class UserFound(Message, name="user-found"):
    """Reply to FindUser."""

    uid: int


class FindUser(Message, name="find-user"):
    """Look a user of a running distribution up."""

    REPLY: ClassVar[type[Message]] = UserFound
    distribution: str
    name: str


class DriveOpened(Message, name="drive-opened"):
    r"""Reply to OpenDrive. The drive's server will greet with `nonce` on the port called `port`.

    `source` is the Windows path that is mounted, as mount tables show it (C:\, \\server\share).
    """

    port: str
    nonce: str
    source: str
    read_only: bool


class OpenDrive(Message, name="open-drive"):
    r"""The agent asks for a server of a directory of the host's, for a mount that it makes.

    `source` is a Windows path as a user writes it (C:, C:\Users, \\server\share), `options` are a
    drive's, separated by commas. `place` says for `isthmus --status` where it will be mounted.
    """

    REPLY: ClassVar[type[Message]] = DriveOpened
    distribution: str
    source: str
    options: str
    place: str


class AnnounceDrive(Message, name="announce-drive"):
    """The server of `port` has ended; another one is about to greet on it with `nonce`."""

    REPLY: ClassVar[type[Message]] = Done
    port: str
    nonce: str


class UseBulkDisk(Message, name="use-bulk-disk"):
    """Large contents of the drive on `port` may go by the disk with SCSI serial `disk`.

    It is plugged in; docs/drives.md §12 says what is in it.
    """

    REPLY: ClassVar[type[Message]] = Done
    port: str
    disk: str


class EndDrive(Message, name="end-drive"):
    """`port` will have no server any more: what is asked of its mount fails from now on."""

    REPLY: ClassVar[type[Message]] = Done
    port: str


class DriveClosed(Message, name="drive-closed"):
    """Event: the mount that `port` was opened for is over, or was never made."""

    port: str


class Port(Message):
    """A socket that serves. `address` as inet_ntop(3) writes it; `protocol` is "tcp" or "udp".

    `v6_only`: bound to an IPv6 address and deaf to IPv4 (IPV6_V6ONLY, ipv6(7)).
    """

    protocol: str
    address: str
    number: int
    v6_only: bool = False


class PortsChanged(Message, name="ports-changed"):
    """Event: sockets of the machine's network namespace have begun, or ceased, to serve."""

    opened: tuple[Port, ...] = ()
    closed: tuple[Port, ...] = ()


class AddressesChanged(Message, name="addresses-changed"):
    """Event: the addresses that the machine has by DHCP, in bridged networking."""

    addresses: tuple[str, ...]


class Names(Message):
    """How Linux finds names: `name_servers` and `search` domains for resolv.conf, and `hosts`,
    lines for /etc/hosts.
    """

    name_servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


class ChangeNames(Message, name="change-names"):
    """The host finds names in another way than when the network was set up."""

    REPLY: ClassVar[type[Message]] = Done
    names: Names


class SetUpNetwork(Message, name="set-up-network"):
    """Make the network what the user wants; sent to every agent, before anything is started.

    `mode` is one of wire.network.MODES. With `forward`, the agent tells of ports from now on, first
    of all of those that are served already, and lets the host reach what is bound to loopback
    addresses. In bridged networking name servers and domains come by DHCP instead of `names`.
    """

    REPLY: ClassVar[type[Message]] = Done
    mode: str = "nat"
    forward: bool = False
    names: Names


class Launch(Message, name="launch"):
    r"""The agent asks: start a Windows program as session `session`, one of the agent's own.

    `distribution` is the identity of the one it was executed in. `program` is its Windows path;
    with `program_bytes` it has none, and that many bytes of it come first on stream STDIN.
    `file` is what Linux executed, with `argv`; `directory` is the Windows path to start in, ""
    where there is none. `environment` changes the host's: an empty value deletes. The reply says
    that the service takes the session's streams; Launched or Exited tells what became of it.
    """

    REPLY: ClassVar[type[Message]] = Done
    session: int
    distribution: str
    file: str
    argv: tuple[str, ...]
    program: str = ""
    program_bytes: int = 0
    directory: str = ""
    environment: dict[str, str] = {}  # noqa: RUF012 - a field's default, never changed
    terminal: Terminal | None = None


class Launched(Message, name="launched"):
    """Event, to the agent: a Windows program runs, or does not.

    `error` is 0 or the errno(3) of why it does not run; `message` and `hint` say what that does
    not. `is_gui`: it has windows of its own, and no use for a console.
    """

    session: int
    is_gui: bool = False
    error: int = 0
    message: str = ""
    hint: str = ""


class Reclaim(Message, name="reclaim"):
    """Give cache to the host: all, a `gradual` part; with `flush`, what is unwritten as well."""

    REPLY: ClassVar[type[Message]] = Done
    gradual: bool = False
    flush: bool = False


class PowerOff(Message, name="power-off"):
    """Stop all distributions, unmount, sync, and turn the machine off. The reply comes before."""

    REPLY: ClassVar[type[Message]] = Done


class Log(Message, name="log"):
    """Event: something the service should keep in its log."""

    level: str
    text: str
