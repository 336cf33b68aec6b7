"""Which packages an image needs: the closure over their dependencies. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from vm.image.debversion import Version
from vm.image.errors import PackageNotFound
from vm.image.index import Alternatives, LazyPackageIndex, Package, Requirement


def satisfies(package: Package, requirement: Requirement) -> bool:
    """Whether the real package meets `requirement` (name and version)."""
    if package.name != requirement.name:
        return False
    if not requirement.relation:
        return True
    return Version(package.version).satisfies(requirement.relation, Version(requirement.version))


def _provides(provided: Requirement, requirement: Requirement) -> bool:
    """Whether a Provides entry meets `requirement`; an unversioned one meets no version (§7.5)."""
    if not requirement.relation:
        return True
    if provided.relation != "=":
        return False
    return Version(provided.version).satisfies(requirement.relation, Version(requirement.version))


def candidate(index: LazyPackageIndex, requirement: Requirement) -> Package | None:
    """The best package for `requirement`: the newest real one, else the newest provider."""
    index.load(requirement.name)
    real = [p for p in index.packages.get(requirement.name, ()) if satisfies(p, requirement)]
    if real:
        return max(real, key=lambda package: Version(package.version))
    providers = [
        package
        for package, provided in index.providers.get(requirement.name, ())
        if _provides(provided, requirement)
    ]
    # By name first, so that the choice does not depend on the order of the index.
    return min(
        providers, key=lambda package: (package.name, _Descending(package.version)), default=None
    )


class _Descending:
    """A version that sorts the other way round."""

    def __init__(self, text: str) -> None:
        self.version = Version(text)

    def __lt__(self, other: _Descending) -> bool:
        return other.version < self.version


def _choose(
    index: LazyPackageIndex, chosen: dict[str, Package], alternatives: Alternatives, by: str
) -> Package:
    """The package to take for one dependency: one already chosen, else the first that exists."""
    for requirement in alternatives:
        present = chosen.get(requirement.name)
        if present and satisfies(present, requirement):
            return present
        for package in chosen.values():
            if any(
                provided.name == requirement.name and _provides(provided, requirement)
                for provided in package.provides
            ):
                return package
    for requirement in alternatives:
        found = candidate(index, requirement)
        if found and (found.name not in chosen or chosen[found.name] == found):
            return found
    raise PackageNotFound(" | ".join(map(str, alternatives)), by)


def closure(
    index: LazyPackageIndex, wanted: Iterable[str], leave_out: Collection[str] = ()
) -> list[Package]:
    """`wanted` and everything they depend on, sorted by name.

    Each dependency is met by the first alternative that can be; a package in `leave_out` is
    taken as present: its dependants work without it, as far as the image uses them.
    Raises PackageNotFound.
    """
    chosen: dict[str, Package] = {}
    queue: list[tuple[Alternatives, str]] = [((Requirement(name),), "") for name in wanted]
    while queue:
        alternatives, by = queue.pop(0)
        if any(requirement.name in leave_out for requirement in alternatives):
            continue
        package = _choose(index, chosen, alternatives, by)
        if package.name in chosen:
            continue
        chosen[package.name] = package
        queue += [(group, package.name) for group in package.depends]
    return sorted(chosen.values(), key=lambda package: package.name)
