"""What Windows looks like from a distribution: which of its directories are where, and so which
directory, PATH and variables a command from Windows starts with (docs/paths.md §3, §4)."""

from __future__ import annotations

import os
import select

from guest.agent.distroconf import DistroConf
from guest.agent.environment import STANDARD_PATH
from wire.agent import Spawn
from wire.mounts import Mounts
from wire.pathlists import append_windows_path, starting_directories
from wire.paths import Translator
from wire.wslenv import variables_to_linux

APPENDED_VARIABLE = "ISTHMUS_PATH"
"""What was put at the end of PATH, for login shells whose /etc/profile sets PATH anew."""
PROFILE = "/etc/profile.d/isthmus.sh"
PROFILE_TEXT = f"""\
# This file is written by Isthmus when the distribution starts. It puts the Windows directories
# back at the end of PATH where /etc/profile has set that anew; there are none with
# `appendWindowsPath = false` in the [interop] section of /etc/wsl.conf.
if [ -n "${APPENDED_VARIABLE}" ]; then
    case ":$PATH:" in
    *":${APPENDED_VARIABLE}:"*) ;;
    *) PATH="$PATH:${APPENDED_VARIABLE}" ;;
    esac
fi
"""


class MountTable:
    """A distribution's mount table, read again when it has changed; `pid` is its pid 1.

    The open file holds the distribution's file systems: close() before they are to be unmounted.
    """

    def __init__(self, pid: int) -> None:
        """Raises OSError."""
        self._fd = os.open(f"/proc/{pid}/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        # Says so once for each change (proc_pid_mounts(5)).
        self._poll.register(self._fd, select.POLLPRI)
        self._mounts: Mounts | None = None

    def mounts(self) -> Mounts:
        """What is mounted where, now. Raises OSError."""
        if self._poll.poll(0) or self._mounts is None:
            os.lseek(self._fd, 0, os.SEEK_SET)
            parts = []
            while part := os.read(self._fd, 65536):
                parts.append(part)
            self._mounts = Mounts.parse(b"".join(parts).decode("utf-8", "surrogateescape"))
        return self._mounts

    def close(self) -> None:
        """Let go of the distribution."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def seen_from(
    spawn: Spawn, mounts: Mounts, name: str, conf: DistroConf, socket_path: str
) -> tuple[Spawn, tuple[str, ...]]:
    """`spawn` with all that it says of Windows translated for the distribution `name`. Pure.

    And warnings for the user. What the host has translated itself stays as it is.
    """
    translator = Translator(mounts, name)
    directories = spawn.directories
    warnings: tuple[str, ...] = ()
    if spawn.windows_directory:
        first, warnings = starting_directories(spawn.windows_directory, translator)
        directories = (*first[:-1], *directories)
    environment = {}
    if conf.interop_enabled:
        environment["WSL_INTEROP"] = socket_path
        if conf.append_host_path and spawn.windows_path:
            # What cannot be reached is no news at each command: its drive is not mounted.
            path = append_windows_path(STANDARD_PATH, spawn.windows_path, translator).value or ""
            environment["PATH"] = path
            environment[APPENDED_VARIABLE] = path[len(STANDARD_PATH) + 1 :]
    block = variables_to_linux(spawn.windows_environment, translator)
    environment = {**environment, **spawn.environment}
    if spawn.windows_environment:
        environment |= block.variables
        warnings = (*warnings, *block.warnings)
    return _changed(spawn, directories, environment), warnings


def _changed(spawn: Spawn, directories: tuple[str, ...], environment: dict[str, str]) -> Spawn:
    return Spawn(**{**vars(spawn), "directories": directories, "environment": environment})
