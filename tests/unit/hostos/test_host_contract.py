"""The cases of tests/hostos_cases.py on a Linux host: without Wine, and with the real one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.hostos.posix import PosixHost
from interop.hostos.wine import find_wine
from tests.hostos_cases import ALL, EVERYWHERE, Scene, run_case
from tests.wine_harness import end_prefix, make_prefix, make_programs, wine_environment

assert sys.platform != "win32"


@pytest.mark.parametrize("name", EVERYWHERE)
def test_without_windows(name: str, tmp_path: Path) -> None:
    run_case(EVERYWHERE[name], Scene(PosixHost(), str(tmp_path)))


@contextlib.contextmanager
def running(probe: Path, environment: dict[str, str]) -> Iterator[None]:
    """Some program runs: the first of a prefix starts Wine's services, which keep its pipes."""
    argv = ["wine", str(probe), "sleep"]
    with subprocess.Popen(argv, stdin=-3, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == b"ready"
            yield
        finally:
            process.kill()


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    prefix = tmp_path_factory.mktemp("wine")
    make_prefix(prefix)
    try:
        programs = make_programs(prefix / "drive_c" / "tests")
        with running(programs / "probe.exe", wine_environment(prefix)):
            yield Scene(find_wine({**os.environ, "WINEPREFIX": str(prefix)}), str(programs))
    finally:
        end_prefix(prefix)


@pytest.mark.vm
@pytest.mark.parametrize("name", ALL)
def test_wine(name: str, wine: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINEPREFIX", str(Path(wine.directory).parents[1]))
    run_case(ALL[name], wine)
