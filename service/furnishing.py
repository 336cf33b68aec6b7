"""What a machine gets once its agent answers: swap space, and modules for its kernel.

The machine works without either, so what fails is a warning to the user and no error.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from service.diskformats import MODULES_FORMAT_OF_SUFFIX, format_of
from service.errors import ServiceError
from service.link import AgentLink
from service.settings import MIB, Settings
from vm.disk import create_disk
from vm.errors import VmError
from vm.machine import MachineState, VirtualMachine
from wire import failures
from wire.agent import AddModules, AddSwap
from wire.common import Done

SWAP_DISK = "swap"
MODULES_DISK = "modules"
SWAP_FILE_NAME = "swap"
"""In the state directory, where .wslconfig names no file."""

_TIMEOUT_S = 120.0

Warn = Callable[[str], None]
"""Tells the user, at the next command."""


async def add_swap(
    vm: VirtualMachine,
    link: AgentLink,
    settings: Settings,
    home: Path,
    warn: Warn,
    is_kept: Callable[[], bool] | None = None,
) -> None:
    """Give the machine its swap space, and see to its file's end.

    The file loses its name as soon as QEMU has it open, where the host can do that: then no way
    for QEMU or us to end leaves it behind. Elsewhere it is deleted when the machine has ended,
    until when this does not return. It keeps its name, too, where the machine may be suspended, and
    stays if `is_kept` then.
    """
    if settings.swap_mib == 0:
        return
    path = swap_path(settings, home)
    if settings.swap_file is None:
        _unlink(path)  # left by a machine that ended with its host
    try:
        await create_disk(vm.spec.qemu, path, settings.swap_mib * MIB)
    except (VmError, ValueError) as error:
        warn(f"there is no swap space: {error}")
        return
    try:
        # A page that cannot be written stays in memory: no reason to pause the machine.
        await vm.attach_disk(path, SWAP_DISK, waits_for_space=False)
        has_name = is_kept is not None or not _unlink(path)
        await link.request(AddSwap(disk=SWAP_DISK), Done, _TIMEOUT_S)
        if has_name:
            await vm.wait()
    except (VmError, ServiceError) as error:
        if vm.state is MachineState.RUNNING:  # else it was only in a hurry to end
            warn(f"there is no swap space: {_reason(error)}")
        if is_kept is not None:
            await vm.wait()  # it may be plugged in all the same
    finally:
        if is_kept is None or not is_kept():
            _unlink(path)


def swap_path(settings: Settings, home: Path) -> Path:
    """Where the swap space is. Pure."""
    return settings.swap_file or home / SWAP_FILE_NAME


async def keep_swap(
    vm: VirtualMachine, settings: Settings, home: Path, is_kept: Callable[[], bool]
) -> None:
    """See to the end of the swap space that a machine was suspended with."""
    await vm.wait()
    if not is_kept():
        _unlink(swap_path(settings, home))


def _unlink(path: Path) -> bool:
    """Whether the file has no name now; Windows refuses while it is open."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _reason(error: VmError | ServiceError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


async def add_modules(vm: VirtualMachine, link: AgentLink, settings: Settings, warn: Warn) -> None:
    """Show the machine the modules that .wslconfig names, and load some."""
    path = settings.kernel_modules
    if path is None and not settings.modules_to_load:
        return
    try:
        if path is not None:
            image_format = format_of(path, failures.FILE_NOT_FOUND, MODULES_FORMAT_OF_SUFFIX)
            await vm.attach_disk(path, MODULES_DISK, format=image_format, read_only=True)
        disk = "" if path is None else MODULES_DISK
        await link.request(AddModules(disk=disk, names=settings.modules_to_load), Done, _TIMEOUT_S)
    except (VmError, ServiceError) as error:
        warn(f"kernel modules, as .wslconfig asks for them: {_reason(error)}")
