"""Where Isthmus keeps things on the host (docs/state-files.md). Pure: environment in, paths out.

Here, because both the client (to find the service) and the service need them, and because
the client cannot afford a library's import for it.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping

AHEAD = "ISTHMUS_AHEAD"
"""The variable that a client which is about to run something sets for the service that it starts: a
machine will be wanted."""

_MAX_SOCKET_PATH = 100
"""sun_path of sockaddr_un holds 108 bytes on Linux, 104 on macOS (unix(7))."""


class Places:
    """The directories and files of one user's Isthmus."""

    __slots__ = ("home", "run_directory")

    def __init__(self, home: str, run_directory: str) -> None:
        self.home = home
        """Everything that lasts: distributions, settings, logs."""
        self.run_directory = run_directory
        """What only lives while the service does; mode 0700."""

    @property
    def registry(self) -> str:
        """The list of distributions."""
        return os.path.join(self.home, "distributions.json")

    @property
    def disks(self) -> str:
        """Default place of distribution disks."""
        return os.path.join(self.home, "disks")

    @property
    def unfinished(self) -> str:
        """Notes of disks that are being made."""
        return os.path.join(self.home, "unfinished")

    @property
    def suspended(self) -> str:
        """The suspended machine, while there is one."""
        return os.path.join(self.home, "suspended")

    @property
    def ahead(self) -> str:
        """How QEMU was started last, for it to be started so before anything else is done."""
        return os.path.join(self.home, "ahead.json")

    @property
    def logs(self) -> str:
        """The service's log and the VM's serial log."""
        return os.path.join(self.home, "logs")

    @property
    def pid_file(self) -> str:
        """Which process is QEMU, while it runs."""
        return os.path.join(self.run_directory, "qemu.json")

    @property
    def snapshot_pid_file(self) -> str:
        """Which process is the QEMU of a machine that is booted to be saved."""
        return os.path.join(self.run_directory, "snapshot.json")

    @property
    def lock(self) -> str:
        """Held by the service as long as it runs."""
        return os.path.join(self.home, "service.lock")

    @property
    def endpoint(self) -> str:
        """The service's socket on POSIX; on Windows the file that says its port and token."""
        return os.path.join(self.run_directory, "service")


def find_places(environment: Mapping[str, str], platform: str, user: str) -> Places:
    """Directories for `platform` (a sys.platform value). `user` tells users apart in /tmp.

    ISTHMUS_HOME moves everything. Else: XDG Base Directory Specification on Linux, the Apple
    and Windows conventions elsewhere. Raises KeyError, naming the variable, where the
    environment lacks what it takes.
    """
    home = environment.get("ISTHMUS_HOME") or _default_home(environment, platform)
    run_directory = os.path.join(home, "run")
    if platform != "win32" and len(run_directory) > _MAX_SOCKET_PATH - len("/service"):
        import hashlib  # 4 ms that few clients need to spend

        digest = hashlib.sha256(home.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        run_directory = f"/tmp/isthmus-{user}-{digest}"
    return Places(home, run_directory)


def _default_home(environment: Mapping[str, str], platform: str) -> str:
    if platform == "win32":
        return environment["LOCALAPPDATA"] + "\\isthmus"
    if platform == "darwin":
        return environment["HOME"] + "/Library/Application Support/isthmus"
    state = environment.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):  # the specification: relative values are to be ignored
        state = environment["HOME"] + "/.local/state"
    return state + "/isthmus"
