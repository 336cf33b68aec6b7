"""What .wslconfig makes of the machine and its life, as seen from inside and from the host."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli_harness import (
    BOOT_TIMEOUT_S,
    WAKEFUL,
    Isthmus,
    require,
    wait_until,
)
from vm.image.kernel_debian import MODULES_TAR
from vm.image.prepare import find_prepared

pytestmark = pytest.mark.vm

DUMMY = "kernel/drivers/net/dummy.ko"
"""A module that every kernel of ours has, and that nothing loads by itself."""


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory, tiny_tar: Path) -> Iterator[Isthmus]:
    """An Isthmus whose machine has swap space, modules, a console that is shown and kept."""
    directory = tmp_path_factory.mktemp("furnished")
    wslconfig = directory / "wslconfig"
    wslconfig.write_text(
        f"{WAKEFUL}swap=64MB\nswapFile={directory}/swap.img\nkernelModules={directory}/modules.img\n"
        f"debugConsole=true\ndebugConsoleLogFile={directory}/console.log\nearlyBootLogging=true\n"
        "loadKernelModules=no_such_module,dummy\nnestedVirtualization=false\n"
        "hardwarePerformanceCounters=false\nmountDeviceTimeout=60000\n"
    )
    isthmus = Isthmus(directory / "home", ISTHMUS_WSLCONFIG=str(wslconfig))
    try:
        yield isthmus
    finally:
        isthmus.end()


def make_modules(target: Path, release: str) -> None:
    """A file system with one module of the booted kernel, what depmod leaves, and a mark."""
    mkfs = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    require(mkfs is not None, "e2fsprogs is needed for an image of modules")
    assert mkfs is not None
    tree = target.with_suffix(".tree")
    modules = tree / "lib" / "modules" / release
    modules.mkdir(parents=True)
    image = find_prepared()
    assert image is not None
    with tarfile.open(image.kernel.with_name(MODULES_TAR)) as tar:
        packed = tar.extractfile(f"usr/lib/modules/{release}/{DUMMY}")
        assert packed is not None
        (modules / "dummy.ko").write_bytes(packed.read())
    (modules / "modules.dep").write_text("dummy.ko:\n")
    (modules / "mark").write_text("from the user's image\n")
    argv = [mkfs, "-q", "-d", str(tree), str(target), "4M"]
    subprocess.run(argv, check=True, timeout=60)


def test_the_console_is_shown_while_it_boots_and_kept(furnished: Isthmus) -> None:
    done = furnished.run("--system", "-e", "uname", "-r", timeout=BOOT_TIMEOUT_S)
    assert done.returncode == 0, done
    release = done.stdout.decode().strip()
    lines = done.stderr.decode().splitlines()
    # Both are only said by the kernel and by init, and neither with `quiet` alone.
    assert any(f"Linux version {release} " in line for line in lines)
    assert any("earlyprintk" in line for line in lines)
    assert lines.count("agent: ready") == 1
    kept = (furnished.home.parent / "console.log").read_text(errors="replace")
    assert f"Linux version {release} " in kept
    again = furnished.run("--system", "-e", "true")
    assert "Linux version" not in again.stderr.decode()


def test_what_is_wrong_with_modules_is_said_once(furnished: Isthmus) -> None:
    """There is no image yet. What was said to the command before may be this one's to hear."""
    log = furnished.logs()
    assert "kernel modules, as .wslconfig asks for them" in log
    assert furnished.run("--system", "-e", "true").stderr == b""


def test_swap_space_comes_and_leaves_no_file(furnished: Isthmus) -> None:
    def sizes() -> list[str]:
        rows = furnished.text("--system", "-e", "cat", "/proc/swaps").splitlines()[1:]
        return [row.split()[2] for row in rows]

    wait_until(sizes, "swap space")
    assert sizes() == [str(64 * 1024 - 4)]  # KiB, without mkswap's own page
    file = furnished.home.parent / "swap.img"
    assert not file.exists()
    descriptors = Path(f"/proc/{furnished.qemu().pid}/fd").iterdir()
    assert f"{file} (deleted)" in {os.readlink(link) for link in descriptors}


def test_the_processor_lacks_what_was_taken_away(furnished: Isthmus) -> None:
    flags = furnished.text("--system", "-e", "grep", "-m1", "^flags", "/proc/cpuinfo").split()
    assert "fpu" in flags
    assert not {"svm", "vmx", "arch_perfmon"} & set(flags)


def test_processes_are_asked_to_end_when_all_shuts_down(furnished: Isthmus, tiny_tar: Path) -> None:
    furnished.make("t", tiny_tar)
    script = (
        "trap 'echo asked > /root/asked; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    )
    with furnished.started("-d", "t", "-e", "sh", "-c", script) as command:
        assert command.stdout.readline() == b"ready\n"
        furnished.ok("--shutdown")
        assert command.status() in (0, 252)  # as it saw its own end first, or the machine's
    assert not furnished.qemus()
    assert furnished.json("--status", "--json")["machine_state"] == "stopped"
    assert furnished.json("--list", "--json")[0]["state"] == "Stopped"


def test_modules_of_the_users_own_are_in_the_system_and_in_distributions(
    furnished: Isthmus,
) -> None:
    """The machine boots once more, with an image; and what was asked to end above had its time."""
    release = furnished.json("--status", "--json")["kernel"].split()[0]
    make_modules(furnished.home.parent / "modules.img", release)
    done = furnished.run("-d", "t", "cat /root/asked; cat /lib/modules/*/mark", timeout=300)
    assert done.stdout == b"asked\nfrom the user's image\n", done
    warning = "the kernel has no module no_such_module"
    assert sum(warning in line for line in done.stderr.decode().splitlines()) == 1
    place = f"/lib/modules/{release}"
    assert furnished.text("--system", "-e", "cat", f"{place}/mark") == "from the user's image"
    assert furnished.run("-d", "t", "-e", "touch", f"{place}/x").returncode != 0
    # One of the two that are asked for is in this image, and the kernel has taken it.
    loaded = furnished.text("--system", "-e", "cat", "/proc/modules").splitlines()
    assert "dummy" in {line.split()[0] for line in loaded}


def test_shutdown_by_force_waits_for_nobody(furnished: Isthmus) -> None:
    script = "trap '' TERM HUP INT; echo ready; while :; do sleep 0.05; done"
    with furnished.started("-d", "t", "-e", "sh", "-c", script) as command:
        assert command.stdout.readline() == b"ready\n"
        furnished.ok("--shutdown", "--force")
        assert not furnished.qemus()
        assert command.status() in (128 + signal.SIGKILL, 252)
    assert furnished.ok("--shutdown") == b""  # nothing to do is no error


# -- idle times and safe mode ----------------------------------------------------------------------


@pytest.fixture
def sleepy(tmp_path: Path) -> Iterator[Isthmus]:
    """An Isthmus in safe mode that does not wait long for its next command."""
    wslconfig = tmp_path / "wslconfig"
    wslconfig.write_text(
        "[wsl2]\nsafeMode=true\nswap=64MB\nvmIdleTimeout=1500\n[general]\ninstanceIdleTimeout=700\n"
    )
    isthmus = Isthmus(tmp_path / "home", ISTHMUS_WSLCONFIG=str(wslconfig))
    try:
        yield isthmus
    finally:
        isthmus.end()


def test_what_nobody_uses_ends_and_comes_back(sleepy: Isthmus, tiny_tar: Path) -> None:
    assert sleepy.run("--install", "--no-distribution", timeout=BOOT_TIMEOUT_S).returncode == 0
    assert sleepy.qemus() and sleepy.registered() == []
    sleepy.make("used", tiny_tar)
    sleepy.make("idle", tiny_tar)
    with sleepy.started("-d", "used", "-e", "cat", stdin=subprocess.PIPE) as command:
        command.stdin.write(b"here\n")
        command.stdin.flush()
        assert command.stdout.readline() == b"here\n"
        first = sleepy.text(
            "-d",
            "used",
            "cat /proc/sys/kernel/random/boot_id; sleep 999 </dev/null >/dev/null 2>&1 &",
        )
        # Its client is gone sooner than this one comes, and neither looks nor lists keep it.
        sleepy.ok("-d", "idle", "-e", "true")
        wait_until(lambda: _state(sleepy, "idle") == "Stopped", "the idle one's end")
        assert _state(sleepy, "used") == "Running"
        command.stdin.write(b"still\n")
        command.stdin.flush()
        assert command.stdout.readline() == b"still\n"
        command.stdin.close()
        assert command.status() == 0
    # What was left in the background does not keep it.
    wait_until(lambda: _state(sleepy, "used") == "Stopped", "the used one's end")
    wait_until(lambda: not sleepy.qemus(), "the machine's end")
    done = sleepy.run("-d", "used", "cat /proc/sys/kernel/random/boot_id", timeout=BOOT_TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, b"")  # nothing went wrong, so nothing is said
    assert done.stdout.decode().strip() not in ("", first)
    # Safe mode: no network, no swap space.
    assert sleepy.text("--system", "ls /sys/class/net; sed 1d /proc/swaps") == "lo"


def _state(isthmus: Isthmus, name: str) -> str:
    (row,) = [row for row in isthmus.json("--list", "--json") if row["name"] == name]
    return str(row["state"])
