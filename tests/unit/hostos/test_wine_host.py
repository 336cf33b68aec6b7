"""Real Windows programs, started by the real Wine in a prefix of their own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.hostos.contract import Host, Program
from interop.hostos.errors import HostError, NoWindowsError, ProgramNotFoundError
from interop.hostos.find import find_host
from interop.hostos.wine import WineHost, find_name, find_wine

assert sys.platform != "win32"

CMD = "c:\\WINDOWS\\system32\\CMD.exe"
DEADLINE_S = 60


def test_without_wine_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoWindowsError):
        find_wine({"PATH": str(tmp_path)})


def test_without_a_prefix_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="no Wine prefix"):
        WineHost("wine", str(tmp_path)).drives()


def test_wine_that_has_never_run_leaves_the_host_its_one_drive(tmp_path: Path) -> None:
    (tmp_path / "wine").write_text("#!/bin/sh\n")
    (tmp_path / "wine").chmod(0o755)
    host = find_host({"PATH": str(tmp_path), "WINEPREFIX": str(tmp_path / "none")})
    assert host.drives() == {"Z": "/"}
    assert host.windows_path("/tmp") == "Z:\\tmp"


def test_names_are_found_without_regard_to_case(tmp_path: Path) -> None:
    (tmp_path / "Notepad.EXE").touch()
    assert find_name(str(tmp_path), "notepad.exe") == "Notepad.EXE"
    assert find_name(str(tmp_path), "new") == "new"
    assert find_name(str(tmp_path / "missing"), "x") == "x"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    prefix = tmp_path_factory.mktemp("wine")
    environment = {**os.environ, "WINEPREFIX": str(prefix), "WINEDEBUG": "-all"}
    subprocess.run(
        ["wine", "cmd.exe", "/c", "exit"], env=environment, timeout=100, check=True, stdin=-3
    )
    yield find_wine(environment)
    subprocess.run(["wineserver", "-k"], env=environment, timeout=60, check=False)


def run(host: Host, program: Program, data: bytes = b"") -> tuple[bytes, bytes, int]:
    async def communicate() -> tuple[bytes, bytes, int]:
        process = await host.start(program)
        process.stdin.write(data)
        process.stdin.close()
        assert process.stderr is not None
        out, error = await asyncio.gather(process.stdout.read(), process.stderr.read())
        return out, error, await process.wait()

    return asyncio.run(asyncio.wait_for(communicate(), DEADLINE_S))


@pytest.mark.vm
def test_output_and_exit_code(host: Host) -> None:
    program = Program(CMD, ["/c", "echo out& echo err 1>&2& exit 7"])
    out, error, status = run(host, program)
    assert (out.strip(), error.strip(), status) == (b"out", b"err", 7)


@pytest.mark.vm
def test_directory_and_environment(host: Host) -> None:
    line = "cd& echo %ISTHMUS_A%"
    program = Program(CMD, ["/c", line], "C:\\Windows\\SYSTEM32", {"ISTHMUS_A": "b c"})
    out, _, status = run(host, program)
    assert (out.lower().split(b"\r\n")[:2], status) == ([b"c:\\windows\\system32", b"b c"], 0)


@pytest.mark.vm
def test_what_cannot_be_started(host: Host) -> None:
    for path in ("C:\\nothing.exe", "C:\\windows"):
        with pytest.raises(ProgramNotFoundError):
            run(host, Program(path))


@pytest.mark.vm
def test_kill(host: Host) -> None:
    async def kill() -> int:
        process = await host.start(Program(CMD, ["/c", "echo ready& set /p x="]))
        assert (await process.stdout.read(100)).strip() == b"ready"
        process.kill()
        return await process.wait()

    assert asyncio.run(asyncio.wait_for(kill(), DEADLINE_S)) == 137
