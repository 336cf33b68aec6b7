"""A plain command loads nothing it does not need: its start-up is a headline figure."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLAIN = {"shell", "shell.errors", "shell.exitcodes", "shell.grammar", "shell.invocations"} | {
    "shell.options"
}
"""Of shell/'s pure side, on either host, besides its lexer."""
CHEAP = {"__future__"}

PROGRAM = """
import json, sys
from shell.grammar import parse_posix, parse_windows
before = set(sys.modules)
{statement}
print(json.dumps([sorted(before), sorted(sys.modules)]))
"""


def modules_after(statement: str) -> tuple[set[str], set[str]]:
    """What is loaded once the grammar is, and after `statement`, in a fresh interpreter."""
    output = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            f"import sys; sys.path[0:0] = [{str(ROOT)!r}]\n" + PROGRAM.format(statement=statement),
        ],
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
    ).stdout
    before, after = json.loads(output)
    return set(before), set(after)


@pytest.mark.parametrize(
    ("statement", "lexer", "others"),
    [
        ("parse_posix(['-d', 'X', '-u', 'u', '-e', 'true'])", "shell.posix_line", set()),
        ("parse_posix(['ls', '-l'])", "shell.posix_line", set()),
        ("parse_windows('isthmus.exe -d X -e true')", "shell.windows_line", {"wire.winargs"}),
    ],
)
def test_a_plain_command_loads_little(statement: str, lexer: str, others: set[str]) -> None:
    before, after = modules_after(statement)
    assert after - before == {lexer} | others
    assert {name for name in after if name.partition(".")[0] == "shell"} == PLAIN | {lexer}
    heavy = {"argparse", "dataclasses", "difflib", "rich", "shlex", "shell.render", "textwrap"}
    assert not after & heavy


@pytest.mark.parametrize("module", sorted(PLAIN | {"shell.posix_line", "shell.windows_line"}))
def test_the_plain_path_imports_no_library(module: str) -> None:
    path = ROOT / (module.replace(".", "/") + ("/__init__.py" if module == "shell" else ".py"))
    imported = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module)
    ours = {name for name in imported if name.partition(".")[0] == "shell"}
    assert imported - ours <= CHEAP | {"wire.codec", "wire.winargs"}
