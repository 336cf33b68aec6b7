"""Running the programs a build needs, with their output kept and a deadline on each."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from vm.image.errors import BuildFailed, ToolMissing

LOG_TAIL_LINES = 20
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
"""A build must not depend on whose shell it was started from."""

DEBIAN_PACKAGES = {
    "mkfs.erofs": "erofs-utils",
    "make": "make",
    "gcc": "gcc libc6-dev",
    "ld": "binutils",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "perl": "perl",
    "tar": "tar",
    "xz": "xz-utils",
    "lz4": "lz4",
    "patch": "patch",
    "strip": "binutils",
}
"""Where a program comes from on a Debian host."""

KERNEL_TOOLS = tuple(name for name in DEBIAN_PACKAGES if name != "mkfs.erofs")
"""What compiling the kernel needs."""


def find_tool(name: str) -> str:
    """The path of the program `name`. Raises ToolMissing."""
    path = shutil.which(name, path=ENVIRONMENT["PATH"]) or shutil.which(name)
    if path is None:
        raise ToolMissing(name, DEBIAN_PACKAGES.get(name, name))
    return path


def run_tool(
    step: str,
    argv: Sequence[str],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return what it printed. Raises BuildFailed, ToolMissing."""
    program = argv[0] if "/" in argv[0] else find_tool(argv[0])
    try:
        done = subprocess.run(
            [program, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            cwd=cwd,
            env={**ENVIRONMENT, **(environment or {})},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        output = (error.output or b"").decode(errors="replace")
        tail = [*output.splitlines()[-LOG_TAIL_LINES:], f"no end after {timeout_s:.0f} s"]
        raise BuildFailed(step, tail) from error
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        raise BuildFailed(step, output.splitlines()[-LOG_TAIL_LINES:])
    return output
