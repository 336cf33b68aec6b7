"""What .wslconfig decides: values that can be used, and a file that may change or be unusable."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.settings import (
    DEFAULT_MEMORY_LIMIT_MIB,
    MAX_FILE_BYTES,
    MIN_MEMORY_MIB,
    Host,
    Settings,
    SettingsFile,
    clamp_memory_mib,
    default_memory_mib,
    extra_distribution_lists,
    find_wslconfig,
    settings_from,
)
from service.settings_keys import WSLCONFIG
from vm.spec import Accelerator, FirmwareImage, MachineSpec, MachineType, Qemu, QemuVersion
from wire.wslconf import read_config

HOST = Host(memory_bytes=16 * 2**30, processors=8)


def settings(text: str, host: Host = HOST) -> Settings:
    config = read_config(text, WSLCONFIG, "FILE", stop_at_malformed=False)
    return settings_from(config, host)


# -- decisions -------------------------------------------------------------------------------------


def test_defaults() -> None:
    got = settings("")
    assert got.memory_mib == 4096
    assert got.processors == 8
    assert got.swap_mib == 1024
    assert got.kernel is None
    assert got.kernel_arguments == ()
    assert got.kernel_boot_timeout_ms == 120_000
    assert got.vm_idle_timeout_ms == 60_000
    assert got.instance_idle_timeout_ms == 15_000
    assert got.default_disk_bytes == 2**40
    assert got.install_path is None
    assert got.distribution_lists == ()
    assert got.networking_mode == "Nat"
    assert got.localhost_forwarding and got.host_drives is None
    assert not got.debug_console
    assert got.warnings == ()


def test_everything_said() -> None:
    got = settings(
        "[wsl2]\nmemory=2GB\nprocessors=3\nkernel=C:\\\\my\\\\kernel\n"
        'kernelCommandLine = "quiet  debug=1"\nkernelBootTimeout=5000\nvmIdleTimeout=-1\n'
        "defaultVhdSize=64GB\nlocalhostForwarding=false\nnetworkingMode=virtioproxy\n"
        "swap=0\n[general]\ninstanceIdleTimeout=0x10\ndistributionInstallPath=/srv/d\n"
        "distributionListUrl=https://a/b.json\ndistributionListUrlAppend=file:///c.json\n"
        "[experimental]\nignoredPorts=80,443\n"
    )
    assert (got.memory_mib, got.processors, got.swap_mib) == (2048, 3, 0)
    assert got.kernel == Path("C:\\my\\kernel")
    assert got.kernel_arguments == ("quiet", "debug=1")
    assert (got.kernel_boot_timeout_ms, got.vm_idle_timeout_ms) == (5000, -1)
    assert got.instance_idle_timeout_ms == 16
    assert got.default_disk_bytes == 64 * 2**30
    assert got.install_path == Path("/srv/d")
    assert got.distribution_lists == ("file:///c.json", "https://a/b.json")
    assert got.ignored_ports == {80, 443}
    assert got.networking_mode == "Consomme"
    assert not got.localhost_forwarding


@pytest.mark.parametrize(
    ("host_mib", "default_mib"),
    [(16384, 4096), (8192, 4096), (4000, 2000), (600, 300), (300, 256), (100, 256)],
)
def test_default_memory(host_mib: int, default_mib: int) -> None:
    assert default_memory_mib(host_mib) == default_mib


@pytest.mark.parametrize(
    ("memory", "mib"),
    [("1MB", 256), ("0", 4096), ("8GB", 8192), ("64GB", 16384), ("nonsense", 4096)],
)
def test_memory_is_clamped_between_256_mb_and_the_hosts(memory: str, mib: int) -> None:
    assert settings(f"[wsl2]\nmemory={memory}\n").memory_mib == mib


@given(st.integers(0, 2**24), st.integers(0, 2**24))
def test_memory_is_always_within_bounds(wanted_mib: int, host_mib: int) -> None:
    for mib in (clamp_memory_mib(wanted_mib, host_mib), default_memory_mib(host_mib)):
        assert MIN_MEMORY_MIB <= mib <= max(host_mib, MIN_MEMORY_MIB)
    assert default_memory_mib(host_mib) <= DEFAULT_MEMORY_LIMIT_MIB


def test_too_many_processors_are_cut_and_said() -> None:
    got = settings("[wsl2]\nprocessors=99\n")
    assert got.processors == 8
    assert got.warnings == (
        "wsl2.processors cannot exceed the number of logical processors on the system (99 > 8)",
    )
    assert settings("[wsl2]\nprocessors=-3\n").processors == 8
    assert settings("", Host(2**30, 1000)).processors == 64


def test_swap_is_a_quarter_of_the_memory_in_full_gigabytes() -> None:
    assert settings("[wsl2]\nmemory=2GB\n").swap_mib == 1024
    assert settings("[wsl2]\nmemory=5GB\n").swap_mib == 2048
    got = settings("[wsl2]\nswap=300MB\nswapFile=/srv/swap\n")
    assert (got.swap_mib, got.swap_file) == (300, Path("/srv/swap"))


def test_modules_to_load() -> None:
    got = settings("[wsl2]\nloadKernelModules = tun, ,usbip-core,a b,../x\nkernelModules=/m.img\n")
    assert got.modules_to_load == ("tun", "usbip-core")
    assert got.kernel_modules == Path("/m.img")
    assert got.warnings == (
        "wsl2.loadKernelModules: 'a b' is left out",
        "wsl2.loadKernelModules: '../x' is left out",
    )


def test_safe_mode_overrides_what_is_set() -> None:
    got = settings(
        "[wsl2]\nsafeMode=true\nswap=1GB\nkernelModules=/m.img\nloadKernelModules=tun\n"
        "networkingMode=mirrored\n"
    )
    assert (got.swap_mib, got.kernel_modules, got.modules_to_load) == (0, None, ())
    assert got.networking_mode == "None"
    assert got.host_drives == frozenset() and not got.localhost_forwarding


@pytest.mark.parametrize("name", ["kernelBootTimeout", "distributionStartTimeout"])
@pytest.mark.parametrize("value", ["0", "-5", "soon"])
def test_no_time_to_wait_means_the_default(name: str, value: str) -> None:
    got = settings(f"[wsl2]\n{name}={value}\n")
    assert got.kernel_boot_timeout_ms == got.distribution_start_timeout_ms == 120_000


def test_swap_is_a_quarter_of_the_memory_in_full_gib() -> None:
    assert settings("[wsl2]\nmemory=5GB\n").swap_mib == 2048
    assert settings("[wsl2]\nmemory=256MB\n").swap_mib == 1024
    assert settings("[wsl2]\nswap=3GB\n").swap_mib == 3072


def test_what_no_kernel_command_line_can_hold_is_left_out() -> None:
    got = settings('[wsl2]\nkernelCommandLine="ok=1 na\\bme=\u00e4"\n')
    assert got.kernel_arguments == ("ok=1",)
    assert got.warnings == ("wsl2.kernelCommandLine: 'na?me=\u00e4' is left out",)


@given(st.text(max_size=200), st.integers(0, 2**50), st.integers(1, 500))
def test_whatever_the_file_says_a_machine_can_be_made_of_it(
    text: str, memory_bytes: int, processors: int
) -> None:
    host = Host(memory_bytes, processors)
    for said in (text, f"[wsl2]\nkernelCommandLine={text}\nmemory={text}\nprocessors={text}\n"):
        got = settings(said, host)
        MachineSpec(
            qemu=Qemu(Path("q"), Path("i"), QemuVersion(7, 2), (), frozenset()),
            machine=MachineType.Q35,
            accelerator=Accelerator.TCG,
            boot=FirmwareImage(Path("f")),
            memory_mib=got.memory_mib,
            processors=got.processors,
            serial_log=Path("log"),
            kernel_arguments=got.kernel_arguments,
        )


# -- where the file is -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "platform", "path"),
    [
        ({"HOME": "/home/u", "USERPROFILE": "x"}, "linux", "/home/u/.wslconfig"),
        ({"USERPROFILE": "/Users/u", "HOME": "x"}, "win32", "/Users/u/.wslconfig"),
        ({"HOME": "/home/u", "ISTHMUS_WSLCONFIG": "/etc/w"}, "linux", "/etc/w"),
        ({"ISTHMUS_WSLCONFIG": "/etc/w"}, "win32", "/etc/w"),
    ],
)
def test_where_the_file_is(environment: dict[str, str], platform: str, path: str) -> None:
    assert find_wslconfig(environment, platform) == Path(path)


def test_without_a_home_there_is_no_file() -> None:
    assert find_wslconfig({}, "linux") is None
    assert SettingsFile(None, host=lambda: HOST).current() == settings("")


def test_lists_from_the_environment_come_first() -> None:
    urls = extra_distribution_lists({"ISTHMUS_DISTRIBUTION_LIST": " https://a  file:///b "})
    assert urls == ("https://a", "file:///b")
    assert extra_distribution_lists({}) == ()
    config = read_config(
        "[general]\ndistributionListUrl=https://c", WSLCONFIG, "F", stop_at_malformed=False
    )
    assert settings_from(config, HOST, urls).distribution_lists == (*urls, "https://c")


# -- reading it ------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".wslconfig"


def test_a_missing_file_means_defaults_without_a_word(file: Path) -> None:
    assert SettingsFile(file, host=lambda: HOST).current() == settings("")


@pytest.mark.parametrize(
    "data",
    [
        b"[wsl2]\nmemory=1GB\n",
        b"\xef\xbb\xbf[wsl2]\r\nmemory=1GB\r\n",
        "[wsl2]\r\nmemory=1GB\r\n".encode("utf-16"),
        b"\xfe\xff" + "[wsl2]\nmemory=1GB\n".encode("utf-16-be"),
        b"# caf\xe9\n[wsl2]\nmemory=1GB",
    ],
    ids=["utf-8", "bom", "utf-16", "utf-16-be", "latin-1 comment"],
)
def test_the_encodings_that_editors_write(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    assert SettingsFile(file, host=lambda: HOST).current().memory_mib == 1024


def test_warnings_come_once_and_again_after_a_change(file: Path) -> None:
    file.write_text("[wsl2]\na=1\n")
    source = SettingsFile(file, host=lambda: HOST)
    assert source.take_warnings() == (f"Unknown key 'wsl2.a' in {file}:2",)
    assert source.take_warnings() == ()
    assert source.current().warnings  # still known, for whoever asks for the status
    file.write_text("[wsl2]\nbb=1\n")
    assert source.take_warnings() == (f"Unknown key 'wsl2.bb' in {file}:2",)
    assert source.take_warnings() == ()


def test_a_change_counts_and_so_does_removal(file: Path) -> None:
    source = SettingsFile(file, host=lambda: HOST)
    assert source.current().processors == 8
    file.write_text("[wsl2]\nprocessors=2\n")
    assert source.current().processors == 2
    file.unlink()
    assert source.current().processors == 8


def test_an_unusable_file_is_a_warning_and_defaults(file: Path) -> None:
    file.mkdir()
    got = SettingsFile(file, host=lambda: HOST).current()
    assert got.memory_mib == 4096
    assert got.warnings == (
        f"{file} could not be read, so the defaults hold: it is not an ordinary file",
    )


def test_a_pipe_or_an_endless_file_does_not_hang(file: Path, tmp_path: Path) -> None:
    os.mkfifo(file)
    assert "not an ordinary file" in SettingsFile(file, host=lambda: HOST).current().warnings[0]
    long = tmp_path / "long"
    long.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert "longer than" in SettingsFile(long, host=lambda: HOST).current().warnings[0]


def test_a_directory_that_is_none_is_a_warning(file: Path) -> None:
    file.write_text("")
    got = SettingsFile(file / "below", host=lambda: HOST).current()
    assert "Not a directory" in got.warnings[0]


@pytest.mark.parametrize(
    ("value", "drives", "warnings"),
    [
        ("true", None, 0),
        ("1", None, 0),
        ("false", frozenset(), 0),
        ("C", frozenset("C"), 0),
        ("c:, d, unc", frozenset({"C", "D", "UNC"}), 0),
        ("C, everything", frozenset("C"), 1),
        ("maybe", frozenset(), 1),
    ],
)
def test_drives_that_distributions_reach(
    value: str, drives: frozenset[str] | None, warnings: int
) -> None:
    got = settings(f"[wsl2]\nhostFileSystemAccess = {value}\n")
    assert got.host_drives == drives
    assert len(got.warnings) == warnings
