"""The wslpath program, static and sanitized, against the table and wire/wslpath.py itself."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.interop.wslpath_table import TABLE
from tests.unit.interop.wslpath_worlds import OURS
from tests.unit.native.harness import build_native
from wire.wslinfo import run_wslinfo
from wire.wslpath import USAGE, FileSystem, Output, run_wslpath

assert sys.platform != "win32"

TABLE_CASES = json.loads(TABLE.read_text(encoding="ascii"))


class Run(NamedTuple):
    """One case for the table program (guest/native/wslpath_table.c says what its fields are)."""

    argv: Sequence[str]
    mountinfo: str
    distribution: str = ""
    cwd: str = "/"
    realpath: str = ""
    fact: str = ""
    command: str = "wslpath"

    def encode(self) -> bytes:
        fields = [
            *(self.command, self.mountinfo, self.distribution, _errno_as_number(self.cwd)),
            *(_errno_as_number(self.realpath), self.fact, str(len(self.argv)), *self.argv),
        ]
        return b"".join(os.fsencode(field) + b"\0" for field in fields)


def _errno_as_number(text: str) -> str:
    return f"!{getattr(errno, text)}" if text.startswith("E") and hasattr(errno, text) else text


class Result(NamedTuple):
    stdout: str
    stderr: str
    status: int
    realpath_asked: int


def run_all(program: Path, runs: Sequence[Run]) -> list[Result]:
    done = subprocess.run(
        [program],
        input=b"".join(run.encode() for run in runs),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    fields = done.stdout.split(b"\0")
    assert len(fields) == 4 * len(runs) + 1
    assert fields.pop() == b""
    return [
        Result(os.fsdecode(out), os.fsdecode(error), int(status), int(asked))
        for out, error, status, asked in zip(*[iter(fields)] * 4, strict=True)
    ]


@pytest.fixture(scope="session", params=["build/wslpath-table", "build/sanitize/wslpath-table"])
def program(request: pytest.FixtureRequest) -> Path:
    return build_native(request.param)


@pytest.fixture(scope="session")
def wslpath() -> Path:
    return build_native("build/wslpath")


def table_run(case: dict[str, Any]) -> Run:
    world = TABLE_CASES["worlds"][case["world"]]
    return Run(
        argv=case["argv"],
        mountinfo=world["mountinfo"],
        distribution=world["environment"].get("WSL_DISTRO_NAME", ""),
        cwd=case["cwd"],
        realpath=case["realpath"] or "",
        fact=world["distribution"],
    )


def test_wslpath_does_what_the_table_says(program: Path) -> None:
    cases = TABLE_CASES["cases"]
    assert len(cases) > 400
    results = run_all(program, [table_run(case) for case in cases])
    wrong = [
        (case, result)
        for case, result in zip(cases, results, strict=True)
        if result
        != (case["stdout"], case["stderr"], case["status"], int(case["realpath"] is not None))
    ]
    assert wrong == []


FACT = "1.2.3"
WSLINFO_ARGUMENTS = [
    ["--networking-mode"],
    ["-n", "--networking-mode"],
    ["--version", "-n"],
    ["--wsl-version"],
    ["--vm-id", "--help"],
    [],
    ["--help"],
    ["-n"],
    ["--version", "--vm-id"],
    ["--version", "--wsl-version"],
    ["-x"],
    ["-nx"],
    ["-nn", "--version"],
    ["--versio"],
    ["--version", "x"],
    ["--", "x"],
    ["-"],
    ["--", "--version"],
]


def test_wslinfo_is_that_of_python(program: Path) -> None:
    names = ("networking-mode", "version", "vm-id", "msal-proxy-path")
    argvs = [["/bin/wslinfo", *arguments] for arguments in WSLINFO_ARGUMENTS]
    for facts in ({name: FACT for name in names}, {}):
        runs = [Run(argv, "", fact=facts.get("version", ""), command="wslinfo") for argv in argvs]
        wanted = [outcome(run_wslinfo(argv, facts)) for argv in argvs]
        assert [result[:3] for result in run_all(program, runs)] == wanted


def outcome(output: Output) -> tuple[str, str, int]:
    return output.stdout, output.stderr, output.status


def in_python(run: Run) -> tuple[str, str, int]:
    def answer(text: str) -> str:
        number = _errno_as_number(text)
        if number.startswith("!"):
            raise OSError(int(number[1:]), "")
        return text

    files = FileSystem(
        getcwd=lambda: answer(run.cwd),
        realpath=lambda path: answer(run.realpath),
        distribution=lambda: run.fact,
    )
    environment = {"WSL_DISTRO_NAME": run.distribution} if run.distribution else {}
    return outcome(run_wslpath(run.argv, environment, run.mountinfo, files))


# What paths, mount tables and command lines are made of, so that the odd corners meet often.
PIECES = (
    *("/", "\\", "//", "\\\\", ".", "..", "C:", "c:\\", "D:/", "a", "B", "é", "É", "x y", ":"),
    *(
        "\\\\?\\",
        "UNC\\",
        "\\\\.\\",
        "wsl.localhost",
        "WSL$",
        "Debian",
        "debian",
        "server",
        "share",
    ),
    *("\uf03a", "\uf05c", "\uf02f", "\uf000", "\uf07f", "\udcef\udc80", "\udcff", "mnt", "/mnt/c"),
    *("*", "\x01", "\t", "\n", "ß", "😀", "K", "1", "~"),
)
texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
linux_paths = texts.map(lambda text: "/" + text)
_CODES = {" ": "\\040", "\n": "\\012", "\t": "\\011", "\\": "\\134"}


def mount_field(text: str) -> str:
    return "".join(_CODES.get(character, character) for character in text)


@st.composite
def mount_lines(draw: st.DrawFn) -> str:
    number = st.integers(1, 6).map(str)
    fields = [draw(number), draw(number), "0:1"]
    fields.append(mount_field(draw(st.sampled_from(["/", "/", "/a", "/a:b//deleted"]))))
    fields.append(mount_field(draw(st.sampled_from(["/", "/mnt", "/mnt/c", "/a", "/a/B", "x"]))))
    fields.append("rw shared:1 - " if draw(st.booleans()) else "rw - ")
    kind = draw(st.sampled_from(["fuse.drvfs", "fuse.drvfs", "drvfs", "9p", "ext4", "tmpfs"]))
    source = draw(st.one_of(st.sampled_from(["C:\\", "D:\\a", "\\\\server\\share", ""]), texts))
    option = f"rw,aname=drvfs;path={source};uid=0" if draw(st.booleans()) else "rw"
    if draw(st.booleans()):
        option = mount_field(option)
    line = " ".join(fields) + f"{kind} {mount_field(source)} {option}"
    return line.replace("\n", "") if draw(st.integers(0, 9)) else line[: len(line) // 2]


@st.composite
def runs(draw: st.DrawFn) -> Run:
    flags = draw(st.lists(st.sampled_from(["-a", "-u", "-w", "-m", "-aw", "--", "-x"]), max_size=2))
    path = draw(st.one_of(texts, linux_paths, linux_paths.map(lambda path: "C:" + path)))
    tables = st.one_of(st.just(OURS), st.lists(mount_lines(), max_size=8).map("\n".join))
    missing = st.sampled_from(["ENOENT", "ENOENT", "EACCES", "ELOOP"])
    return Run(
        argv=["wslpath", *flags, path],
        mountinfo=draw(tables),
        distribution=draw(st.sampled_from(["Debian", "Debian", ""])),
        cwd=draw(
            st.one_of(linux_paths, st.sampled_from(["/mnt/c", "/mnt/c/a", "ENOENT", "(x)/y"]))
        ),
        realpath=draw(st.one_of(missing, linux_paths)),
        fact=draw(st.sampled_from(["", "other"])),
    )


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(batch=st.lists(runs(), min_size=10, max_size=40))
def test_whatever_it_is_given_it_answers_as_python_does(program: Path, batch: list[Run]) -> None:
    for run, result in zip(batch, run_all(program, batch), strict=True):
        assert (run, result[:3]) == (run, in_python(run))


def run_real(program: Path, *argv: str, cwd: Path, name: str = "wslpath") -> tuple[str, str, int]:
    done = subprocess.run(
        [name, *argv],
        executable=program,
        cwd=cwd,
        env={"WSL_DISTRO_NAME": "Debian"},
        capture_output=True,
        timeout=20,
        check=False,
    )
    return os.fsdecode(done.stdout), os.fsdecode(done.stderr), done.returncode


def test_with_a_real_file_system(wslpath: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    here = "\\\\wsl.localhost\\Debian" + str(tmp_path).replace("/", "\\")
    error = "wslpath: "
    for argv, wanted in {
        ("-w", "link/"): (f"{here}\\target\\\n", "", 0),
        ("-w", "link/new"): ("link\\new\n", "", 0),
        ("-aw", "link/new"): (f"{here}\\link\\new\n", "", 0),
        ("-u", f"{here}\\link"): (f"{tmp_path}/link\n", "", 0),
        ("-w", "loop"): ("", f"{error}loop: Too many levels of symbolic links\n", 1),
        ("-w", "file/x"): ("", f"{error}file/x: Not a directory\n", 1),
        ("-w", "file/"): ("", f"{error}file/: Not a directory\n", 1),
        ("-m", "/"): ("//wsl.localhost/Debian/\n", "", 0),
        ("-w", "x" * 5000): ("", f"{error}{'x' * 5000}: File name too long\n", 1),
    }.items():
        assert run_real(wslpath, *argv, cwd=tmp_path) == wanted


def test_it_goes_by_the_name_it_is_called_by(wslpath: Path, tmp_path: Path) -> None:
    _, error, status = run_real(wslpath, "--version", cwd=tmp_path, name="/usr/bin/wslinfo")
    assert (error, status) == ("/usr/bin/wslinfo: no value is known for version\n", 1)
    out, error, status = run_real(wslpath, cwd=tmp_path, name="anything")
    assert (out, error, status) == (USAGE, "anything: Invalid argument\n", 1)


def test_a_result_that_cannot_be_written_is_an_error(wslpath: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [wslpath, "-m", "/"],
            env={"WSL_DISTRO_NAME": "D"},
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=20,
            check=False,
        )
    assert (done.returncode, b"No space left" in done.stderr) == (1, True)


def test_the_program_needs_no_libraries(wslpath: Path) -> None:
    data = wslpath.read_bytes()
    assert data[:4] == b"\x7fELF"
    assert re.search(rb"/lib\d*/ld-[^\0]*\0", data) is None
