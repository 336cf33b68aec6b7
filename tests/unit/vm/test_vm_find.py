from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vm.cache import JsonCache
from vm.errors import QemuNotFound, QemuTooOld, QemuUnusable
from vm.find import (
    MICROVM_FIRMWARE,
    OVERRIDE_VARIABLE,
    QemuFiles,
    find_qemu,
    locate,
    parse_accelerators,
    parse_data_directories,
    parse_machines,
    parse_version,
)
from vm.spec import Accelerator, MachineType, QemuVersion

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\n", (7, 2, 22)),
        ("QEMU emulator version 11.0.50 (v11.0.0-rc2-dirty)", (11, 0, 50)),
        ("QEMU emulator version 8.0\n", (8, 0, 0)),
    ],
)
def test_version_is_read(output: str, version: tuple[int, int, int]) -> None:
    assert parse_version(output) == QemuVersion(*version)


@given(st.text())
def test_any_other_text_has_no_version(text: str) -> None:
    assert parse_version(text) is None or "QEMU emulator version" in text


def test_accelerators_come_in_order_of_preference_and_strange_ones_are_left_out() -> None:
    output = "Accelerators supported in QEMU binary:\ntcg\nxen\nkvm\nwhpx\r\n"
    assert parse_accelerators(output) == (Accelerator.WHPX, Accelerator.KVM, Accelerator.TCG)


def test_machines_are_the_first_words() -> None:
    output = "Supported machines are:\nmicrovm     microvm (i386)\nq35   Standard PC (alias)\n\n"
    assert parse_machines(output) == frozenset(MachineType)
    assert parse_machines("pc-q35-7.2  Standard PC\n") == frozenset()


def test_data_directories_are_lines() -> None:
    assert parse_data_directories("/a/b\n/c d\n\n") == (Path("/a/b"), Path("/c d"))


# -- which program ---------------------------------------------------------------------------


def make_program(path: Path, script: str = "exit 0") -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(0o755)
    return path


def make_programs(directory: Path, script: str = "exit 0") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    make_program(directory / "qemu-system-x86_64", script)
    make_program(directory / "qemu-img", script)
    return directory


@posix_only
def test_the_override_wins_over_path(tmp_path: Path) -> None:
    ours, other = make_programs(tmp_path / "ours"), make_programs(tmp_path / "other")
    for override in (ours, ours / "qemu-system-x86_64"):
        files = locate({OVERRIDE_VARIABLE: str(override), "PATH": str(other)})
        assert files == QemuFiles(ours / "qemu-system-x86_64", ours / "qemu-img")


@posix_only
def test_a_wrong_override_is_not_passed_over(tmp_path: Path) -> None:
    other = make_programs(tmp_path / "other")
    with pytest.raises(QemuNotFound) as caught:
        locate({OVERRIDE_VARIABLE: str(tmp_path / "none"), "PATH": str(other)})
    assert caught.value.searched == (str(tmp_path / "none"),)


@posix_only
def test_path_is_searched_and_named_when_it_has_none(tmp_path: Path) -> None:
    directory = make_programs(tmp_path / "bin")
    assert locate({"PATH": f"/nowhere:{directory}"}).system == directory / "qemu-system-x86_64"
    (directory / "qemu-img").unlink()
    with pytest.raises(QemuNotFound) as caught:
        locate({"PATH": f"/nowhere:{directory}"})
    assert caught.value.program == "qemu-img"
    assert "ISTHMUS_QEMU" in caught.value.hint
    assert caught.value.searched == ("/nowhere", str(directory))


@posix_only
def test_firmware_beside_the_program_is_passed_on(tmp_path: Path) -> None:
    directory = make_programs(tmp_path / "bin")
    data = directory / "share" / "qemu"
    data.mkdir(parents=True)
    (data / "bios-256k.bin").touch()
    assert locate({OVERRIDE_VARIABLE: str(directory)}).data_directory == data


# -- what it says of itself: shell scripts that answer as QEMU does ----------------------------

TALKING = """
echo run >> "$0.runs"
case "$*" in
*-sandbox*) exit {sandbox} ;;
*version*) echo 'QEMU emulator version {version}' ;;
*accel*) echo tcg ;;
*machine*) echo 'microvm x'; echo 'q35 x' ;;
*-L*) echo {data} ;;
*) exit 9 ;;
esac
"""


def talking(directory: Path, *, version: str = "9.1.0", sandbox: int = 0) -> dict[str, str]:
    data = directory / "data"
    make_programs(directory, TALKING.format(version=version, sandbox=sandbox, data=data))
    data.mkdir(exist_ok=True)
    return {OVERRIDE_VARIABLE: str(directory), "PATH": "/bin:/usr/bin"}


@posix_only
def test_abilities_are_asked_for_once(tmp_path: Path) -> None:
    environment = talking(tmp_path)
    cache = JsonCache(tmp_path / "cache.json")
    first = asyncio.run(find_qemu(environment=environment, cache=cache))
    asked = (tmp_path / "qemu-system-x86_64.runs").read_text(encoding="ascii").count("run")
    assert first.version == QemuVersion(9, 1, 0)
    assert first.accelerators == (Accelerator.TCG,)
    assert first.sandbox
    assert asyncio.run(find_qemu(environment=environment, cache=cache)) == first
    again = (tmp_path / "qemu-system-x86_64.runs").read_text(encoding="ascii").count("run")
    assert asked == again > 0


@posix_only
def test_another_program_is_asked_anew(tmp_path: Path) -> None:
    cache = JsonCache(tmp_path / "cache.json")
    first = asyncio.run(find_qemu(environment=talking(tmp_path), cache=cache))
    changed = talking(tmp_path, version="10.0.1 and so of another size", sandbox=1)
    second = asyncio.run(find_qemu(environment=changed, cache=cache))
    assert second == replace(first, version=QemuVersion(10, 0, 1), sandbox=False)


@posix_only
def test_microvm_counts_only_with_its_firmware(tmp_path: Path) -> None:
    environment = talking(tmp_path)
    assert asyncio.run(find_qemu(environment=environment)).machines == {MachineType.Q35}
    for name in MICROVM_FIRMWARE:
        (tmp_path / "data" / name).touch()
    assert asyncio.run(find_qemu(environment=environment)).machines == frozenset(MachineType)


@posix_only
def test_an_old_one_is_refused_also_from_the_cache(tmp_path: Path) -> None:
    environment = talking(tmp_path, version="7.1.0")
    cache = JsonCache(tmp_path / "cache.json")
    for _ in range(2):
        with pytest.raises(QemuTooOld, match=r"7\.1\.0 .* older than 7\.2\.0"):
            asyncio.run(find_qemu(environment=environment, cache=cache))


@posix_only
@pytest.mark.parametrize("script", ["exit 1", "echo hello", "kill -9 $$"])
def test_a_program_that_is_not_qemu_is_said_to_be_so(tmp_path: Path, script: str) -> None:
    make_programs(tmp_path, script)
    with pytest.raises(QemuUnusable):
        asyncio.run(find_qemu(environment={OVERRIDE_VARIABLE: str(tmp_path)}))


@posix_only
def test_a_cache_entry_of_the_wrong_shape_is_asked_anew(tmp_path: Path) -> None:
    environment = talking(tmp_path)
    path = tmp_path / "cache.json"
    first = asyncio.run(find_qemu(environment=environment, cache=JsonCache(path)))
    path.write_text(path.read_text(encoding="ascii").replace('"tcg"', "7"), encoding="ascii")
    assert asyncio.run(find_qemu(environment=environment, cache=JsonCache(path))) == first
