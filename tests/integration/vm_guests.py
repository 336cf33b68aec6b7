"""Guests of a few bytes, for machines that run no operating system, and helpers for such machines.

Each is a ROM that begins in real mode at the reset vector (Intel SDM vol. 3, 9.1.4).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

import psutil

from vm.find import find_qemu
from vm.spec import Accelerator, FirmwareImage, MachineSpec, MachineType, Qemu

T = TypeVar("T")

_ROM_BYTES = 0x10000
_SERIAL_PORT = 0x3F8  # the first serial port, ready to print without being set up in QEMU


def rom(code: bytes) -> bytes:
    """The 64 KiB image that executes `code` first."""
    image = bytearray(_ROM_BYTES)
    image[: len(code)] = code
    image[0xFFF0:0xFFF3] = b"\xe9" + (_ROM_BYTES - 0xFFF3).to_bytes(2, "little")  # jmp code
    return bytes(image)


def saying(text: str) -> bytes:
    """Code that prints `text` on the serial console."""
    code = b"\xba" + _SERIAL_PORT.to_bytes(2, "little")  # mov dx, port
    for character in text.encode("ascii"):
        code += bytes([0xB0, character, 0xEE])  # mov al, character; out dx, al
    return code


HALTING = b"\xfa\xf4\xeb\xfd"
"""cli; hlt; jmp -1: deaf to everything, as a guest that has hung."""

RESTARTING = b"\x2e\x0f\x01\x1e\x80\x00\xcc"
"""lidt cs:[0x80], where there are zeroes; int3: a triple fault, the way our kernel restarts."""


def finish(work: Coroutine[object, object, T]) -> T:
    """Run `work`, and fail if it leaves a child process behind."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    result = asyncio.run(work)
    left = {child.pid for child in psutil.Process().children(recursive=True)} - before
    assert left == set(), f"left behind: {left}"
    return result


async def real_qemu() -> Qemu:
    """The QEMU that is installed here."""
    return await find_qemu(environment=os.environ)


async def spec_for(
    directory: Path,
    code: bytes = HALTING,
    *,
    machine: MachineType = MachineType.Q35,
    name: str = "guest",
) -> MachineSpec:
    """A small machine that runs `code`, with its files in `directory`."""
    image = directory / f"{name}.rom"
    image.write_bytes(rom(code))
    return MachineSpec(
        qemu=await real_qemu(),
        machine=machine,
        accelerator=Accelerator.TCG,
        boot=FirmwareImage(image),
        memory_mib=32,
        processors=1,
        serial_log=directory / f"{name}.log",
        ports=("org.isthmus.agent", "org.isthmus.drive"),
        name=name,
    )
