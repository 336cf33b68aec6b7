"""POSIX's side of `vm.process`: how a child is kept from outliving this process."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

assert sys.platform != "win32"

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_NICENESS = 10
"""A tenth of what others get, where all want the processors: it does end, on a busy host too."""

CAN_ASK_TO_END = True
"""SIGTERM asks QEMU to end in order: it flushes its disks first."""


def spawn_options(*, is_background: bool = False) -> dict[str, Any]:
    """Keyword arguments for `asyncio.create_subprocess_exec`.

    A session of its own keeps the terminal's Ctrl-C from reaching the child.
    """
    options: dict[str, Any] = {"start_new_session": True}
    die_with_parent = _die_with_parent()
    if not is_background:
        before_exec = die_with_parent
    else:

        def before_exec() -> None:
            _stand_back()
            if die_with_parent is not None:
                die_with_parent()

    if before_exec is not None:
        options["preexec_fn"] = before_exec
    return options


def _stand_back() -> None:
    """Give way to everything else.

    Where Linux shares the processors among sessions first, a process's own niceness counts in its
    session only, and the session has one of its own (sched(7), "The autogroup feature").
    """
    os.nice(_NICENESS)
    try:
        autogroup = os.open("/proc/self/autogroup", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(autogroup, str(_NICENESS).encode())
    except OSError:
        pass  # it is switched off
    finally:
        os.close(autogroup)


def adopt(pid: int) -> None:
    """Bind the child's life to ours after the start: done before it, on POSIX."""


def is_dying(pid: int) -> bool:
    """Whether the process has been killed, or is over; False where the system does not tell.

    A process that was killed keeps its sockets until the kernel has taken its memory apart: for
    QEMU a tenth of a second, in which it still seems to be there (proc(5), /proc/pid/status).
    """
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            fields = dict(line.split(b":", 1) for line in file.read().splitlines())
        pending = int(fields[b"SigPnd"], 16) | int(fields[b"ShdPnd"], 16)
    except FileNotFoundError:
        return sys.platform == "linux"
    except (OSError, ValueError, KeyError):
        return False
    return b"VmRSS" not in fields or bool(pending & 1 << (signal.SIGKILL - 1))


def _die_with_parent() -> Callable[[], None] | None:
    """What the child runs between fork and exec so that Linux signals it when we die.

    SIGTERM and not SIGKILL: QEMU then closes its disks properly, so that not only what the guest
    synchronised survives but everything it wrote. Whoever ignores that is found through the pid
    file at the next start. The signal is bound to the *thread* that forked, (prctl(2)), which is
    why everything is spawned from the event loop's thread. None where there is no such call.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return before_exec
