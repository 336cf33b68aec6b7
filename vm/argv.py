"""MachineSpec -> QEMU's command line. Pure: no I/O, no look at the host.

Two rules hold for every line made here. Nothing listens: QEMU is the client of each socket, its
user network has no forwards until somebody adds one over QMP. Nothing shows: no display, no
default devices, no user configuration; the guest's console goes to a file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from vm.spec import (
    Accelerator,
    BootImage,
    FirmwareImage,
    MachineSpec,
    MachineType,
    UserNetwork,
)

QMP_CHANNEL = "qmp"
"""Key of QMP's channel in the mapping `qemu_argv` takes."""

SCSI_BUS = "scsi0.0"
"""The bus distribution disks are plugged into: virtio-scsi controller `scsi0`, channel 0."""

CPU_MODELS: Mapping[Accelerator, str] = {
    # Features that cost an emulated processor more than they bring: la57 (one more memory access
    # per TLB miss), erms (makes Linux copy and clear with `rep movsb`, which TCG executes byte by
    # byte: pipes get three times slower), smap and smep (each access to user memory ends a
    # translation block twice; in the guest they guard the guest against itself only).
    Accelerator.TCG: "max,la57=off,erms=off,smap=off,smep=off",
    Accelerator.KVM: "host",
    Accelerator.HVF: "host",
    # `host` and `max` fail on some processors under WHPX (QEMU issues 858, 1043); this is the
    # x86-64-v2 level, which every distribution but the newest Enterprise Linux accepts.
    Accelerator.WHPX: "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt",
}
"""QEMU's `-cpu` per accelerator."""

WITHOUT_VAPIC = ("-global", "apic-common.vapic=off")
"""Leaves out a ROM that speeds up 32-bit Windows guests, and that not every package of QEMU has."""

TRANSLATION_BUFFER_MIB = 256
"""tcg's buffer for translated code; it is filled as code runs, so this bounds resident memory."""

_MEMORY = "memory"

_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

# microvm has eight virtio-mmio transports on interrupts 5 to 12 (hw/i386/microvm.c,
# virtio_irq_base) and fills them from the last one down, so that the fifth device gets interrupt
# 8. The clock chip has it already, and the fifth device's driver fails with -EBUSY. Transport 3
# is left free instead, which keeps the clock: under tcg it is where the guest learns the date.
_FREED_PAGES = () if sys.platform == "win32" else ("free-page-reporting=on",)
"""Pages the guest frees are given back to the host, as WSL does. QEMU for Windows cannot, and
would complain of each of them."""
_MMIO_BUSES = {"blk": 0, "serial": 1, "scsi": 2, "net": 4, "rng": 5, "balloon": 6}


@dataclass(frozen=True)
class _Virtio:
    """A virtio device: `kind` as in virtio-<kind>-pci, `options` after the driver's name."""

    kind: str
    options: tuple[str, ...] = ()


def qemu_argv(
    spec: MachineSpec,
    channels: Mapping[str, str],
    *,
    memory_path: str | None = None,
    is_incoming: bool = False,
) -> list[str]:
    """The whole command line for `spec`.

    channels: chardev backend (such as "socket,fd=7", without an id) for each of the spec's ports
    by name, for each of its spare ones (`spare_chardev`), and for QMP_CHANNEL. memory_path: the
    file, of the spec's size, that is the guest's memory; None leaves it to QEMU. is_incoming: the
    guest does not start, but waits for a state to be loaded (`vm.migration`).
    Raises KeyError if a channel is missing.
    """
    argv = [str(spec.qemu.system), "-nodefaults", "-no-user-config", "-display", "none"]
    argv += ["-name", _escape(spec.name), "-no-reboot"]
    if spec.qemu.data_directory is not None:
        argv += ["-L", str(spec.qemu.data_directory)]
    if spec.qemu.sandbox:
        argv += ["-sandbox", _SANDBOX]
    machine = _machine(spec)
    if memory_path is not None:
        machine += f",memory-backend={_MEMORY}"
        argv += ["-object", _shared_memory(spec, memory_path)]
    argv += ["-machine", machine, *WITHOUT_VAPIC]
    argv += ["-accel", accelerator_argument(spec.accelerator)]
    model = spec.cpu_model or CPU_MODELS[spec.accelerator]
    argv += ["-cpu", ",".join([model, *spec.cpu_features])]
    argv += ["-m", f"{spec.memory_mib}M", "-smp", str(spec.processors)]
    argv += _boot(spec)
    argv += _console(spec)
    argv += qmp_arguments(channels[QMP_CHANNEL])
    argv += _virtio_devices(spec, channels)
    if is_incoming:
        argv += ["-incoming", "defer"]
    return argv


def port_chardev(spec: MachineSpec, name: str) -> str:
    """Id of the chardev of the spec's port `name`."""
    return f"port{spec.ports.index(name) + 1}"


def spare_chardev(number: int) -> str:
    """Id of the chardev, and key of the channel, that spare port `number`, from 0, would have."""
    return f"spare{number}"


def spare_port_options(spec: MachineSpec, number: int, name: str) -> dict[str, object]:
    """The arguments of QMP's `device_add` that plug spare port `number` in as `name`."""
    return {
        "driver": "virtserialport",
        "id": name,
        "bus": "serial0.0",
        "nr": len(spec.ports) + 1 + number,
        "chardev": spare_chardev(number),
        "name": name,
    }


def accelerator_argument(accelerator: Accelerator) -> str:
    """The value of `-accel`."""
    if accelerator is Accelerator.TCG:
        # One host thread per processor of the guest; the default only for some pairs of guest
        # and host, so it is said.
        return f"tcg,thread=multi,tb-size={TRANSLATION_BUFFER_MIB}"
    return accelerator.value


def qmp_arguments(backend: str) -> list[str]:
    """A QMP monitor on the chardev `backend`."""
    return [
        "-chardev",
        f"{backend},id={QMP_CHANNEL}",
        "-mon",
        f"chardev={QMP_CHANNEL},mode=control",
    ]


def kernel_command_line(spec: MachineSpec) -> str:
    """The kernel's command line, the spec's additions last so that they win.

    mitigations=off is given under tcg only. There the guest's processor is a program that does
    not speculate, and its barriers and buffer flushes are instructions that only cost time; the
    host's kernel guards the host. With a hardware accelerator guest code runs on the real
    processor, and the guest's users are protected from each other by its mitigations alone.
    """
    words = [
        "quiet",
        "console=ttyS0",
        "root=/dev/vda",
        "rootfstype=erofs",
        "ro",
        "init=/sbin/init",
        # A panic restarts at once and, through -no-reboot, ends QEMU: never a silent hang.
        "panic=-1",
        # By a triple fault: microvm has neither ACPI nor a keyboard controller to ask.
        "reboot=t",
        # No bounce buffers: virtio reaches all memory, and clearing them makes 64 MiB resident.
        "swiotlb=noforce",
    ]
    if spec.accelerator is Accelerator.TCG:
        words.append("mitigations=off")
    return " ".join([*words, *spec.kernel_arguments])


def _machine(spec: MachineSpec) -> str:
    if spec.machine is MachineType.MICROVM:
        # acpi=off: the kernel reads its devices from the command line instead of interpreting
        # tables, the larger part of what makes this board boot faster.
        words = ["microvm", "acpi=off", "rtc=on", "auto-kernel-cmdline=on"]
    else:
        # Every device left out is one that neither firmware nor kernel has to look for.
        words = ["q35", "vmport=off", "smbus=off", "sata=off", "usb=off", "graphics=off"]
        words.append("hpet=off")
    if spec.qemu.lean_core_dumps:
        words.append("dump-guest-core=off")  # the guest's memory is the user's private data
    return ",".join(words)


def _shared_memory(spec: MachineSpec, path: str) -> str:
    # share: what the guest writes is in the file, and what it frees is taken out of it.
    dump = "on" if not spec.qemu.lean_core_dumps else "off"
    options = f"mem-path={_escape(path)},size={spec.memory_mib}M,share=on,dump={dump}"
    return f"memory-backend-file,id={_MEMORY},{options}"


def _boot(spec: MachineSpec) -> list[str]:
    if isinstance(spec.boot, FirmwareImage):
        return ["-bios", str(spec.boot.path)]
    argv = ["-kernel", str(spec.boot.kernel), "-append", kernel_command_line(spec)]
    if spec.boot.initrd is not None:
        argv += ["-initrd", str(spec.boot.initrd)]
    return argv


def _console(spec: MachineSpec) -> list[str]:
    chardev = f"file,id=console,path={_escape(str(spec.serial_log))},append=on"
    if spec.console_copy is not None:
        chardev += f",logfile={_escape(str(spec.console_copy))},logappend=off"
    return ["-chardev", chardev, "-serial", "chardev:console"]


def _virtio_devices(spec: MachineSpec, channels: Mapping[str, str]) -> list[str]:
    argv: list[str] = []
    if spec.machine is MachineType.MICROVM:
        argv += ["-global", "virtio-mmio.force-legacy=off"]
    if isinstance(spec.boot, BootImage):
        argv += ["-blockdev", _system_image(spec.boot)]
        argv += _device(spec, _Virtio("blk", ("drive=system",)))
    # Each port costs the guest two queues at start-up, so no more than may be used; +1: port 0.
    most = len(spec.ports) + spec.spare_ports + 1
    argv += _device(spec, _Virtio("serial", ("id=serial0", f"max_ports={most}")))
    for number, name in enumerate(spec.ports, start=1):
        chardev = port_chardev(spec, name)
        argv += ["-chardev", f"{channels[name]},id={chardev}"]
        # Only a port with an id of its own tells when the guest opens it (VSERPORT_CHANGE).
        port = f"id={name},bus=serial0.0,nr={number},chardev={chardev},name={name}"
        argv += ["-device", f"virtserialport,{port}"]
    for number in range(spec.spare_ports):
        chardev = spare_chardev(number)
        argv += ["-chardev", f"{channels[chardev]},id={chardev}"]
    argv += _device(spec, _Virtio("scsi", ("id=scsi0",)))
    argv += _network(spec)
    argv += ["-object", "rng-builtin,id=rng0"]
    argv += _device(spec, _Virtio("rng", ("rng=rng0",)))
    argv += _device(spec, _Virtio("balloon", _FREED_PAGES))
    return argv


def _network(spec: MachineSpec) -> list[str]:
    if spec.network is None:
        return []
    if isinstance(spec.network, UserNetwork):
        ipv6 = "on" if spec.network.ipv6 else "off"
        card = _Virtio("net", ("netdev=net0",))
        # Of two that are not both said, QEMU takes the one that is for the only one wanted.
        backend = f"user,id=net0,ipv4=on,ipv6={ipv6}"
        return ["-netdev", backend, *_device(spec, card)]
    backend = f"tap,id=net0,ifname={_escape(spec.network.interface)},script=no,downscript=no"
    card = _Virtio("net", ("netdev=net0", f"mac={spec.network.mac}"))
    return ["-netdev", backend, *_device(spec, card)]


def _device(spec: MachineSpec, device: _Virtio) -> list[str]:
    """`-device` for `device` on the spec's kind of bus."""
    if spec.machine is MachineType.MICROVM:
        words = [f"virtio-{device.kind}-device", f"bus=virtio-mmio-bus.{_MMIO_BUSES[device.kind]}"]
    else:
        words = [f"virtio-{device.kind}-pci"]
        if device.kind == "net":
            words.append("romfile=")  # no network boot, and no ROM file to look for
    return ["-device", ",".join([*words, *device.options])]


def _system_image(boot: BootImage) -> str:
    # JSON, so that no character in the path needs escaping.
    return json.dumps(
        {
            "node-name": "system",
            "driver": "raw",
            "read-only": True,
            "file": {"driver": "file", "filename": str(boot.system)},
        }
    )


def _escape(value: str) -> str:
    """`value` inside a key=value list, where a comma is written twice (qemu-options.hx)."""
    return value.replace(",", ",,")
