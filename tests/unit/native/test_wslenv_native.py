"""WSLENV in C (guest/native/wslenv.c) against wire/wslenv.py, static and sanitized."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.interop.wslpath_worlds import OURS
from tests.unit.native.harness import build_native
from wire.mounts import Mounts
from wire.pathlists import untranslatable
from wire.paths import Translator
from wire.wslenv import variables_to_windows

assert sys.platform != "win32"

DISTRIBUTION = "Debian"


@pytest.fixture(scope="session", params=["build/wslenv-table", "build/sanitize/wslenv-table"])
def program(request: pytest.FixtureRequest) -> Path:
    return build_native(request.param)


def in_c(program: Path, environment: dict[str, str], cwd: str) -> tuple[dict[str, str], list[str]]:
    variables = [f"{name}={value}" for name, value in environment.items()]
    fields = [OURS, DISTRIBUTION, cwd, str(len(variables)), *variables]
    done = subprocess.run(
        [program],
        input=b"".join(os.fsencode(field) + b"\0" for field in fields),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    answers = [os.fsdecode(field) for field in done.stdout.split(b"\0")]
    assert answers[-2:] == ["", ""]
    pairs = [answer[1:].partition("=") for answer in answers if answer.startswith("=")]
    warned = [untranslatable(answer[1:]) for answer in answers if answer.startswith("!")]
    return {name: value for name, _, value in pairs}, list(dict.fromkeys(warned))


def in_python(environment: dict[str, str], cwd: str) -> tuple[dict[str, str], list[str]]:
    translator = Translator(Mounts.parse(OURS), DISTRIBUTION)
    block = variables_to_windows(environment, translator, lambda: cwd)
    return block.variables, list(block.warnings)


names = st.sampled_from(["A", "B", "PATH", "WSLENV", "a"])
flags = st.text("pluwx", max_size=3)
entries = st.builds(lambda name, text: f"{name}/{text}" if text else name, names, flags)
paths = st.one_of(
    st.sampled_from(["/mnt/c", "/mnt/c/Users", "/home/x", "..", ".", "x;y", "/../x", "", "a:b"]),
    st.text("/.cmntUé;: \\", max_size=12),
)
values = st.lists(paths, max_size=4).map(":".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    wslenv=st.lists(st.one_of(entries, st.text("ab/:=pluw \t", max_size=6)), max_size=5),
    variables=st.dictionaries(st.sampled_from(["A", "B", "PATH", "a"]), values),
    blanks=st.text(" \t\n", max_size=3),
    cwd=st.sampled_from(["/", "/mnt/c/Users", "/home"]),
)
def test_c_and_python_agree(
    program: Path, wslenv: list[str], variables: dict[str, str], blanks: str, cwd: str
) -> None:
    environment = {**variables, "WSLENV": ":".join(wslenv) + blanks}
    assert in_c(program, environment, cwd) == in_python(environment, cwd)


def test_nothing_is_shared_without_it(program: Path) -> None:
    assert in_c(program, {"A": "x"}, "/") == ({"WSLENV": ""}, [])
