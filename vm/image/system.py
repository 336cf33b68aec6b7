"""The system image: a read-only erofs of Debian packages, our guest code and kernel modules.

No maintainer script runs and nothing is installed: packages are unpacked, pruned, and joined by
the files of guest/rootfs.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from vm.image import elf, packages
from vm.image.cache import Cache, Entry, Meta
from vm.image.deb import unpack_deb
from vm.image.errors import BuildFailed, BuildUnsupported
from vm.image.guest_python import (
    CODE_DIRECTORY,
    LIBRARY_DIRECTORIES,
    bundle_agent,
    compile_python,
)
from vm.image.progress import Progress, silent
from vm.image.tools import run_tool
from vm.image.tree import Directory, File, Link, Tree, normal_path
from vm.image.treefile import read_tree, write_tree

BASE_KIND = "base"
KIND = "system"
RECIPE = "2"
"""Changed whenever this code makes something else of the same inputs."""

SYSTEM = "system.erofs"
BASE_TAR = "base.tar"
SOURCE_ROOT = Path(__file__).resolve().parents[2]
NATIVE_DIRECTORY = "usr/libexec/isthmus"
NATIVE_TEST_SUFFIXES = ("-table", "-test")
"""Programs of guest/native/build that only tests run."""
MKFS_TIMEOUT_S = 600


def own_files() -> Tree:
    """What this project adds to the packages: guest/rootfs, wire, guest, native programs."""
    tree = Tree()
    rootfs = SOURCE_ROOT / "guest" / "rootfs"
    for path in sorted(rootfs.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":  # tests import what is there
            name = path.relative_to(rootfs).as_posix()
            # Not the mode on this disk: a wheel and a Windows checkout keep none.
            executable = path.read_bytes()[:2] == b"#!"
            tree.add(name, File(0o755 if executable else 0o644, path.read_bytes()))
    for package in ("wire", "guest"):
        for path in sorted((SOURCE_ROOT / package).rglob("*.py")):
            if path.is_relative_to(rootfs):
                continue
            name = path.relative_to(SOURCE_ROOT).as_posix()
            tree.add(f"{CODE_DIRECTORY}/{name}", File(0o644, path.read_bytes()))
    native = SOURCE_ROOT / "guest" / "native" / "build"
    for path in sorted(native.iterdir()) if native.is_dir() else ():
        if not path.is_file() or path.suffix or path.name.endswith(NATIVE_TEST_SUFFIXES):
            continue
        if elf.is_elf(path.read_bytes()[:4]):
            tree.add(f"{NATIVE_DIRECTORY}/{path.name}", File(0o755, path.read_bytes()))
    tree.add(NATIVE_DIRECTORY, Directory())
    tree.add("usr/lib/modules", Directory())  # also with a kernel that has none: users mount theirs
    tree.add(f"{CODE_DIRECTORY}/VERSION", File(0o644, _version().encode() + b"\n"))
    return tree


def _version() -> str:
    try:
        return metadata.version("isthmus")
    except metadata.PackageNotFoundError:
        return "unknown"


def base_tree(debs: Mapping[str, Path], progress: Progress = silent) -> Tree:
    """The packages, unpacked and pruned. Raises PackageMalformed, BuildFailed."""
    tree = Tree()
    for path, mode in packages.DIRECTORIES.items():
        tree.add(path, Directory(mode))
    for count, (name, deb) in enumerate(sorted(debs.items()), start=1):
        tree.merge(unpack_deb(deb, name, partial(packages.wanted, name)))
        progress("unpacking packages", count, len(debs))
    for path, target in packages.LINKS.items():
        # Not through add(): /bin itself is what paths are moved away from.
        tree.nodes[path] = Link(target)
    check_libraries(tree)
    return tree


def link_applets(tree: Tree, listing: str) -> None:
    """Add busybox's applets; `listing` is what `busybox --list-full` prints. Pure."""
    for path in listing.split():
        place = normal_path(path)
        name = place.rpartition("/")[2]
        if name in packages.NOT_BUSYBOX or "/" not in place:
            continue
        if not any(f"{directory}/{name}" in tree.nodes for directory in ("usr/bin", "usr/sbin")):
            tree.add(place, Link("/usr/bin/busybox"))


def check_libraries(tree: Tree) -> None:
    """Refuse a tree with a program or library whose own libraries are not in it.

    This is what makes it safe to prune packages and dependencies. Raises BuildFailed.
    """
    missing = []
    for path, node in tree.walk():
        if not isinstance(node, File) or not elf.is_elf(node.data) or path.endswith(".ko"):
            continue
        for library in elf.needed_libraries(node.data):
            if not any(tree.find(f"{place}/{library}") for place in LIBRARY_DIRECTORIES):
                missing.append(f"{path} needs {library}")
    if missing:
        raise BuildFailed("checking the image's libraries", missing)


def make_erofs(root: Path, target: Path, key: str) -> None:
    """Make the image of the tree at `root`: one fixed time, UUID from `key`, owner root."""
    identity = uuid.UUID(hashlib.sha256(key.encode()).hexdigest()[:32])
    argv = ["mkfs.erofs", "--quiet", "--all-root", "-T0", f"-U{identity}", "-x-1"]
    argv += [str(target), str(root)]
    run_tool("mkfs.erofs", argv, timeout_s=MKFS_TIMEOUT_S)


def base_key(digests: Mapping[str, str]) -> str:
    """What the unpacked packages depend on; `digests`: SHA-256 by package name."""
    total = hashlib.sha256(RECIPE.encode())
    for name, digest in sorted(digests.items()):
        total.update(f"{name} {digest}\n".encode())
    rules = (packages.KEPT, packages.PRUNED, packages.DIRECTORIES, packages.LINKS)
    total.update(repr((rules, sorted(packages.NOT_BUSYBOX))).encode())
    return total.hexdigest()


def system_key(base: str, own: Tree, kernel_entry: str) -> str:
    """What the system image depends on."""
    text = "\0".join((RECIPE, base, own.digest(), kernel_entry))
    return hashlib.sha256(text.encode()).hexdigest()


def check_host() -> None:
    """Raises BuildUnsupported where the image cannot be built."""
    if sys.platform != "linux":
        raise BuildUnsupported("that needs a Linux host")
    machine = os.uname().machine
    if machine != "x86_64":
        raise BuildUnsupported(f"that needs an x86-64 processor, not {machine}")


@dataclass(frozen=True)
class SystemInputs:
    """What a system image is made of."""

    base: Entry
    modules_tar: Path
    release: str
    own: Tree


def build_base(cache: Cache, key: str, debs: Mapping[str, Path], progress: Progress) -> Entry:
    """Unpack the packages and compile their Python. Raises ImageError."""

    def builder(directory: Path) -> Meta:
        tree = base_tree(debs, progress)
        with cache.scratch() as scratch:
            tree.write(scratch)
            argv = [str(scratch / "usr/bin/busybox"), "--list-full"]
            link_applets(tree, run_tool("asking busybox what it does", argv, timeout_s=60))
            library = f"usr/lib/{packages.PYTHON}"
            compile_python(scratch, library, progress)
            for path in sorted((scratch / library).rglob("*.pyc")):
                name = path.relative_to(scratch).as_posix()
                tree.add(name, File(0o644, path.read_bytes()))
        write_tree(tree, directory / BASE_TAR)
        return {}

    return cache.build(BASE_KIND, key, builder)


def build_system(
    cache: Cache, key: str, inputs: SystemInputs, meta: Meta, progress: Progress = silent
) -> Entry:
    """Make the image. Raises BuildFailed, ToolMissing."""

    def builder(directory: Path) -> Meta:
        tree = read_tree(inputs.base.file(BASE_TAR))
        tree.merge(inputs.own)
        tree.merge(read_tree(inputs.modules_tar))
        with cache.scratch() as scratch:
            tree.write(scratch)
            compile_python(scratch, CODE_DIRECTORY, progress)
            bundle_agent(scratch)
            scratch.chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
            progress("making the system image", 0, 1)
            make_erofs(scratch, directory / SYSTEM, key)
            progress("making the system image", 1, 1)
        return {**meta, "release": inputs.release}

    return cache.build(KIND, key, builder)
