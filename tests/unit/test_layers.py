"""The layer rule of docs/architecture.md: no lower package imports a higher one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ALLOWED: dict[str, frozenset[str]] = {
    "wire": frozenset(),
    "guest": frozenset({"wire"}),
    "vm": frozenset({"wire"}),
    "interop": frozenset({"wire"}),
    "netbridge": frozenset({"wire"}),
    "service": frozenset({"wire", "vm", "interop", "netbridge"}),
    "shell": frozenset({"wire"}),
}


def imported_packages(source: str) -> set[str]:
    """Top-level names that `source` imports, at any depth of nesting."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_package_imports_only_lower_layers(package: str) -> None:
    wrong = []
    for path in sorted((ROOT / package).rglob("*.py")):
        names = imported_packages(path.read_text(encoding="utf-8"))
        forbidden = (names & ALLOWED.keys()) - ALLOWED[package] - {package}
        wrong += [f"{path.relative_to(ROOT)} imports {name}" for name in sorted(forbidden)]
    assert wrong == []


def test_every_top_level_package_has_a_rule() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(ALLOWED)


def test_the_check_sees_nested_imports() -> None:
    assert imported_packages("def f():\n    from service.main import run\n") == {"service"}
