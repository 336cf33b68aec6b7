"""What the user's .wslconfig says, as one frozen value (docs/configuration.md).

`settings_from` decides, `SettingsFile` reads. No file, or one that cannot be read, means the
defaults: a mistake in it must not keep anybody from starting Linux.
"""

from __future__ import annotations

import codecs
import functools
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from service.settings_keys import WSLCONFIG
from vm.memory import host_memory_bytes
from wire.wslconf import Config, printable, read_config

FILE_NAME = ".wslconfig"
MAX_FILE_BYTES = 1 << 20
MIB = 2**20
GIB = 2**30

MIN_MEMORY_MIB = 256
"""WSL's own lower bound; its tuned guest would not start with much less."""
DEFAULT_MEMORY_LIMIT_MIB = 4096
MAX_MEMORY_MIB = 1 << 20
MAX_PROCESSORS = 64
"""As much as vm.spec.MachineSpec takes, of both."""

_MODULE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Host:
    """What the host has to share."""

    memory_bytes: int
    processors: int


@dataclass(frozen=True)
class Settings:
    """Everything that .wslconfig decides, with values that can be used as they are."""

    memory_mib: int
    processors: int
    swap_mib: int
    """0: no swap space."""
    swap_file: Path | None
    """None: one in the state directory."""
    kernel: Path | None
    """A kernel of the user's own; None: ours."""
    kernel_modules: Path | None
    """A disk image with modules of the kernel that is booted."""
    modules_to_load: tuple[str, ...]
    kernel_arguments: tuple[str, ...]
    """kernelCommandLine, one word each."""
    kernel_boot_timeout_ms: int
    distribution_start_timeout_ms: int
    mount_device_timeout_ms: int
    vm_idle_timeout_ms: int
    """Negative: never."""
    instance_idle_timeout_ms: int
    """Negative: never."""
    auto_memory_reclaim: str
    """Disabled, Gradual or DropCache."""
    instant_start: bool
    """Whether machines start from a snapshot."""
    suspend_on_idle: bool
    """Whether an idle machine is saved with its programs instead of being shut down."""
    default_disk_bytes: int
    install_path: Path | None
    """Where new distributions' directories are made; None: in the state directory."""
    distribution_lists: tuple[str, ...]
    """URLs of manifests, in the order in which they are searched."""
    debug_console: bool
    """Whether the command that boots the machine shows its console."""
    console_file: Path | None
    """Gets a copy of the console."""
    early_boot_logging: bool
    safe_mode: bool
    """Neither network, drives, swap space nor modules: what they are set to does not count."""
    nested_virtualization: bool
    performance_counters: bool
    networking_mode: str
    """None, Nat, Bridged, Mirrored or Consomme."""
    ipv6: bool
    bridge: str
    """The host's bridge for bridged networking; "": none is named."""
    mac_address: str
    """For bridged networking; "": ours."""
    localhost_forwarding: bool
    host_address_loopback: bool
    ignored_ports: frozenset[int]
    auto_proxy: bool
    dns_proxy: bool
    """Whether Linux asks QEMU's name server alone, not the host's name servers themselves."""
    host_drives: frozenset[str] | None
    """Letters of the drives that distributions may reach, and UNC for servers; None: all."""
    warnings: tuple[str, ...] = ()
    """For the user: what is wrong in the file, or not honoured."""

    @property
    def has_own_kernel(self) -> bool:
        """Whether it may be the user's doing if the kernel does not boot."""
        return self.kernel is not None or bool(self.kernel_arguments)


def default_memory_mib(host_mib: int) -> int:
    """The machine's memory: half of the host's, as WSL's default, but at most 4 GiB.

    Untouched guest memory costs the host nothing; what is bounded is what a runaway can take,
    and under emulation a guest is slower to use, and to give back, what it has.
    """
    return clamp_memory_mib(min(host_mib // 2, DEFAULT_MEMORY_LIMIT_MIB), host_mib)


def clamp_memory_mib(wanted_mib: int, host_mib: int) -> int:
    """`wanted_mib`, but not more than the host has, nor less than a machine needs."""
    return max(MIN_MEMORY_MIB, min(wanted_mib, host_mib, MAX_MEMORY_MIB))


def settings_from(config: Config, host: Host, extra_lists: tuple[str, ...] = ()) -> Settings:
    """The settings that a file's values mean on a host. Pure.

    extra_lists: URLs of manifests that are searched before those of the file.
    """
    warnings = list(config.warnings)
    memory_mib = _memory_mib(config, host)
    mode = config.text("wsl2.networkingMode")
    ports = config.get("experimental.ignoredPorts")
    safe_mode = config.boolean("wsl2.safeMode")
    urls = [config.text(f"general.distributionListUrl{suffix}") for suffix in ("Append", "")]
    return Settings(
        memory_mib=memory_mib,
        processors=_processors(config, host, warnings),
        swap_mib=0 if safe_mode else _swap_mib(config, memory_mib),
        swap_file=_path(config, "wsl2.swapFile"),
        kernel=_path(config, "wsl2.kernel"),
        kernel_modules=None if safe_mode else _path(config, "wsl2.kernelModules"),
        modules_to_load=() if safe_mode else _module_names(config, warnings),
        kernel_arguments=_kernel_arguments(config, warnings),
        kernel_boot_timeout_ms=_positive(config, "wsl2.kernelBootTimeout"),
        distribution_start_timeout_ms=_positive(config, "wsl2.distributionStartTimeout"),
        mount_device_timeout_ms=_positive(config, "wsl2.mountDeviceTimeout"),
        vm_idle_timeout_ms=config.integer("wsl2.vmIdleTimeout"),
        instance_idle_timeout_ms=config.integer("general.instanceIdleTimeout"),
        auto_memory_reclaim=config.text("experimental.autoMemoryReclaim"),
        instant_start=config.boolean("general.instantStart"),
        suspend_on_idle=config.boolean("experimental.suspendOnIdle"),
        default_disk_bytes=_positive(config, "wsl2.defaultVhdSize"),
        install_path=_path(config, "general.distributionInstallPath"),
        distribution_lists=(*extra_lists, *(url for url in urls if url)),
        debug_console=config.boolean("wsl2.debugConsole"),
        console_file=_path(config, "wsl2.debugConsoleLogFile"),
        early_boot_logging=config.boolean("wsl2.earlyBootLogging"),
        safe_mode=safe_mode,
        nested_virtualization=config.boolean("wsl2.nestedVirtualization"),
        performance_counters=config.boolean("wsl2.hardwarePerformanceCounters"),
        networking_mode="None" if safe_mode else "Consomme" if mode == "VirtioProxy" else mode,
        ipv6=config.boolean("wsl2.ipv6"),
        bridge=config.text("wsl2.vmSwitch"),
        mac_address=config.text("wsl2.macAddress"),
        localhost_forwarding=not safe_mode and config.boolean("wsl2.localhostForwarding"),
        host_address_loopback=config.boolean("experimental.hostAddressLoopback"),
        ignored_ports=frozenset(ports if isinstance(ports, tuple) else ()),
        auto_proxy=config.boolean("wsl2.autoProxy"),
        dns_proxy=config.boolean("wsl2.dnsProxy"),
        host_drives=frozenset() if safe_mode else _host_drives(config, warnings),
        warnings=tuple(warnings),
    )


def _memory_mib(config: Config, host: Host) -> int:
    host_mib = host.memory_bytes // MIB
    wanted = config.values.get("wsl2.memory", 0)
    if not isinstance(wanted, int) or wanted == 0:  # WSL's 0 is no size either
        return default_memory_mib(host_mib)
    return clamp_memory_mib(wanted // MIB, host_mib)


def _processors(config: Config, host: Host, warnings: list[str]) -> int:
    most = min(host.processors, MAX_PROCESSORS)
    wanted = config.values.get("wsl2.processors", 0)
    if not isinstance(wanted, int) or wanted <= 0:
        return most
    if wanted > most:
        warnings.append(
            "wsl2.processors cannot exceed the number of logical processors on the system "
            f"({wanted} > {most})"
        )
    return min(wanted, most)


def _swap_mib(config: Config, memory_mib: int) -> int:
    """The file's size, else a quarter of the memory rounded up to a GiB."""
    wanted = config.values.get("wsl2.swap")
    if isinstance(wanted, int):
        return wanted // MIB
    return -(-memory_mib * MIB // 4 // GIB) * (GIB // MIB)


def _positive(config: Config, name: str) -> int:
    """A size or a time to wait; the default for what is none."""
    wanted = config.integer(name)
    return wanted if wanted > 0 else _DEFAULTS.integer(name)


def _path(config: Config, name: str) -> Path | None:
    text = config.text(name)
    return Path(text) if text else None


def _kernel_arguments(config: Config, warnings: list[str]) -> tuple[str, ...]:
    words = config.text("wsl2.kernelCommandLine").split()
    for word in words:
        if not _is_kernel_argument(word):
            warnings.append(f"wsl2.kernelCommandLine: '{printable(word)}' is left out")
    return tuple(filter(_is_kernel_argument, words))


def _module_names(config: Config, warnings: list[str]) -> tuple[str, ...]:
    names = tuple(filter(None, map(str.strip, config.text("wsl2.loadKernelModules").split(","))))
    for name in names:
        if not _MODULE_NAME.fullmatch(name):
            warnings.append(f"wsl2.loadKernelModules: '{printable(name)}' is left out")
    return tuple(filter(_MODULE_NAME.fullmatch, names))


def _host_drives(config: Config, warnings: list[str]) -> frozenset[str] | None:
    """What hostFileSystemAccess opens. A word that says nothing opens nothing."""
    text = config.text("wsl2.hostFileSystemAccess").strip()
    if text.lower() in ("true", "1"):
        return None
    if text.lower() in ("", "false", "0"):
        return frozenset()
    words = {word.strip().upper().removesuffix(":") for word in text.split(",")}
    drives = frozenset(
        word for word in words if word == "UNC" or (len(word) == 1 and "A" <= word <= "Z")
    )
    for word in sorted(words - drives):
        warnings.append(f"wsl2.hostFileSystemAccess: '{printable(word)}' is no drive's letter")
    return drives


def _is_kernel_argument(word: str) -> bool:
    """Whether the kernel's command line, which is ASCII, can hold it."""
    return word.isascii() and word.isprintable()


_DEFAULTS = read_config("", WSLCONFIG, "", stop_at_malformed=False)


# -- the file --------------------------------------------------------------------------------------


def find_wslconfig(environment: Mapping[str, str], platform: str) -> Path | None:
    """Where .wslconfig is on `platform` (a sys.platform value), there or not. Pure.

    ISTHMUS_WSLCONFIG, else %USERPROFILE% on Windows and the home directory elsewhere; None
    where the environment names neither.
    """
    named = environment.get("ISTHMUS_WSLCONFIG", "")
    if named:
        return Path(named)
    home = environment.get("USERPROFILE" if platform == "win32" else "HOME", "")
    return Path(home) / FILE_NAME if home else None


def extra_distribution_lists(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The URLs in ISTHMUS_DISTRIBUTION_LIST, separated by blanks. Pure."""
    return tuple(environment.get("ISTHMUS_DISTRIBUTION_LIST", "").split())


def decode(data: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 where a byte order mark says so.

    WSL opens it that way, and Windows PowerShell 5 writes UTF-16. What is neither is replaced
    by U+FFFD, so that one bad byte spoils one line.
    """
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig", "replace")


@functools.cache
def this_host() -> Host:
    """What this computer has."""
    return Host(host_memory_bytes(), os.cpu_count() or 1)


class SettingsFile:
    """The settings of `path`, read again whenever the file changes."""

    def __init__(
        self,
        path: Path | None,
        extra_lists: tuple[str, ...] = (),
        host: Callable[[], Host] = this_host,
    ) -> None:
        self._path = path
        self._extra_lists = extra_lists
        self._host = host
        self._stamp: object = self  # equal to no stamp
        self._settings: Settings | None = None
        self._told = False

    def current(self) -> Settings:
        """What holds now."""
        stamp = self._take_stamp()
        if self._settings is None or stamp != self._stamp:
            self._stamp = stamp
            self._settings = self._read()
            self._told = False
        return self._settings

    def take_warnings(self) -> tuple[str, ...]:
        """What is wrong with the file: once after each change of it, () from then on."""
        warnings = self.current().warnings
        told, self._told = self._told, True
        return () if told else warnings

    def _take_stamp(self) -> object:
        """What changes with the file."""
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError as error:
            return error.errno
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> Settings:
        text, problem = self._read_text()
        file = str(self._path).encode("utf-8", "replace").decode()
        config = read_config(text, WSLCONFIG, file, stop_at_malformed=False)
        settings = settings_from(config, self._host(), self._extra_lists)
        if not problem:
            return settings
        warning = f"{file} could not be read, so the defaults hold: {problem}"
        return replace(settings, warnings=(warning,))

    def _read_text(self) -> tuple[str, str]:
        """The file's text, and why there is none; both "" where there is no file."""
        if self._path is None:
            return "", ""
        try:
            if not stat.S_ISREG(self._path.stat().st_mode):
                return "", "it is not an ordinary file"  # a pipe would never end
            with self._path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return "", ""
        except OSError as error:
            return "", error.strerror or str(error)
        if len(data) > MAX_FILE_BYTES:
            return "", f"it is longer than {MAX_FILE_BYTES} bytes"
        return decode(data), ""
