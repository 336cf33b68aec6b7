"""Swap files that may not be touched, consoles that cannot be written, lines of a console."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import cast

import pytest

from service.console import shown_console, writable_console
from service.errors import ServiceError
from service.furnishing import add_modules, add_swap
from service.hostnetwork import connect_network
from service.link import AgentLink
from service.machinespec import machine_spec
from service.settings import Host, Settings, settings_from
from service.settings_keys import WSLCONFIG
from tests.unit.vm.vm_samples import BOOT, QEMU
from vm.machine import VirtualMachine
from vm.spec import Accelerator, MachineSpec, UserNetwork
from wire.wslconf import read_config


def settings(text: str) -> Settings:
    config = read_config(f"[wsl2]\n{text}\n", WSLCONFIG, "F", stop_at_malformed=False)
    return settings_from(config, Host(2**33, 4))


class Nothing:
    """A machine, or a link, that nobody may ask for anything but what it is made of."""

    spec = type("Spec", (), {"qemu": None})


def warnings_of_swap(text: str, home: Path) -> list[str]:
    warnings: list[str] = []
    vm, link = cast(VirtualMachine, Nothing()), cast(AgentLink, Nothing())
    asyncio.run(add_swap(vm, link, settings(text), home, warnings.append))
    return warnings


def test_a_file_that_is_there_already_is_not_taken_for_swap(tmp_path: Path) -> None:
    file = tmp_path / "letters.doc"
    file.write_bytes(b"Dear Ada")
    (warning,) = warnings_of_swap(f"swapFile={file}", tmp_path)
    assert "there is no swap space" in warning and str(file) in warning
    assert file.read_bytes() == b"Dear Ada"


@pytest.mark.parametrize("text", ["swap=0", "safeMode=true", "swap=100KB"])
def test_no_swap_makes_no_file(text: str, tmp_path: Path) -> None:
    assert warnings_of_swap(text, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_an_impossible_size_is_a_warning(tmp_path: Path) -> None:
    (warning,) = warnings_of_swap("swap=100TB", tmp_path)
    assert "not possible" in warning


def test_a_module_image_must_have_the_name_of_one(tmp_path: Path) -> None:
    warnings: list[str] = []
    vm, link = cast(VirtualMachine, Nothing()), cast(AgentLink, Nothing())
    wanted = settings(f"kernelModules={tmp_path}/modules.txt")
    asyncio.run(add_modules(vm, link, wanted, warnings.append))
    assert "modules.txt" in warnings[0] and ".squashfs" in warnings[0]
    asyncio.run(
        add_modules(vm, link, settings("safeMode=1\nloadKernelModules=tun"), warnings.append)
    )
    assert len(warnings) == 1


# -- the specification -----------------------------------------------------------------------------


def spec(text: str) -> MachineSpec:
    return machine_spec(
        settings(text),
        QEMU,
        BOOT,
        Accelerator.KVM,
        network=None,
        serial_log=Path("/log"),
        ports=(),
        console_copy=None,
    )


def test_debugging_makes_the_kernel_talk_and_the_user_has_the_last_word() -> None:
    assert spec("").kernel_arguments == ()
    got = spec("debugConsole=1\nearlyBootLogging=1\nkernelCommandLine=loglevel=3")
    assert got.kernel_arguments == ("loglevel=7", "earlyprintk=serial,ttyS0,115200", "loglevel=3")


def test_safe_mode_leaves_the_network_out() -> None:
    def network(text: str) -> object:
        return asyncio.run(connect_network(settings(text), "/home"))

    assert network("") == UserNetwork()
    assert network("ipv6=true") == UserNetwork(ipv6=True)
    assert network("safeMode=true") is None
    assert network("networkingMode=none") is None


def test_processor_features_that_are_not_wanted() -> None:
    assert spec("").cpu_features == ()
    assert spec("nestedVirtualization=0\nhardwarePerformanceCounters=0").cpu_features == (
        "vmx=off",
        "svm=off",
        "pmu=off",
    )


# -- the console -----------------------------------------------------------------------------------


def test_a_console_file_that_can_be_written(tmp_path: Path) -> None:
    warnings: list[str] = []
    file = tmp_path / "console.log"
    assert writable_console(file, warnings.append) == file
    assert writable_console(None, warnings.append) is None
    assert warnings == []


def test_a_console_file_that_cannot_is_left_out_and_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    warnings: list[str] = []
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "no" / "directory"):
        assert writable_console(path, warnings.append) is None
        assert str(path) in warnings.pop()


def test_lines_are_shown_whole_and_without_terminal_commands(tmp_path: Path) -> None:
    log = tmp_path / "serial.log"
    log.write_bytes(b"fir")
    shown: list[str] = []

    async def watch() -> None:
        async with shown_console(log, shown.append):
            with log.open("ab") as file:
                file.write(b"st\n\x1b[2Jsec\xffond\nrest")

    asyncio.run(watch())
    assert shown == ["first", "sec\N{REPLACEMENT CHARACTER}ond"]


def test_nobody_looks_unless_somebody_wants_to(tmp_path: Path) -> None:
    async def watch() -> None:
        async with shown_console(tmp_path / "not-there", None):
            pass

    asyncio.run(watch())


def test_the_error_of_a_format_names_what_is_possible() -> None:
    from service.diskformats import MODULES_FORMAT_OF_SUFFIX, format_of

    assert format_of(Path("m.EROFS"), formats=MODULES_FORMAT_OF_SUFFIX)
    with pytest.raises(ServiceError) as caught:
        format_of(Path("m.erofs"))
    assert ".vhdx" in caught.value.hint
