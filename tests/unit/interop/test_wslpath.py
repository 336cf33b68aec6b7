"""wslpath and wslinfo against the table of cases that every implementation has to pass."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.unit.interop.wslpath_table import TABLE, format_table, make_table
from tests.unit.interop.wslpath_worlds import OURS
from wire.wslinfo import USAGE as WSLINFO_USAGE
from wire.wslinfo import run_wslinfo
from wire.wslpath import FileSystem, run_wslpath

CASES = json.loads(TABLE.read_text(encoding="ascii"))


class FakeFiles:
    """A file system that answers as a case says, and counts what it was asked."""

    def __init__(self, case: dict[str, Any], distribution: str) -> None:
        self.case = case
        self.name = distribution
        self.asked: Counter[str] = Counter()

    def answer(self, question: str, text: str) -> str:
        self.asked[question] += 1
        if text.startswith("E") and hasattr(errno, text):
            number = getattr(errno, text)
            raise OSError(number, os.strerror(number))
        return text

    def realpath(self, path: str) -> str:
        assert path == self.case["argv"][-1]
        assert self.case["realpath"] is not None, "realpath must not be called"
        return self.answer("realpath", self.case["realpath"])

    def functions(self) -> FileSystem:
        return FileSystem(
            getcwd=lambda: self.answer("getcwd", self.case["cwd"]),
            realpath=self.realpath,
            distribution=lambda: self.answer("distribution", self.name),
        )


def run_case(case: dict[str, Any]) -> tuple[str, str, int]:
    world = CASES["worlds"][case["world"]]
    files = FakeFiles(case, world["distribution"])
    output = run_wslpath(case["argv"], world["environment"], world["mountinfo"], files.functions())
    assert (files.asked["realpath"] == 1) == (case["realpath"] is not None)
    assert files.asked["distribution"] <= (not world["environment"].get("WSL_DISTRO_NAME"))
    return output.stdout, output.stderr, output.status


@pytest.mark.parametrize("world", CASES["worlds"])
def test_wslpath_does_what_the_table_says(world: str) -> None:
    cases = [case for case in CASES["cases"] if case["world"] == world]
    assert cases
    wrong = [
        (case, outcome)
        for case in cases
        if (outcome := run_case(case)) != (case["stdout"], case["stderr"], case["status"])
    ]
    assert wrong == []


def test_the_table_is_what_its_maker_makes() -> None:
    assert TABLE.read_text(encoding="ascii") == format_table(make_table())
    assert len(CASES["cases"]) > 400


def test_the_name_of_the_command_is_the_callers() -> None:
    files = FakeFiles({"argv": ["", "Z:\\x"], "cwd": "/", "realpath": None}, "")
    output = run_wslpath(["/bin/wslpath", "Z:\\x"], {}, OURS, files.functions())
    assert output.stderr == "/bin/wslpath: Z:\\x: Invalid argument\n"


def test_a_query_for_the_distribution_that_fails_is_no_answer() -> None:
    case = {"argv": ["-w", "/x"], "cwd": "/", "realpath": "/x"}
    files = FakeFiles(case, "ECONNREFUSED")
    output = run_wslpath(["wslpath", "-w", "/x"], {}, OURS, files.functions())
    assert (output.stderr, output.status) == ("wslpath: /x: Invalid argument\n", 1)


if sys.platform != "win32":

    def real_files() -> FileSystem:
        return FileSystem(
            getcwd=os.getcwd,
            realpath=lambda path: os.path.realpath(path, strict=True),
            distribution=lambda: "",
        )

    def run(*argv: str) -> tuple[str, str, int]:
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
        environment = {"WSL_DISTRO_NAME": "Debian"}
        output = run_wslpath(["wslpath", *argv], environment, mountinfo, real_files())
        return output.stdout, output.stderr, output.status

    def test_with_a_real_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "target").mkdir()
        (tmp_path / "link").symlink_to("target")
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "file").touch()
        monkeypatch.chdir(tmp_path)
        here = "\\\\wsl.localhost\\Debian" + str(tmp_path).replace("/", "\\")
        assert run("-w", "link/") == (f"{here}\\target\\\n", "", 0)
        assert run("-w", "link/new") == ("link\\new\n", "", 0)
        assert run("-aw", "link/new") == (f"{here}\\link\\new\n", "", 0)
        assert run("-u", f"{here}\\link") == (f"{tmp_path}/link\n", "", 0)
        assert run("-w", "loop")[1:] == (
            "wslpath: loop: Too many levels of symbolic links\n",
            1,
        )
        assert run("-w", "file/x")[1:] == ("wslpath: file/x: Not a directory\n", 1)


FACTS = {"networking-mode": "nat", "version": "1.2.3", "vm-id": "{ab}"}
HINT = "Please use 'wslinfo --help' to see those it takes.\n"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--networking-mode"], ("nat\n", "", 0)),
        (["-n", "--networking-mode"], ("nat", "", 0)),
        (["--version", "-n"], ("1.2.3", "", 0)),
        (["--wsl-version"], ("1.2.3\n", "", 0)),
        (["--vm-id", "--help"], ("{ab}\n", "", 0)),
        (["--msal-proxy-path"], ("", "wslinfo: no value is known for msal-proxy-path\n", 1)),
        ([], ("", WSLINFO_USAGE, 1)),
        (["--help"], ("", WSLINFO_USAGE, 1)),
        (["-n"], ("", WSLINFO_USAGE, 1)),
        (["--version", "--vm-id"], ("", WSLINFO_USAGE, 1)),
        (["--version", "--wsl-version"], ("", WSLINFO_USAGE, 1)),
        (["-x"], ("", f"Invalid command line argument: -x\n{HINT}", 1)),
        (["--versio"], ("", f"Invalid command line argument: --versio\n{HINT}", 1)),
        (["--version", "x"], ("", f"Invalid command line argument: x\n{HINT}", 1)),
    ],
)
def test_wslinfo(argv: list[str], expected: tuple[str, str, int]) -> None:
    output = run_wslinfo(["wslinfo", *argv], FACTS)
    assert (output.stdout, output.stderr, output.status) == expected
