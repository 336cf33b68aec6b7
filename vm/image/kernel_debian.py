"""Debian's own kernel as something to boot: bzImage, initial file system, modules."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

from vm.image import initramfs
from vm.image.bzimage import NoKernelInside, extract_vmlinux
from vm.image.cache import Cache, Entry, Meta
from vm.image.deb import unpack_deb
from vm.image.errors import PackageMalformed, ToolMissing
from vm.image.kernel_modules import modules_tree, pick_modules, root_modules
from vm.image.packages import BOOT_MODULES, MODULES, ROOT_MODULES
from vm.image.tree import File, Tree
from vm.image.treefile import write_tree

KIND = "kernel-debian"
RECIPE = "2"
"""Changed whenever this code makes something else of the same package."""

META_PACKAGE = "linux-image-cloud-amd64"
"""Depends on the newest kernel package of the flavour for virtual machines."""
BZIMAGE = "bzImage"
VMLINUX = "vmlinux"
"""The same kernel unpacked, where the host could do that."""
INITRD = "initrd.cpio"
MODULES_TAR = "modules.tar"


def key(package_sha256: str, busybox_sha256: str) -> str:
    """What the entry depends on."""
    rules = repr((MODULES, BOOT_MODULES, ROOT_MODULES))
    parts = (RECIPE, package_sha256, busybox_sha256, initramfs.INIT, rules)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def build(cache: Cache, entry_key: str, deb: Path, source: str, busybox: Path) -> Entry:
    """Make the entry from the package file `deb` (called `source` in errors).

    busybox: the package file of busybox-static. Raises PackageMalformed, BuildFailed.
    """

    def builder(directory: Path) -> Meta:
        package = unpack_deb(
            deb, source, lambda path: path.startswith(("boot/", "usr/lib/modules/"))
        )
        images = [path for path in package.nodes if path.startswith("boot/vmlinuz-")]
        if len(images) != 1:
            raise PackageMalformed(source, f"{len(images)} kernels where there should be one")
        release = images[0].removeprefix("boot/vmlinuz-")
        base = f"usr/lib/modules/{release}/"
        modules, contents = pick_modules(
            {
                path.removeprefix(base): _reader(package, path)
                for path, node in package.walk()
                if isinstance(node, File) and path.startswith(base)
            }
        )
        first = [(module.name, contents[module.name]) for module in root_modules(modules)]
        tools = unpack_deb(busybox, "busybox-static", lambda path: path == "usr/bin/busybox")
        image = package.file(images[0])
        (directory / BZIMAGE).write_bytes(image)
        with contextlib.suppress(NoKernelInside, ToolMissing):
            (directory / VMLINUX).write_bytes(extract_vmlinux(image))
        (directory / INITRD).write_bytes(
            initramfs.make_initramfs(tools.file("usr/bin/busybox"), first)
        )
        write_tree(modules_tree(release, modules, contents), directory / MODULES_TAR)
        return {"release": release, "package": source}

    return cache.build(KIND, entry_key, builder)


def _reader(tree: Tree, path: str) -> Callable[[], bytes]:
    return lambda: tree.file(path)
