"""Our own kernel: kernel.config and Debian's kernel source, compiled on this host."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import psutil

from vm.image.cache import Cache, Entry, Meta
from vm.image.deb import unpack_deb
from vm.image.errors import BuildFailed, ToolMissing
from vm.image.kernel_modules import modules_tree, pick_modules
from vm.image.packages import BOOT_MODULES, MODULES
from vm.image.progress import Progress, silent
from vm.image.tools import ENVIRONMENT, KERNEL_TOOLS, LOG_TAIL_LINES, find_tool, run_tool
from vm.image.treefile import write_tree

KIND = "kernel-tuned"
RECIPE = "1"
"""Changed whenever this code makes something else of the same inputs."""

CONFIG = Path(__file__).with_name("kernel.config")
PATCHES = Path(__file__).with_name("patches")
"""Changes to the kernel's source, applied in the order of their names."""
VMLINUX = "vmlinux"
BZIMAGE = "bzImage"
MODULES_TAR = "modules.tar"
USED_CONFIG = "config"
LOG = "build.log"
SOURCE_TAR = r"usr/src/linux-source-[0-9.]+\.tar\.xz"
CONFIGURE_TIMEOUT_S = 600
BUILD_TIMEOUT_S = 4 * 3600
APPROXIMATE_STEPS = 3000
"""Lines that the build prints; only the progress shown depends on it."""

BUILD_ENVIRONMENT = {
    # So that the same inputs give the same kernel.
    "KBUILD_BUILD_TIMESTAMP": "2026-01-01",
    "KBUILD_BUILD_USER": "isthmus",
    "KBUILD_BUILD_HOST": "isthmus",
    "KBUILD_BUILD_VERSION": "1",
}


def patches() -> list[Path]:
    """The patch files, in order."""
    return sorted(PATCHES.glob("*.patch"))


def config_digest() -> str:
    """The SHA-256 of the configuration and patches that this version of Isthmus wants."""
    digest = hashlib.sha256()
    for path in (CONFIG, *patches()):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_current(entry: Entry) -> bool:
    """Whether the kernel has the configuration that this version of Isthmus wants."""
    return entry.meta.get("config") == config_digest()


def compiler() -> str:
    """The compiler's name and version. Raises ToolMissing, BuildFailed."""
    output = run_tool("asking gcc for its version", ["gcc", "--version"], timeout_s=30)
    return output.partition("\n")[0]


def key(source_sha256: str, compiler_version: str) -> str:
    """What the kernel depends on."""
    rules = repr((MODULES, BOOT_MODULES))
    parts = (RECIPE, source_sha256, config_digest(), compiler_version, rules)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def missing_options(wanted: str, used: str) -> list[str]:
    """The lines of the configuration `wanted` that `used` (.config) does not grant. Pure.

    Kconfig silently drops an option whose dependencies are not met.
    """
    granted = set(used.splitlines())
    missing = []
    for line in wanted.splitlines():
        if not line.startswith("CONFIG_"):
            continue
        name, _, value = line.partition("=")
        if value == "n":
            if any(other.startswith(f"{name}=") for other in granted):
                missing.append(line)
        elif line not in granted:
            missing.append(line)
    return missing


def check_tools() -> None:
    """Raises ToolMissing for the first thing that a build needs and that is not here."""
    for tool in KERNEL_TOOLS:
        find_tool(tool)
    try:
        # objtool, which is built and run on the way, reads ELF files.
        argv = ["gcc", "-fsyntax-only", "-include", "gelf.h", "-x", "c", os.devnull]
        run_tool("looking for libelf", argv, timeout_s=30)
    except BuildFailed:
        raise ToolMissing("libelf (its header gelf.h)", "libelf-dev") from None


def unpack_source(deb: Path, source: str, directory: Path) -> Path:
    """The kernel's source tree below `directory`, from the package file `deb`.

    Raises PackageMalformed, BuildFailed.
    """
    package = unpack_deb(deb, source, lambda path: re.fullmatch(SOURCE_TAR, path) is not None)
    archives = list(package.nodes)
    path = next((name for name in archives if name.endswith(".tar.xz")), None)
    if path is None:
        raise BuildFailed("unpacking the kernel source", [f"{source} has no source archive"])
    archive = directory / "source.tar.xz"
    archive.write_bytes(package.file(path))
    # tar(1): the archive is Debian's own, and Python takes a minute for its 86,000 files.
    argv = ["tar", "-xf", str(archive), "-C", str(directory), "--no-same-owner"]
    run_tool("unpacking the kernel source", argv, timeout_s=CONFIGURE_TIMEOUT_S)
    archive.unlink()
    trees = [entry for entry in directory.iterdir() if entry.is_dir()]
    if len(trees) != 1:
        raise BuildFailed("unpacking the kernel source", ["not one directory"])
    return trees[0]


def apply_patches(tree: Path) -> None:
    """Apply our patches to the source in `tree`. Raises BuildFailed where one does not fit."""
    for path in patches():
        argv = ["patch", "-p1", "--batch", "--forward", "--fuzz=0", "-i", str(path)]
        run_tool(f"applying {path.name}", argv, timeout_s=CONFIGURE_TIMEOUT_S, cwd=tree)


def configure(tree: Path) -> str:
    """Make .config from kernel.config and check that all of it was granted. Raises BuildFailed."""
    argv = ["make", "allnoconfig", f"KCONFIG_ALLCONFIG={CONFIG}"]
    run_tool("configuring the kernel", argv, timeout_s=CONFIGURE_TIMEOUT_S, cwd=tree)
    used = (tree / ".config").read_text()
    missing = missing_options(CONFIG.read_text(), used)
    if missing:
        raise BuildFailed("configuring the kernel: options not granted", missing)
    return used


def compile_kernel(tree: Path, log: Path, jobs: int, progress: Progress = silent) -> None:
    """`make` in `tree`, every line kept in `log`. Raises BuildFailed."""
    label = "compiling the kernel"
    tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
    with (
        log.open("a", encoding="utf-8") as file,
        subprocess.Popen(
            [find_tool("make"), f"-j{jobs}", "vmlinux", "bzImage", "modules"],
            cwd=tree,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**ENVIRONMENT, **BUILD_ENVIRONMENT},
            text=True,
            errors="replace",
        ) as process,
    ):
        timer = threading.Timer(BUILD_TIMEOUT_S, _end_all, (process.pid,))
        timer.daemon = True
        timer.start()
        try:
            for count, line in enumerate(process.stdout or (), start=1):
                file.write(line)
                tail.append(line.rstrip())
                progress(label, min(count, APPROXIMATE_STEPS - 1), APPROXIMATE_STEPS)
            status = process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:
                _end_all(process.pid)
    if status:
        raise BuildFailed(label, tail)
    progress(label, APPROXIMATE_STEPS, APPROXIMATE_STEPS)


def _end_all(pid: int) -> None:
    """End a process and all that it has started, if it is still there."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


def collect(tree: Path, directory: Path) -> str:
    """Take what the build has made to `directory`; returns the kernel's release.

    Raises BuildFailed, ToolMissing.
    """
    release = (tree / "include/config/kernel.release").read_text().strip()
    # QEMU reads the symbol tables into memory, and nobody reads them there.
    argv = ["strip", "-s", "-o", str(directory / VMLINUX), str(tree / "vmlinux")]
    run_tool("stripping the kernel", argv, timeout_s=CONFIGURE_TIMEOUT_S)
    shutil.copyfile(tree / "arch/x86/boot/bzImage", directory / BZIMAGE)
    shutil.copyfile(tree / ".config", directory / USED_CONFIG)
    write_tree(modules_tree(release, *pick_modules(built_modules(tree))), directory / MODULES_TAR)
    return release


def built_modules(tree: Path) -> dict[str, Callable[[], bytes]]:
    """The modules that were built: a reader each, by path below /lib/modules/<release>."""

    def reader(path: Path) -> Callable[[], bytes]:
        return lambda: path.read_bytes()

    names = (tree / "modules.order").read_text().split()
    objects = [name.removesuffix(".o").removesuffix(".ko") + ".ko" for name in names]
    return {f"kernel/{name}": reader(tree / name) for name in objects}


def build(
    cache: Cache, entry_key: str, deb: Path, source: str, jobs: int, progress: Progress = silent
) -> Entry:
    """Build the kernel; the log is in the entry, or, of a failed build, in the cache's root.

    Raises BuildFailed, ToolMissing, PackageMalformed.
    """
    check_tools()
    failed_log = cache.root / "kernel-build.log"

    def builder(directory: Path) -> Meta:
        with cache.scratch() as scratch:
            progress("unpacking the kernel source", 0, 1)
            tree = unpack_source(deb, source, scratch)
            progress("unpacking the kernel source", 1, 1)
            apply_patches(tree)
            configure(tree)
            failed_log.write_text("")
            try:
                compile_kernel(tree, failed_log, jobs, progress)
            except BuildFailed as error:
                raise BuildFailed(error.step, error.log_tail, failed_log) from None
            release = collect(tree, directory)
        shutil.move(failed_log, directory / LOG)
        return {
            "release": release,
            "package": source,
            "compiler": compiler(),
            "config": config_digest(),
        }

    return cache.build(KIND, entry_key, builder)
