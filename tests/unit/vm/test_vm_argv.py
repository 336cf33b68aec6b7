from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.vm.vm_samples import BOOT, SPEC
from vm.argv import QMP_CHANNEL, kernel_command_line, qemu_argv
from vm.spec import (
    Accelerator,
    FirmwareImage,
    MachineSpec,
    MachineType,
    TapNetwork,
    UserNetwork,
)

CHANNELS = {
    QMP_CHANNEL: "socket,fd=7",
    "org.isthmus.agent": "socket,fd=8",
    "org.isthmus.drive.c": "socket,fd=9",
}
EVERY_SPEC = [
    replace(SPEC, machine=machine, accelerator=accelerator)
    for machine in MachineType
    for accelerator in Accelerator
]


def option(argv: list[str], name: str) -> list[str]:
    """The values given to `name`, in order."""
    return [value for flag, value in itertools.pairwise(argv) if flag == name]


def split_options(value: str) -> list[str]:
    """Take a key=value list apart as QEMU does: a doubled comma is one that belongs to a value."""
    return [part.replace("\0", ",") for part in value.replace(",,", "\0").split(",")]


@pytest.mark.parametrize("spec", EVERY_SPEC, ids=lambda s: f"{s.machine}-{s.accelerator}")
def test_nothing_listens_and_nothing_shows(spec: MachineSpec) -> None:
    argv = qemu_argv(spec, CHANNELS)
    text = " ".join(argv)
    assert option(argv, "-display") == ["none"]
    assert "-nodefaults" in argv
    assert "-no-user-config" in argv
    assert not re.search(r"server=on|hostfwd|guestfwd|vnc|telnet|-gdb|,path=(?!.state.)", text)


@pytest.mark.parametrize("spec", EVERY_SPEC, ids=lambda s: f"{s.machine}-{s.accelerator}")
def test_mitigations_are_off_under_emulation_only(spec: MachineSpec) -> None:
    words = kernel_command_line(spec).split()
    assert ("mitigations=off" in words) == (spec.accelerator is Accelerator.TCG)


def test_the_specs_kernel_arguments_come_last_so_that_they_win() -> None:
    line = kernel_command_line(replace(SPEC, kernel_arguments=("console=hvc0", "x=y")))
    assert line.endswith(" console=hvc0 x=y")
    assert line.index("console=ttyS0") < line.index("console=hvc0")


def test_a_panic_ends_qemu() -> None:
    assert "-no-reboot" in qemu_argv(SPEC, CHANNELS)
    assert {"panic=-1", "reboot=t"} <= set(kernel_command_line(SPEC).split())


def test_microvm_keeps_off_the_clocks_interrupt() -> None:
    devices = [d for d in option(qemu_argv(SPEC, CHANNELS), "-device") if "mmio-bus" in d]
    buses = [int(device.split("virtio-mmio-bus.")[1].split(",")[0]) for device in devices]
    assert len(buses) == len(set(buses)) == 6
    assert 5 + 3 not in {5 + bus for bus in buses}
    assert all(0 <= bus < 8 for bus in buses)


def test_q35_has_its_devices_on_pci() -> None:
    argv = qemu_argv(replace(SPEC, machine=MachineType.Q35), CHANNELS)
    drivers = {device.split(",")[0] for device in option(argv, "-device")}
    kinds = ("blk", "serial", "scsi", "net", "rng", "balloon")
    assert {f"virtio-{kind}-pci" for kind in kinds} <= drivers
    assert not any("mmio" in word for word in argv)


def test_each_port_has_its_channel_and_its_number() -> None:
    argv = qemu_argv(SPEC, CHANNELS)
    assert "socket,fd=8,id=port1" in option(argv, "-chardev")
    assert "socket,fd=9,id=port2" in option(argv, "-chardev")
    ports = [device for device in option(argv, "-device") if device.startswith("virtserialport")]
    assert ports == [
        "virtserialport,id=org.isthmus.agent,bus=serial0.0,nr=1,chardev=port1,name=org.isthmus.agent",
        "virtserialport,id=org.isthmus.drive.c,bus=serial0.0,nr=2,chardev=port2,name=org.isthmus.drive.c",
    ]
    assert any("max_ports=3" in device for device in option(argv, "-device"))


def test_a_port_without_a_channel_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        qemu_argv(SPEC, {QMP_CHANNEL: "socket,fd=7"})


def test_no_network_when_none_is_wanted() -> None:
    argv = qemu_argv(replace(SPEC, network=None), CHANNELS)
    assert option(argv, "-netdev") == []
    assert not any("net" in device for device in option(argv, "-device"))


def test_the_networks() -> None:
    argv = qemu_argv(SPEC, CHANNELS)
    assert option(argv, "-netdev") == ["user,id=net0,ipv4=on,ipv6=off"]
    argv = qemu_argv(replace(SPEC, network=UserNetwork(ipv6=True)), CHANNELS)
    assert option(argv, "-netdev") == ["user,id=net0,ipv4=on,ipv6=on"]
    tap = TapNetwork("tap,0", "52:54:00:12:34:57")
    argv = qemu_argv(replace(SPEC, network=tap), CHANNELS)
    assert option(argv, "-netdev") == ["tap,id=net0,ifname=tap,,0,script=no,downscript=no"]
    assert any("mac=52:54:00:12:34:57" in device for device in option(argv, "-device"))


def test_firmware_takes_the_place_of_kernel_and_system() -> None:
    argv = qemu_argv(replace(SPEC, boot=FirmwareImage(Path("/rom.bin"))), CHANNELS)
    assert option(argv, "-bios") == [str(Path("/rom.bin"))]
    assert option(argv, "-kernel") == option(argv, "-blockdev") == []
    assert not any("blk" in device for device in option(argv, "-device"))


def test_the_initrd_is_passed_when_there_is_one() -> None:
    assert option(qemu_argv(SPEC, CHANNELS), "-initrd") == []
    boot = replace(BOOT, initrd=Path("/image/initrd"))
    assert option(qemu_argv(replace(SPEC, boot=boot), CHANNELS), "-initrd") == [str(boot.initrd)]


def test_the_system_image_cannot_be_written() -> None:
    [node] = option(qemu_argv(SPEC, CHANNELS), "-blockdev")
    assert json.loads(node)["read-only"] is True


def test_sandbox_and_data_directory_only_where_qemu_has_them() -> None:
    plain = replace(SPEC, qemu=replace(SPEC.qemu, sandbox=False))
    assert option(qemu_argv(plain, CHANNELS), "-sandbox") == []
    assert option(qemu_argv(plain, CHANNELS), "-L") == []
    bundled = replace(SPEC, qemu=replace(SPEC.qemu, data_directory=Path("/opt/share/qemu")))
    assert option(qemu_argv(bundled, CHANNELS), "-L") == [str(Path("/opt/share/qemu"))]
    assert "spawn=deny" in option(qemu_argv(bundled, CHANNELS), "-sandbox")[0]


def test_core_dumps_leave_the_guest_out_where_the_host_can() -> None:
    assert "dump-guest-core" not in option(qemu_argv(SPEC, CHANNELS), "-machine")[0]
    lean = replace(SPEC, qemu=replace(SPEC.qemu, lean_core_dumps=True))
    assert "dump-guest-core=off" in option(qemu_argv(lean, CHANNELS), "-machine")[0]


def test_a_processor_model_can_be_given() -> None:
    assert option(qemu_argv(replace(SPEC, cpu_model="qemu64"), CHANNELS), "-cpu") == ["qemu64"]


FILE_NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1
).filter(lambda name: name not in {".", ".."})


@given(FILE_NAMES)
def test_no_file_name_can_add_an_option(name: str) -> None:
    log = Path("/state") / name
    boot = replace(BOOT, system=Path("/image") / name)
    argv = qemu_argv(replace(SPEC, serial_log=log, boot=boot), CHANNELS)
    console = split_options(option(argv, "-chardev")[0])
    assert console == ["file", "id=console", f"path={log}", "append=on"]
    assert json.loads(option(argv, "-blockdev")[0])["file"]["filename"] == str(boot.system)


def test_a_copy_of_the_console_and_features_taken_away() -> None:
    spec = replace(SPEC, console_copy=Path("a,b.log"), cpu_features=("svm=off", "pmu=off"))
    argv = qemu_argv(spec, CHANNELS)
    console = argv[argv.index("-serial") - 1]
    assert console.endswith(",append=on,logfile=a,,b.log,logappend=off")
    assert argv[argv.index("-cpu") + 1].endswith(",svm=off,pmu=off")


def test_shared_memory_is_a_file_of_the_guests_size() -> None:
    argv = qemu_argv(SPEC, CHANNELS, memory_path="/proc/self/fd/5,x", is_incoming=True)
    (memory,) = option(argv, "-object")[:1]
    assert split_options(memory) == [
        "memory-backend-file",
        "id=memory",
        "mem-path=/proc/self/fd/5,x",
        "size=1024M",
        "share=on",
        "dump=on",
    ]
    assert "memory-backend=memory" in option(argv, "-machine")[0].split(",")
    assert option(argv, "-incoming") == ["defer"]


@pytest.mark.parametrize("spec", EVERY_SPEC, ids=lambda s: f"{s.machine}-{s.accelerator}")
def test_without_it_qemu_has_memory_of_its_own_and_starts_at_once(spec: MachineSpec) -> None:
    argv = qemu_argv(spec, CHANNELS)
    assert not any("memory-backend" in word for word in argv)
    assert "-incoming" not in argv
