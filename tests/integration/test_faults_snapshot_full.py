"""The cache's disk fills up while a machine is being saved: no snapshot, and no harm."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli_harness import (
    BOOT_TIMEOUT_S,
    TINY,
    WAKEFUL,
    Isthmus,
    require,
    wait_until,
)
from tests.integration.test_faults_disk_full import AS_ROOT, MIB
from vm.image.cache import Cache
from vm.image.prepare import prepare

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]

ROOMY_BYTES = 4096 * MIB
"""More than has to be free for a machine to be saved; a tmpfs takes what is in it."""
LEFT_BYTES = 12 * MIB
"""Some of a machine's memory fits into that, but never all of it."""
MAKING_TIMEOUT_S = 280.0


class ShrinkingDisk:
    """A file system whose size a test sets while it is used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self._mount(f"size={ROOMY_BYTES},mode=0700,uid={os.getuid()}")

    def _mount(self, options: str) -> None:
        argv = [*AS_ROOT, "mount", "-t", "tmpfs", "-o", options, "isthmus-test", str(self.path)]
        done = subprocess.run(argv, capture_output=True, timeout=30, check=False)
        require(done.returncode == 0, f"a file system cannot be mounted: {done.stderr!r}")

    def shrink(self) -> None:
        """Leave no more than LEFT_BYTES free."""
        status = os.statvfs(self.path)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        self._mount(f"remount,size={used + LEFT_BYTES}")

    def grow(self) -> None:
        """Be roomy again."""
        self._mount(f"remount,size={ROOMY_BYTES}")

    def unmount(self) -> None:
        """Be gone, whatever still uses it."""
        subprocess.run([*AS_ROOT, "umount", "-l", self.path], timeout=30, check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[ShrinkingDisk]:
    """One with a cache that has all that a start needs, but no snapshot."""
    image, cache = prepare(), Cache()
    require(image.kernel.is_relative_to(cache.root), "the image is a release's own")
    disk = ShrinkingDisk(tmp_path / "disk")
    try:
        for entry in (image.kernel.parent, image.system.parent):
            shutil.copytree(entry, disk.path / "entries" / entry.name)
        shutil.copytree(cache.root / "resolutions", disk.path / "resolutions")
        shutil.copy(cache.root / "state.json", disk.path)
        yield disk
    finally:
        disk.unmount()


@pytest.fixture
def isthmus(tmp_path: Path, disk: ShrinkingDisk, tiny_tar: Path) -> Iterator[Isthmus]:
    """One that has its cache there, and a distribution; not started yet."""
    wslconfig = tmp_path / "wslconfig"
    wslconfig.write_text(f"{WAKEFUL}memory=512MB\nswap=0\n")
    isthmus = Isthmus(
        tmp_path / "home", ISTHMUS_CACHE=str(disk.path), ISTHMUS_WSLCONFIG=str(wslconfig)
    )
    try:
        isthmus.make(TINY, tiny_tar)
        yield isthmus
    finally:
        isthmus.end()


def _said(isthmus: Isthmus, pattern: str) -> bool:
    log = (isthmus.home / "logs" / "service.log").read_text()
    return re.search(pattern, log) is not None


def _snapshots(disk: ShrinkingDisk) -> list[Path]:
    return list((disk.path / "entries").glob("snapshot-*"))


def test_the_disk_fills_up_while_a_machine_is_saved(isthmus: Isthmus, disk: ShrinkingDisk) -> None:
    """What was saved of it is removed, and it is saved later, once there is space."""
    isthmus.ok("-e", "sh", "-c", "echo kept > /root/kept")
    wait_until(lambda: _said(isthmus, "is booted to be saved"), "one to be booted for it")
    disk.shrink()  # that there is space has been found out by now
    refused = r"no snapshot was made: .*No space left"
    wait_until(lambda: _said(isthmus, refused), isthmus.logs, MAKING_TIMEOUT_S)
    assert _snapshots(disk) == []
    assert list((disk.path / "work").iterdir()) == []
    assert not isthmus.seeds()
    assert isthmus.text("-e", "cat", "/root/kept") == "kept"
    # With the disk as full as it is, the next start boots.
    isthmus.ok("--shutdown")
    assert isthmus.text("-e", "cat", "/root/kept", timeout=BOOT_TIMEOUT_S) == "kept"
    assert not _said(isthmus, "goes on from")
    disk.grow()
    isthmus.ok("--shutdown")
    isthmus.ok("-e", "true", timeout=BOOT_TIMEOUT_S)
    wait_until(lambda: _snapshots(disk), isthmus.logs, MAKING_TIMEOUT_S)
    isthmus.ok("--shutdown")
    assert isthmus.text("-e", "cat", "/root/kept", timeout=BOOT_TIMEOUT_S) == "kept"
    assert _said(isthmus, "goes on from")
