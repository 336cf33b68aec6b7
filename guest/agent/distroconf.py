"""What a distribution wants of itself: /etc/wsl.conf and /etc/wsl-distribution.conf.

Both are the distribution's own files, so anything may be in them.
"""

from __future__ import annotations

from guest.agent.beneath import read_beneath
from guest.agent.users import MAX_ID
from wire.wslconf import Config, read_config
from wire.wslconf_keys import DISTRIBUTION_CONF, WSL_CONF

CONF_PATH = "/etc/wsl.conf"
DISTRIBUTION_CONF_PATH = "/etc/wsl-distribution.conf"
MAX_BYTES = 64 * 1024
"""What is read of either; the parser is slow under emulation."""
MAX_HOSTNAME = 64
"""HOST_NAME_MAX (sethostname(2))."""
MAX_TEXT = 256
"""Characters kept of a name: a reply must fit into a frame."""
_HOSTNAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
FALLBACK_HOSTNAME = "localhost"


class DistroConf:
    """The settings of /etc/wsl.conf, with values that can be used as they are."""

    __slots__ = (
        "append_host_path",
        "automount_enabled",
        "automount_options",
        "automount_root",
        "boot_command",
        "default_user",
        "generate_hosts",
        "generate_resolv_conf",
        "hostname",
        "interop_enabled",
        "mount_fstab",
        "protect_binfmt",
        "umask",
        "use_host_timezone",
        "warnings",
    )

    def __init__(self, config: Config) -> None:
        hostname = config.text("network.hostname")
        self.default_user = config.text("user.default")[:MAX_TEXT]
        """Name of the user that sessions run as; "" leaves it to the registry."""
        self.hostname = clean_hostname(hostname) if hostname else ""
        """"": the one that the host gives."""
        self.generate_hosts = config.boolean("network.generateHosts")
        self.generate_resolv_conf = config.boolean("network.generateResolvConf")
        self.boot_command = config.text("boot.command")
        """For root's shell when the distribution starts; "" for none."""
        self.umask = config.integer("filesystem.umask") & 0o777
        self.automount_enabled = config.boolean("automount.enabled")
        self.automount_root = config.text("automount.root").rstrip("/") or "/"
        self.automount_options = config.text("automount.options")
        self.mount_fstab = config.boolean("automount.mountFsTab")
        self.interop_enabled = config.boolean("interop.enabled")
        self.append_host_path = config.boolean("interop.appendWindowsPath")
        self.protect_binfmt = config.boolean("boot.protectBinfmt")
        """Whether the registration of Windows programs is read-only in it."""
        self.use_host_timezone = config.boolean("time.useWindowsTimezone")
        self.warnings = config.warnings
        """What is wrong in the file, or not honoured, for the user."""


def parse_distro_conf(text: str) -> DistroConf:
    """The settings in the text of a wsl.conf. Pure."""
    return DistroConf(read_config(text, WSL_CONF, CONF_PATH, stop_at_malformed=True))


def read_distro_conf(root: str) -> DistroConf:
    """The settings of the distribution in `root`; the defaults where it has no wsl.conf."""
    return parse_distro_conf(_read(root, CONF_PATH))


class Oobe:
    """What wsl-distribution.conf says of a distribution's first run (behaviour §9)."""

    __slots__ = ("command", "default_name", "default_uid")

    def __init__(self, command: str, default_name: str, default_uid: int) -> None:
        self.command = command
        """For root's shell; "" for none."""
        self.default_name = default_name
        self.default_uid = default_uid


def parse_oobe(text: str) -> Oobe:
    """The [oobe] section of a wsl-distribution.conf. Pure."""
    config = read_config(text, DISTRIBUTION_CONF, DISTRIBUTION_CONF_PATH, stop_at_malformed=True)
    uid = config.integer("oobe.defaultUid")
    return Oobe(
        config.text("oobe.command"),
        config.text("oobe.defaultName")[:MAX_TEXT],
        uid if 0 <= uid <= MAX_ID else 0,
    )


def read_oobe(root: str) -> Oobe:
    """What the distribution in `root` says of its first run."""
    return parse_oobe(_read(root, DISTRIBUTION_CONF_PATH))


def _read(root: str, path: str) -> str:
    """A file's text; "" also where a damaged disk does not give it."""
    try:
        return read_beneath(root, path, MAX_BYTES)
    except OSError:
        return ""


def clean_hostname(name: str) -> str:
    """`name` as a hostname(7), by WSL's rules. Pure.

    Other characters than letters, digits, - and . are dropped, so are repeated dots, and dots
    and dashes at either end.
    """
    kept = "".join(char for char in name if char in _HOSTNAME)
    while ".." in kept:
        kept = kept.replace("..", ".")
    return kept.strip(".-")[:MAX_HOSTNAME].rstrip(".-") or FALLBACK_HOSTNAME
