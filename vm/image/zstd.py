"""Unpacking zstd with the program of that name: Python has it built in only from 3.14."""

from __future__ import annotations

import shutil
import subprocess

from vm.image.errors import ToolMissing

TIMEOUT_S = 300


def unpack_zstd(data: bytes) -> bytes:
    """`data` unpacked. Raises ToolMissing, ValueError."""
    program = shutil.which("zstd")
    if program is None:
        raise ToolMissing("zstd", "zstd")
    done = subprocess.run(
        [program, "-dcq"], input=data, capture_output=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode:
        raise ValueError(done.stderr.decode(errors="replace").strip() or "zstd refuses it")
    return done.stdout
