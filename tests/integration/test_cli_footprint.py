"""What Linux does not need any more goes back to the host: memory, cache, disk space."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest

from tests.integration.cli_harness import TINY, WAKEFUL, Isthmus, wait_until

pytestmark = pytest.mark.vm

MIB = 2**20
GIVEN_BACK_S = 120.0
"""Generous: how fast it is, `make bench` says."""


def memory_bytes(qemu: psutil.Process) -> int:
    """What QEMU takes of the host's memory."""
    return int(qemu.memory_info().rss)


@pytest.fixture(scope="module", params=["DropCache", "Gradual"])
def saver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_tar: Path
) -> Iterator[Isthmus]:
    """An Isthmus for each way to give cache back."""
    directory = tmp_path_factory.mktemp("saver")
    wslconfig = directory / "wslconfig"
    wslconfig.write_text(
        f"{WAKEFUL}memory=1500MB\nswap=0\n[experimental]\nautoMemoryReclaim={request.param}\n"
    )
    isthmus = Isthmus(directory / "home", ISTHMUS_WSLCONFIG=str(wslconfig))
    try:
        isthmus.make(TINY, tiny_tar)
        yield isthmus
    finally:
        isthmus.end()


def test_cache_goes_back_when_the_machine_is_idle(saver: Isthmus) -> None:
    """Nobody asks for it: a file of 400 MiB has been written, and is on the disk."""
    saver.ok("dd if=/dev/zero of=/big bs=1M count=400 2> /dev/null; sync")
    qemu = saver.qemu()
    full = memory_bytes(qemu)
    wait_until(lambda: memory_bytes(qemu) < full - 150 * MIB, "less memory", GIVEN_BACK_S)
    assert saver.text("wc -c < /big") == str(400 * MIB), "the file is what it was"


def test_memory_that_a_program_has_freed_goes_back(saver: Isthmus) -> None:
    program = (
        "import mmap; m = mmap.mmap(-1, 400 << 20)\n"
        "for i in range(0, 400 << 20, 4096): m[i] = 1\n"
        "print('full', flush=True); input()"
    )
    with saver.started("--system", "-e", "python3", "-c", program, stdin=PIPE) as command:
        assert command.stdout.readline() == b"full\n"
        qemu = saver.qemu()
        full = memory_bytes(qemu)
        command.stdin.write(b"\n")
        command.stdin.close()
        assert command.status() == 0
    wait_until(lambda: memory_bytes(qemu) < full - 350 * MIB, "less memory", GIVEN_BACK_S)


def test_space_of_deleted_files_goes_back(cli: Isthmus, tiny_tar: Path) -> None:
    with cli.having("shrinking", tiny_tar) as place:
        disk = place / "ext4.qcow2"

        def allocated() -> int:
            return disk.stat().st_blocks * 512

        before = allocated()
        data = os.urandom(MIB) * 200  # nothing that could be taken for zeroes
        cli.ok("-d", "shrinking", "-e", "sh", "-c", "cat > /big; sync", input=data)
        full = allocated()
        assert full - before >= 200 * MIB
        cli.ok("-d", "shrinking", "-e", "rm", "/big")
        wait_until(lambda: allocated() < before + 20 * MIB, "a smaller image", GIVEN_BACK_S)
