"""The kernel's entry for Windows programs (binfmt_misc).

All distributions share the machine's user namespace, and so its one table of entries
(Documentation/admin-guide/binfmt-misc.rst): whatever removes the entry removes it for all, until
the next distribution starts.
"""

from __future__ import annotations

import os

from guest import initclient

DIRECTORY = "/proc/sys/fs/binfmt_misc"
NAME = "WSLInterop"
"""WSL's name for it, which scripts and services look for."""
LAUNCHER = "/usr/libexec/isthmus/launcher"


def entry_text(interpreter: str) -> str:
    """What is written to register the entry. Pure.

    Flags: P keeps the caller's argv[0]; F opens the interpreter now, so that it is found
    whatever the root directory of who executes a program.
    """
    return f":{NAME}:M::MZ::{interpreter}:FP"


def register(directory: str = DIRECTORY, interpreter: str = LAUNCHER) -> None:
    """Register Windows programs, unless that has been done. Raises OSError."""
    if os.path.exists(f"{directory}/{NAME}"):
        return
    with open(f"{directory}/register", "w") as file:
        file.write(entry_text(interpreter))


def binds_for(is_protected: bool, directory: str = DIRECTORY) -> tuple[initclient.Bind, ...]:
    """What keeps a distribution from removing the entry by accident (boot.protectBinfmt).

    systemd-binfmt and others clear the table by writing to `status` before they fill it with
    entries of their own. `register` they may go on using.
    """
    files = [f"{directory}/{name}" for name in ("status", NAME)] if is_protected else []
    return tuple(
        initclient.Bind(file, file, read_only=True) for file in files if os.path.exists(file)
    )
