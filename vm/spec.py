"""What a machine is, as data: the installed QEMU, what is booted, and with which devices.

Nothing here does I/O. Values are checked where they are made, so that `vm.argv` need not doubt
them: a `MachineSpec` that exists can be turned into a command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

MAXIMUM_PORTS = 30
"""QEMU's virtio-serial has 31 ports (hw/char/virtio-serial-bus.h, VIRTIO_SERIAL_MAX_PORTS);
number 0 is kept for the console by the virtio specification (5.3.2)."""

# A port's name is its device's id as well, and those begin with a letter (util/id.c).
_PORT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,30}")
_RESERVED_IDS = frozenset(
    {"serial0", "scsi0", "net0", "rng0", "system", "console", "qmp", "memory"}
)
_KERNEL_ARGUMENT = re.compile(r"[\x21-\x7e]+")


class Accelerator(StrEnum):
    """Who executes the guest's instructions; the values are QEMU's names for `-accel`."""

    WHPX = "whpx"
    """The Windows Hypervisor Platform."""
    KVM = "kvm"
    """Linux's own hypervisor."""
    HVF = "hvf"
    """macOS's Hypervisor.framework."""
    TCG = "tcg"
    """QEMU's translator: software emulation, works on every host."""

    @property
    def is_hardware(self) -> bool:
        """Whether guest code runs on the processor itself."""
        return self is not Accelerator.TCG


PREFERENCE = (Accelerator.WHPX, Accelerator.KVM, Accelerator.HVF, Accelerator.TCG)
"""Accelerators in the order in which they are tried."""


class MachineType(StrEnum):
    """The board QEMU builds; the values are QEMU's names for `-machine`."""

    MICROVM = "microvm"
    """No PCI, no firmware to speak of, virtio-mmio devices named on the kernel command line."""
    Q35 = "q35"
    """A PC with PCI Express: what a distribution's stock kernel expects."""


class KernelOrigin(StrEnum):
    """Where a kernel comes from, and with it what it has built in."""

    DEBIAN = "debian"
    """Debian's signed kernel: drivers are modules, so it needs an initrd and PCI."""
    TUNED = "tuned"
    """Ours: every driver built in, no jump labels, boots microvm through the PVH entry point."""
    CUSTOM = "custom"
    """The user's: nothing is known of it, but that it must do without an initrd."""


@dataclass(frozen=True, order=True)
class QemuVersion:
    """A QEMU release; compares as versions do."""

    major: int
    minor: int
    micro: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.micro}"


MINIMUM_QEMU = QemuVersion(7, 2, 0)
"""Debian 12's: the oldest on which the machine is tested."""


@dataclass(frozen=True)
class Qemu:
    """An installed QEMU and what it is able to do."""

    system: Path
    """qemu-system-x86_64."""
    image_tool: Path
    """qemu-img of the same installation."""
    version: QemuVersion
    accelerators: tuple[Accelerator, ...]
    """Those compiled in, in order of preference; whether one works is `vm.probe`'s question."""
    machines: frozenset[MachineType]
    """Those compiled in whose firmware files are installed too."""
    data_directory: Path | None = None
    """Passed as `-L` when QEMU would not find its firmware by itself (the Windows package)."""
    sandbox: bool = False
    """Whether `-sandbox` (seccomp, Linux only) is compiled in."""
    lean_core_dumps: bool = False
    """Whether the host can leave the guest's memory out of QEMU's core dumps (Linux can)."""


@dataclass(frozen=True)
class BootImage:
    """A kernel and the system it starts."""

    kernel: Path
    """bzImage, or for microvm an uncompressed vmlinux with a PVH note."""
    initrd: Path | None
    system: Path
    """The read-only erofs image that becomes the root file system."""
    release: str
    """`uname -r` of the kernel."""
    origin: KernelOrigin


@dataclass(frozen=True)
class FirmwareImage:
    """A flat ROM executed from the reset vector instead of a kernel: probes and tests."""

    path: Path


@dataclass(frozen=True)
class UserNetwork:
    """QEMU's own network (slirp): the guest reaches out, nothing listens."""

    ipv6: bool = False
    """Whether the guest gets an IPv6 address as well."""


@dataclass(frozen=True)
class TapNetwork:
    """A network interface of the host's that somebody has made for the machine."""

    interface: str
    mac: str
    """The guest's hardware address, as six pairs of hexadecimal digits with colons."""


@dataclass(frozen=True)
class MachineSpec:
    """One virtual machine, complete."""

    qemu: Qemu
    machine: MachineType
    accelerator: Accelerator
    boot: BootImage | FirmwareImage
    memory_mib: int
    processors: int
    serial_log: Path
    """Where the guest's first serial port is written."""
    ports: tuple[str, ...] = ()
    """virtio-serial port names; the guest finds them in /sys/class/virtio-ports/*/name."""
    spare_ports: int = 0
    """How many more ports can be plugged in while the machine runs (`VirtualMachine.plug_port`)."""
    kernel_arguments: tuple[str, ...] = ()
    """Added to the kernel command line, one word each."""
    network: UserNetwork | TapNetwork | None = UserNetwork()
    """What the network card is connected to; None: there is no card."""
    cpu_model: str | None = None
    """QEMU's `-cpu`; None takes `vm.argv.CPU_MODELS`' choice for the accelerator."""
    cpu_features: tuple[str, ...] = ()
    """Added to that, such as "pmu=off"."""
    console_copy: Path | None = None
    """A second file for what goes to `serial_log`; replaced at the start."""
    name: str = "isthmus"

    def __post_init__(self) -> None:
        """Refuse what no machine can have.

        Raises ValueError: memory or processors out of range, a port name that is not a letter
        and up to 30 letters, digits, ".", "_" or "-", a duplicate or too many of them, or a
        kernel argument that is not one printable word.
        """
        if not 8 <= self.memory_mib <= 1 << 20:
            raise ValueError(f"memory_mib must be between 8 and 1048576, not {self.memory_mib}")
        if not 1 <= self.processors <= 64:
            raise ValueError(f"processors must be between 1 and 64, not {self.processors}")
        if self.spare_ports < 0 or len(self.ports) + self.spare_ports > MAXIMUM_PORTS:
            wanted = f"{len(self.ports)} + {self.spare_ports}"
            raise ValueError(f"at most {MAXIMUM_PORTS} ports, not {wanted}")
        if len(set(self.ports)) != len(self.ports):
            raise ValueError(f"port names must differ: {self.ports}")
        for port in self.ports:
            if not _PORT_NAME.fullmatch(port) or port in _RESERVED_IDS:
                raise ValueError(f"not a port name: {port!r}")
        for argument in self.kernel_arguments:
            if not _KERNEL_ARGUMENT.fullmatch(argument):
                raise ValueError(f"not one word of a kernel command line: {argument!r}")


def choose_machine(qemu: Qemu, origin: KernelOrigin) -> MachineType:
    """The fastest board on which a kernel of this origin boots with this QEMU.

    Debian's kernel has virtio-mmio only as a module and does not read devices from its command
    line (VIRTIO_MMIO_CMDLINE_DEVICES is off), so microvm's devices would stay invisible to it.
    """
    if origin is KernelOrigin.TUNED and MachineType.MICROVM in qemu.machines:
        return MachineType.MICROVM
    return MachineType.Q35


def choose_processors(accelerator: Accelerator, origin: KernelOrigin, wanted: int) -> int:
    """How many processors a machine may have so that its kernel survives: `wanted`, or one.

    Under tcg a processor may go on executing code that another one has just changed (QEMU issue
    4669, all versions up to 11.1 at least). Debian's kernel changes its own code while it runs
    (jump labels), and so dies of it now and then, "Oops: int3": seen once in some thirty boots
    on a busy host. With one processor that cannot happen. Our kernel is built without jump
    labels; a user's own is taken to have them, as nearly every kernel does.
    """
    if accelerator is Accelerator.TCG and origin is not KernelOrigin.TUNED:
        return 1
    return wanted
