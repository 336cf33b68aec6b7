"""What the machine makes of a kernel that .wslconfig names."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import ServiceError
from service.machinespec import with_kernel
from service.settings import Host, settings_from
from service.settings_keys import WSLCONFIG
from vm.spec import BootImage, KernelOrigin, MachineType, Qemu, QemuVersion, choose_machine
from wire import failures
from wire.wslconf import read_config

OURS = BootImage(Path("vmlinux"), Path("initrd"), Path("system"), "6.12", KernelOrigin.TUNED)


def test_a_kernel_of_the_users_own_replaces_ours(tmp_path: Path) -> None:
    kernel = tmp_path / "bzImage"
    kernel.write_bytes(b"")
    image = with_kernel(OURS, kernel)
    assert (image.kernel, image.initrd, image.system) == (kernel, None, OURS.system)
    assert image.release == str(kernel)
    machines = frozenset(MachineType)
    qemu = Qemu(Path("q"), Path("i"), QemuVersion(7, 2), (), machines)
    # microvm would need more of a kernel than distributions' own have.
    assert choose_machine(qemu, image.origin) is MachineType.Q35


def test_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no"):
        with pytest.raises(ServiceError) as caught:
            with_kernel(OURS, path)
        assert caught.value.code == failures.FILE_NOT_FOUND
        assert str(path) in caught.value.message
        assert ".wslconfig" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "is_own"),
    [("", False), ("kernel=/k", True), ("kernelCommandLine=init=/x", True), ("memory=1GB", False)],
)
def test_whose_fault_it_is_if_the_kernel_does_not_boot(text: str, is_own: bool) -> None:
    config = read_config(f"[wsl2]\n{text}\n", WSLCONFIG, "F", stop_at_malformed=False)
    assert settings_from(config, Host(2**32, 2)).has_own_kernel is is_own
