"""A Wine prefix and Windows programs for tests: real ones, made once per run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("data") / "windows" / "probe.c"
COMPILER = "x86_64-w64-mingw32-gcc"
WINE_TIMEOUT_S = 200


def require(condition: bool, reason: str) -> None:
    """Fail for want of what this machine lacks; skip only where skips were asked for."""
    if condition:
        return
    if os.environ.get("ISTHMUS_ALLOW_SKIPS") == "1":
        pytest.skip(reason)
    pytest.fail(f"{reason} (ISTHMUS_ALLOW_SKIPS=1 skips instead)")


def wine_environment(prefix: Path) -> dict[str, str]:
    return {**os.environ, "WINEPREFIX": str(prefix), "WINEDEBUG": "-all"}


def make_prefix(prefix: Path) -> None:
    """Make a prefix, and leave its server running as long as the tests do."""
    require(shutil.which("wine") is not None, "Windows programs need wine")
    environment = wine_environment(prefix)
    argv = ["wine", "cmd.exe", "/c", "exit"]
    subprocess.run(argv, env=environment, timeout=WINE_TIMEOUT_S, check=True, stdin=-3, stdout=-3)
    # Without it each program that finds no other running would start Wine anew.
    subprocess.run(["wineserver", "-k"], env=environment, timeout=60, check=False)
    subprocess.run(["wineserver", "-w"], env=environment, timeout=60, check=False)
    subprocess.run(["wineserver", "-p"], env=environment, timeout=60, check=True)


def end_prefix(prefix: Path) -> None:
    """End all programs in a prefix, and its server."""
    environment = wine_environment(prefix)
    subprocess.run(["wineserver", "-k"], env=environment, timeout=60, check=False)
    subprocess.run(["wineserver", "-w"], env=environment, timeout=60, check=False)


def compile_probe(target: Path, *, has_windows: bool = False) -> Path:
    """Compile tests/data/windows/probe.c: a console program, or one that `has_windows`."""
    require(shutil.which(COMPILER) is not None, f"test programs need {COMPILER}")
    kind = ["-mwindows"] if has_windows else []
    argv = [COMPILER, "-O1", "-Wall", "-Werror", "-municode", *kind, "-o", str(target), str(SOURCE)]
    subprocess.run(argv, timeout=100, check=True)
    return target


def make_programs(directory: Path) -> Path:
    """A new directory with probe.exe, window.exe, and data.exe, which is none."""
    directory.mkdir()
    compile_probe(directory / "probe.exe")
    compile_probe(directory / "window.exe", has_windows=True)
    (directory / "data.exe").write_bytes(b"MZ, and nothing else")
    return directory
