from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.vm.vm_samples import QEMU, SPEC
from vm.spec import (
    Accelerator,
    KernelOrigin,
    MachineType,
    QemuVersion,
    choose_machine,
    choose_processors,
)


def test_versions_compare_as_numbers() -> None:
    assert QemuVersion(10, 0) > QemuVersion(7, 2, 22) > QemuVersion(7, 2)
    assert str(QemuVersion(7, 2, 22)) == "7.2.22"


@pytest.mark.parametrize("memory_mib", [0, 7, 2**20 + 1])
def test_impossible_memory_is_refused(memory_mib: int) -> None:
    with pytest.raises(ValueError, match="memory_mib"):
        replace(SPEC, memory_mib=memory_mib)


@pytest.mark.parametrize("processors", [0, 65])
def test_impossible_processors_are_refused(processors: int) -> None:
    with pytest.raises(ValueError, match="processors"):
        replace(SPEC, processors=processors)


@pytest.mark.parametrize(
    "ports",
    [
        ("",),
        ("a,b",),
        ("a b",),
        ("1",),
        ("scsi0",),
        ("a" * 32,),
        ("a", "a"),
        tuple(f"p{n}" for n in range(31)),
    ],
)
def test_impossible_ports_are_refused(ports: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="port"):
        replace(SPEC, ports=ports)


@pytest.mark.parametrize("argument", ["", "two words", "line\nend", "nul\0", "é"])
def test_a_kernel_argument_is_one_printable_word(argument: str) -> None:
    with pytest.raises(ValueError, match="kernel command line"):
        replace(SPEC, kernel_arguments=(argument,))


def test_microvm_needs_our_kernel_and_its_firmware() -> None:
    assert choose_machine(QEMU, KernelOrigin.TUNED) is MachineType.MICROVM
    assert choose_machine(QEMU, KernelOrigin.DEBIAN) is MachineType.Q35
    assert choose_machine(QEMU, KernelOrigin.CUSTOM) is MachineType.Q35
    without = replace(QEMU, machines=frozenset({MachineType.Q35}))
    assert choose_machine(without, KernelOrigin.TUNED) is MachineType.Q35


def test_a_kernel_that_patches_itself_gets_one_emulated_processor() -> None:
    assert choose_processors(Accelerator.TCG, KernelOrigin.DEBIAN, 4) == 1
    assert choose_processors(Accelerator.TCG, KernelOrigin.CUSTOM, 4) == 1
    assert choose_processors(Accelerator.TCG, KernelOrigin.TUNED, 4) == 4
    assert choose_processors(Accelerator.KVM, KernelOrigin.DEBIAN, 4) == 4
