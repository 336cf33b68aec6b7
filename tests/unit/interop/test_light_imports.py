"""What the guest loads to translate a path costs it next to nothing to import."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULES = ["mounts", "options", "pathlists", "paths", "strerror", "winargs", "windowspath"]
MODULES += ["wslenv", "wslinfo", "wslpath"]
CHEAP = {"__future__", "errno", "os"}
"""Loaded by every start of Python, or built in."""


def top_level_imports(module: str) -> set[str]:
    tree = ast.parse((ROOT / "wire" / f"{module}.py").read_text(encoding="utf-8"))
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_cheap_ones(module: str) -> None:
    allowed = CHEAP | {f"wire.{name}" for name in [*MODULES, "errors"]}
    assert top_level_imports(module) <= allowed


def test_wslpath_loads_nothing_else() -> None:
    program = (
        f"import json, sys; sys.path[0:0] = [{str(ROOT)!r}]\n"
        "before = set(sys.modules)\n"
        "import wire.wslpath, wire.wslenv, wire.wslinfo\n"
        "print(json.dumps([*({*sys.modules} - before)]))"
    )
    output = subprocess.run(
        [sys.executable, "-I", "-c", program], check=True, stdout=subprocess.PIPE, timeout=60
    ).stdout
    loaded = {name for name in json.loads(output) if not name.startswith("wire")}
    assert loaded <= CHEAP
