"""Picking a kernel's modules and putting them into an image in a form modprobe can use. Pure."""

from __future__ import annotations

import lzma
from collections.abc import Callable, Mapping

from vm.image import packages
from vm.image.elf import MalformedElf
from vm.image.errors import BuildFailed
from vm.image.modules import (
    MISC_MAJOR,
    Module,
    load_order,
    module_name,
    modules_alias,
    modules_dep,
    read_module,
)
from vm.image.tree import File, Tree

_PICKED = packages.matcher(packages.MODULES)


def _unpacked(path: str, data: bytes) -> tuple[str, bytes]:
    """A module as it must be in the image: not compressed, for unpacking costs boot time."""
    if path.endswith(".ko.xz"):
        return path.removesuffix(".xz"), lzma.decompress(data)
    return path, data


def pick_modules(
    available: Mapping[str, Callable[[], bytes]],
) -> tuple[dict[str, Module], dict[str, bytes]]:
    """The modules the image takes, by name, and the contents of each.

    available: reads each module file, by path below /lib/modules/<release>. Taken is what
    `packages.MODULES` names, what those need, and what they would rather have.
    Raises BuildFailed for a module that is not one.
    """
    paths = {module_name(path): path for path in available if ".ko" in path.rpartition("/")[2]}
    queue = [name for name, path in paths.items() if _PICKED.match(path)]
    modules: dict[str, Module] = {}
    contents: dict[str, bytes] = {}
    while queue:
        name = queue.pop()
        if name in modules or name not in paths:
            continue
        try:
            path, data = _unpacked(paths[name], available[paths[name]]())
            module = read_module(path, data)
        except (MalformedElf, lzma.LZMAError) as error:
            raise BuildFailed(f"reading the kernel module {paths[name]}", [str(error)]) from error
        modules[name], contents[name] = module, data
        queue += [*module.depends, *module.soft_before]
    return modules, contents


def boot_script(modules: Mapping[str, Module]) -> str:
    """The shell fragment that /etc/init.d/boot reads: loads drivers, makes device files.

    Files such as /dev/net/tun load their module when opened, so they must be there before it.
    Empty when there is nothing to do.
    """
    lines = []
    wanted = [name for name in packages.BOOT_MODULES if name in modules]
    if wanted:
        lines.append(f"busybox modprobe -a {' '.join(wanted)}")
    nodes = sorted(node for module in modules.values() if (node := module.device_node))
    directories = sorted({path.rpartition("/")[0] for path, _ in nodes} - {""})
    if directories:
        lines.append("busybox mkdir -p " + " ".join(f"/dev/{name}" for name in directories))
    for path, minor in nodes:
        lines.append(
            f"[ -e /dev/{path} ] || busybox mknod -m 666 /dev/{path} c {MISC_MAJOR} {minor}"
        )
    return "".join(f"{line}\n" for line in lines)


def modules_tree(
    release: str, modules: Mapping[str, Module], contents: Mapping[str, bytes]
) -> Tree:
    """Everything the system image needs for this kernel: modules, their indexes, boot script."""
    tree = Tree()
    base = f"usr/lib/modules/{release}"
    for name, module in modules.items():
        tree.add(f"{base}/{module.path}", File(0o644, contents[name]))
    if modules:
        tree.add(f"{base}/modules.dep", File(0o644, modules_dep(modules).encode()))
        tree.add(f"{base}/modules.alias", File(0o644, modules_alias(modules).encode()))
        # busybox's modprobe complains when it is not there.
        tree.add(f"{base}/modules.symbols", File(0o644, b""))
    script = boot_script(modules)
    if script:
        tree.add("etc/init.d/modules", File(0o644, script.encode()))
    return tree


def root_modules(modules: Mapping[str, Module]) -> list[Module]:
    """What must be loaded before the system image can be mounted, in order."""
    return load_order(modules, packages.ROOT_MODULES)
