"""Who was started, written down, so that the next start can end what a crash left behind.

Linux and Windows end our children with us (`vm.process_posix`, `vm.process_windows`); macOS has
no such means, and on Linux a child may be too stuck to obey. A pid alone is no identity, since
the system uses it again, so the program and the time of its start are kept with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vm.files import delete, write_atomically

if TYPE_CHECKING:
    import psutil  # else once QEMU runs, which takes its time to start

_log = logging.getLogger(__name__)

_CREATE_TIME_TOLERANCE_S = 2.0
"""psutil adds the host's boot time, which moves when the clock is set."""
_KILL_WAIT_S = 5.0


@dataclass(frozen=True)
class ProcessIdentity:
    """One process, not to be taken for a later one with the same pid.

    create_time_s: seconds since the epoch, as psutil has it. executable: its path, or "" where
    the system does not tell.
    """

    pid: int
    create_time_s: float
    executable: str

    def find(self) -> psutil.Process | None:
        """The process, if it still runs."""
        import psutil

        try:
            process = psutil.Process(self.pid)
            age_difference_s = abs(process.create_time() - self.create_time_s)
            if not age_difference_s <= _CREATE_TIME_TOLERANCE_S:  # "not" so that NaN fails too
                return None
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return process if _executable(process) == self.executable else None
        except (psutil.Error, ValueError, OverflowError):  # the latter: no pid at all
            return None


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of the running process `pid`; None if it is over."""
    import psutil

    try:
        process = psutil.Process(pid)
        return ProcessIdentity(pid, process.create_time(), _executable(process))
    except psutil.Error:
        return None


def _executable(process: psutil.Process) -> str:
    import psutil

    try:
        return process.exe()
    except (psutil.AccessDenied, OSError):  # the latter: Wine
        return ""


def write_pid_file(path: Path, identity: ProcessIdentity) -> None:
    """Write `identity` to `path`, readable by this user only. Raises OSError."""
    write_atomically(path, json.dumps(asdict(identity)).encode())


def read_pid_file(path: Path) -> ProcessIdentity | None:
    """What `write_pid_file` wrote; None if there is no such file, or not a sound one."""
    try:
        fields = json.loads(path.read_bytes())
        return ProcessIdentity(
            int(fields["pid"]), float(fields["create_time_s"]), str(fields["executable"])
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None


async def end_orphan(path: Path, *, deadline_s: float = 10.0) -> bool:
    """End the process that `path` names, if it still runs, and remove the file.

    It is asked first, so that it can close its disks, and killed after `deadline_s` seconds.
    Returns whether there was one. Raises psutil.TimeoutExpired if even a kill did not help.
    """
    identity = read_pid_file(path)
    process = identity.find() if identity is not None else None
    if process is not None:
        _log.warning("ending process %d, left behind by an earlier run", process.pid)
        await asyncio.to_thread(_end, process, deadline_s)
    remove_pid_file(path)
    return process is not None


def remove_pid_file(path: Path) -> None:
    """Remove `path`, if it is there. Raises OSError."""
    delete(path)


def _end(process: psutil.Process, deadline_s: float) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(deadline_s)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(_KILL_WAIT_S)
