"""What .wslconfig and this host make of the machine that is to be started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from service.errors import ServiceError
from service.settings import Settings
from vm.spec import (
    Accelerator,
    BootImage,
    KernelOrigin,
    MachineSpec,
    Qemu,
    TapNetwork,
    UserNetwork,
    choose_machine,
    choose_processors,
)
from wire import failures


def machine_spec(
    settings: Settings,
    qemu: Qemu,
    image: BootImage,
    accelerator: Accelerator,
    *,
    network: UserNetwork | TapNetwork | None,
    serial_log: Path,
    ports: tuple[str, ...],
    spare_ports: int = 0,
    console_copy: Path | None,
) -> MachineSpec:
    """The machine that `settings` ask for. Pure.

    Of the kernel's arguments the user's own come last, so that they win.
    """
    return MachineSpec(
        qemu=qemu,
        machine=choose_machine(qemu, image.origin),
        accelerator=accelerator,
        boot=image,
        memory_mib=settings.memory_mib,
        processors=choose_processors(accelerator, image.origin, settings.processors),
        serial_log=serial_log,
        ports=ports,
        spare_ports=spare_ports,
        kernel_arguments=(*_debug_arguments(settings), *settings.kernel_arguments),
        network=network,
        cpu_features=_cpu_features(settings),
        console_copy=console_copy,
    )


def _debug_arguments(settings: Settings) -> tuple[str, ...]:
    """What makes the kernel say more (Documentation/admin-guide/kernel-parameters.txt)."""
    arguments = []
    if settings.debug_console:
        arguments.append("loglevel=7")
    if settings.early_boot_logging:
        arguments.append("earlyprintk=serial,ttyS0,115200")
    return tuple(arguments)


def _cpu_features(settings: Settings) -> tuple[str, ...]:
    """What to take away from the processor (target/i386/cpu.c); an accelerator may lack it too."""
    features = [] if settings.nested_virtualization else ["vmx=off", "svm=off"]
    if not settings.performance_counters:
        features.append("pmu=off")
    return tuple(features)


def with_kernel(image: BootImage, kernel: Path) -> BootImage:
    """`image` with the kernel that .wslconfig names. Raises ServiceError if there is none.

    It is booted on a PC's board, as Debian's kernel is, but brings no modules with it: the
    drivers for virtio, and erofs, must be built in.
    """
    if not kernel.is_file():
        raise ServiceError(
            failures.FILE_NOT_FOUND,
            f"there is no kernel at {kernel}",
            hint="wsl2.kernel in .wslconfig names it; backslashes are written twice there.",
        )
    return replace(
        image, kernel=kernel, initrd=None, release=str(kernel), origin=KernelOrigin.CUSTOM
    )
