"""The host's disk is full: clear words, nothing hangs, nothing is lost, and Linux goes on after."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.cli_harness import (
    BOOT_TIMEOUT_S,
    TINY,
    Isthmus,
    RootTar,
    require,
    wait_until,
)
from tests.integration.conftest import lifetime

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

MIB = 1 << 20
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]


class SmallDisk:
    """A file system of a few MiB, which a test can fill to the brim."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, spare_bytes: int = 0) -> None:
        """Take all space but `spare_bytes`."""
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(64 * 1024))
        if spare_bytes:
            os.truncate(self._filler, max(0, self._filler.stat().st_size - spare_bytes))

    def free(self) -> None:
        """Give the space back."""
        self._filler.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], SmallDisk]]:
    """Makes small file systems, which are gone afterwards."""
    mounted: list[Path] = []

    def make(size_bytes: int) -> SmallDisk:
        path = tmp_path / f"small-{len(mounted)}"
        path.mkdir()
        options = f"size={size_bytes},mode=0700,uid={os.getuid()}"
        argv = [*AS_ROOT, "mount", "-t", "tmpfs", "-o", options, "isthmus-test", str(path)]
        done = subprocess.run(argv, capture_output=True, timeout=30, check=False)
        require(done.returncode == 0, f"a small file system cannot be mounted: {done.stderr!r}")
        mounted.append(path)
        return SmallDisk(path)

    try:
        yield make
    finally:
        for path in mounted:
            # Lazily: what a failed test has left running must not keep it.
            subprocess.run([*AS_ROOT, "umount", "-l", path], timeout=30, check=True)


MakeDisk = Callable[[int], SmallDisk]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, tiny_tar: Path) -> Iterator[Isthmus]:
    """An Isthmus on a roomy disk, with one distribution there."""
    for isthmus in lifetime(tmp_path_factory.mktemp("full")):
        isthmus.make(TINY, tiny_tar)
        yield isthmus


@contextlib.contextmanager
def cramped(isthmus: Isthmus, place: Path, tar: Path) -> Iterator[str]:
    """A distribution whose disk is at `place`; gone again afterwards."""
    done = isthmus.run("--import", "cramped", str(place), str(tar), timeout=BOOT_TIMEOUT_S)
    assert done.returncode == 0, done
    try:
        yield "cramped"
    finally:
        done = isthmus.run("--unregister", "cramped")
        assert done.returncode == 0, done


def is_refused(done: subprocess.CompletedProcess[bytes]) -> str:
    """It failed because the disk is full, and says so with a hint; returns what it said."""
    said = done.stderr.decode()
    is_disk_full(done.returncode, said)
    return said


def is_disk_full(status: int, said: str) -> None:
    """What a command ended with and `said` on standard error is that the disk is full."""
    assert status == 255, said
    lines = said.splitlines()
    assert lines[-1].startswith("Error code: ") and lines[-1].endswith("ERROR_DISK_FULL"), said
    assert "Traceback" not in said and "bug" not in said


# -- Linux writes ----------------------------------------------------------------------------------


WRITE = "head -c {count} /dev/urandom > /root/data; sync; sha256sum < /root/data"


def test_linux_waits_for_space_and_loses_nothing(
    full: Isthmus, small_disk: MakeDisk, tiny_tar: Path
) -> None:
    disk = small_disk(96 * MIB)
    with cramped(full, disk.path / "place", tiny_tar) as name:
        full.ok("-d", name, "-e", "true")
        qemu = full.qemu()
        disk.fill(spare_bytes=4 * MIB)
        with full.started("-d", name, "-e", "sh", "-c", WRITE.format(count=24 * MIB)) as writer:
            notice = writer.stderr.readline().decode()
            assert "no space left" in notice and str(disk.path) in notice
            assert "Linux is paused" in notice
            # Others share the machine. They are told at once instead of hanging.
            said = is_refused(full.run("-d", TINY, "-e", "true"))
            assert "--shutdown --force" in said
            is_refused(full.run("--terminate", name))
            assert full.json("--status", "--json")["machine_state"] == "running"
            disk.free()
            assert writer.status(120) == 0
            digest = writer.stdout.read().split()[0].decode()
            assert b"Linux goes on" in writer.stderr.read()
        full.ok("--terminate", name)
        data = full.ok("-d", name, "-e", "cat", "/root/data")
        assert (len(data), hashlib.sha256(data).hexdigest()) == (24 * MIB, digest)
        assert full.qemu() == qemu


def test_the_next_command_goes_on_as_soon_as_there_is_space(
    full: Isthmus, small_disk: MakeDisk, tiny_tar: Path
) -> None:
    """Nobody is connected while it happens: whoever comes next is told."""
    disk = small_disk(96 * MIB)
    with cramped(full, disk.path / "place", tiny_tar) as name:
        disk_full = f"({WRITE.format(count=24 * MIB)}) > /dev/null 2>&1 &"
        full.ok("-d", name, "-e", "true")
        disk.fill(spare_bytes=4 * MIB)
        full.run("-d", name, "-e", "sh", "-c", disk_full)
        wait_until(lambda: full.run("-d", TINY, "-e", "true").returncode == 255, "it to be paused")
        disk.free()
        done = full.run("-d", TINY, "-e", "echo", "works")
        assert (done.returncode, done.stdout) == (0, b"works\n"), done


def test_a_machine_that_waits_for_space_can_be_shut_down(
    full: Isthmus, small_disk: MakeDisk, tiny_tar: Path
) -> None:
    """Without any space: what was fsync'ed is there afterwards, what was on its way is not."""
    disk = small_disk(96 * MIB)
    with cramped(full, disk.path / "place", tiny_tar) as name:
        full.ok("-d", name, "-e", "sh", "-c", "echo kept > /root/kept; sync")
        disk.fill(spare_bytes=4 * MIB)
        with full.started("-d", name, "-e", "sh", "-c", WRITE.format(count=24 * MIB)) as writer:
            assert b"Linux is paused" in writer.stderr.readline()
            assert full.run("--shutdown", timeout=60).returncode == 0
            assert not full.qemus()
            assert writer.status() == 252
        disk.free()
        assert full.text("-d", name, "-e", "cat", "/root/kept", timeout=BOOT_TIMEOUT_S) == "kept"


# -- archives and images ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def large_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distribution that needs more than the small disks have."""
    tar = RootTar(tmp_path_factory.mktemp("tar") / "large.tar").add_system()
    tar.add("./large", os.urandom(40 * MIB))
    return tar.close()


@pytest.mark.parametrize("spare_bytes", [0, 300_000, 30 * MIB])
def test_importing(full: Isthmus, small_disk: MakeDisk, large_tar: Path, spare_bytes: int) -> None:
    """No room for the image, for its file system, for its files: nothing of it is left."""
    disk = small_disk(31 * MIB)
    disk.fill(spare_bytes)
    place = disk.path / "place"
    with full.started("-d", TINY, "-e", "cat", stdin=subprocess.PIPE) as other:
        said = is_refused(full.run("--import", "big", str(place), str(large_tar)))
        assert str(disk.path) in said
        # Nobody else's Linux had to wait for it.
        other.stdin.write(b"still here\n")
        other.stdin.close()
        assert other.stdout.read() == b"still here\n"
    assert not place.exists()
    assert full.registered() == [TINY]
    assert not list((full.home / "unfinished").iterdir())
    # TINY's and the swap space's are left; the guest takes its time to let the other go.
    wait_until(
        lambda: full.ok("--system", "-e", "ls", "/sys/block").count(b"sd") <= 2,
        "the new disk to be unplugged",
    )


def test_exporting(full: Isthmus, small_disk: MakeDisk) -> None:
    full.ok("-d", TINY, "-e", "sh", "-c", f"head -c {8 * MIB} /dev/urandom > /root/ballast")
    disk = small_disk(4 * MIB)
    for target in ("out.tar", "out.tar.gz", "out.vhdx"):
        options = ("--format", "vhd") if target.endswith("vhdx") else ()
        done = full.run("--export", TINY, str(disk.path / target), *options)
        assert done.returncode == 255, done
        assert b"No space left" in done.stderr, done
        assert list(disk.path.iterdir()) == []
    assert full.text("-d", TINY, "-e", "rm", "/root/ballast") == ""


def test_moving_and_converting(full: Isthmus, small_disk: MakeDisk, tmp_path: Path) -> None:
    disk = small_disk(2 * MIB)
    is_refused(full.run("--manage", TINY, "--move", str(disk.path / "there")))
    image = tmp_path / "image.qcow2"
    full.ok("--export", TINY, str(image), "--format", "vhd")
    is_refused(full.run("--import", "copy", str(disk.path / "copy"), str(image), "--vhd"))
    assert list(disk.path.iterdir()) == []
    assert full.registered() == [TINY]
    assert full.text("-d", TINY, "-e", "echo", "works") == "works"


# -- Isthmus's own files ---------------------------------------------------------------------------


def test_a_state_directory_without_space(
    small_disk: MakeDisk, tiny_tar: Path, tmp_path: Path
) -> None:
    """Changes are refused and undone; what is there already works."""
    disk = small_disk(64 * MIB)
    wslconfig = tmp_path / "empty.wslconfig"  # the one beside the state would be on the full disk
    wslconfig.touch()
    for isthmus in lifetime(disk.path / "home"):
        isthmus.environment["ISTHMUS_WSLCONFIG"] = str(wslconfig)
        isthmus.make("one", tiny_tar)
        isthmus.make("two", tiny_tar)
        before = (isthmus.home / "distributions.json").read_bytes()
        disk.fill()
        is_refused(isthmus.run("--set-default", "two"))
        is_refused(isthmus.run("--manage", "two", "--set-default-user", "ada"))
        is_refused(isthmus.run("--import", "three", str(disk.path / "three"), str(tiny_tar)))
        assert (isthmus.home / "distributions.json").read_bytes() == before
        assert isthmus.registered() == ["one", "two"]
        assert not (disk.path / "three").exists()
        # From here on not even the log can be written. What needs no space needs none. What does
        # waits for it and says so, or is refused: the record of QEMU's process, without which a
        # killed service would leave an orphan, finds room only if the last one's is still free.
        isthmus.end()
        with isthmus.started("-d", "one", "-e", "echo", "works") as command:
            os.set_blocking(command.stderr.fileno(), False)
            said = b""

            def is_over_or_waits() -> bool:
                nonlocal said
                said += command.stderr.read() or b""
                return command.process.poll() is not None or b"Linux is paused" in said

            wait_until(is_over_or_waits, "the command to say something", BOOT_TIMEOUT_S)
            disk.free()
            status = command.status(60)
            said += command.stderr.read() or b""
            if status == 0:
                assert command.stdout.read() == b"works\n"
            else:
                is_disk_full(status, said.decode())
        assert isthmus.text("-d", "one", "-e", "echo", "works", timeout=BOOT_TIMEOUT_S) == "works"
