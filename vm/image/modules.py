"""Kernel modules: which need which, and the index files that modprobe reads. Pure.

modprobe (busybox's, and kmod's) looks modules up in modules.dep and modules.alias, which depmod
writes on a Debian system; packages do not carry them. See modprobe(8), depmod(8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vm.image import elf

MISC_MAJOR = 10
"""MISC_MAJOR in <linux/major.h>: the major number of the `char-major-10-N` aliases."""


def module_name(path: str) -> str:
    """The kernel's name for the module file at `path`: `-` is `_`, the suffixes are dropped."""
    name = path.rpartition("/")[2]
    return name.partition(".ko")[0].replace("-", "_")


@dataclass(frozen=True)
class Module:
    """One module file."""

    path: str
    """Relative to /lib/modules/<release>."""
    name: str
    depends: tuple[str, ...]
    """Names of modules that must be loaded before it."""
    aliases: tuple[str, ...]
    soft_before: tuple[str, ...] = ()
    """Modules that it works better with, loaded before it (modprobe.d(5), softdep pre:)."""

    @property
    def device_node(self) -> tuple[str, int] | None:
        """The device file whose opening loads the module: its path in /dev and its minor."""
        names = [a.removeprefix("devname:") for a in self.aliases if a.startswith("devname:")]
        prefix = f"char-major-{MISC_MAJOR}-"
        minors = [a.removeprefix(prefix) for a in self.aliases if a.startswith(prefix)]
        if names and minors and minors[0].isdecimal():
            return names[0], int(minors[0])
        return None


def read_module(path: str, data: bytes) -> Module:
    """The module at `path` with the (unpacked) contents `data`. Raises elf.MalformedElf."""
    information = elf.module_information(data)
    depends = [
        name.replace("-", "_")
        for value in information.get("depends", [])
        for name in value.split(",")
        if name
    ]
    before: list[str] = []
    for value in information.get("softdep", []):
        words = value.split()
        collecting = False
        for word in words:
            if word.endswith(":"):
                collecting = word == "pre:"
            elif collecting:
                before.append(word.replace("-", "_"))
    return Module(
        path=path,
        name=module_name(path),
        depends=tuple(depends),
        aliases=tuple(information.get("alias", [])),
        soft_before=tuple(before),
    )


def load_order(modules: Mapping[str, Module], wanted: Iterable[str]) -> list[Module]:
    """`wanted` and what they need, dependencies first, each once.

    A name that is not in `modules` is left out: it is built into the kernel, and if it is not,
    the image's check says so (`vm.image.packages`). Raises ValueError for a cycle.
    """
    order: dict[str, Module] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            raise ValueError(f"modules need each other: {' → '.join((*trail, name))}")
        module = modules.get(name)
        if module is None or name in order:
            return
        for needed in module.depends:
            visit(needed, (*trail, name))
        order[name] = module

    for name in wanted:
        visit(name.replace("-", "_"), ())
    return list(order.values())


def modules_dep(modules: Mapping[str, Module]) -> str:
    """modules.dep: each module's path and those it needs, nearest first."""
    lines = []
    for module in sorted(modules.values(), key=lambda module: module.path):
        needed = load_order(modules, [module.name])[:-1]
        lines.append(f"{module.path}:" + "".join(f" {other.path}" for other in reversed(needed)))
    return "".join(f"{line}\n" for line in lines)


def modules_alias(modules: Mapping[str, Module]) -> str:
    """modules.alias: what the kernel may ask for, and the module that answers."""
    return "".join(
        f"alias {alias} {module.name}\n"
        for module in sorted(modules.values(), key=lambda module: module.path)
        for alias in module.aliases
        if not alias.startswith("devname:") and " " not in alias
    )
