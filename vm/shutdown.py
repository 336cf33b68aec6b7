"""The shutdown ladder: from asking the guest down to killing QEMU, each step with a deadline.

Why no rung loses what the guest has fsync'ed: disks are opened with cache=writeback and flushes
on, so that when the guest's fsync returned, QEMU had written data and image tables and called
fdatasync on the image. Ending QEMU, by any signal, takes nothing back of that. The upper rungs
save what was written but not yet synchronised too: the guest's by unmounting, QEMU's by flushing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vm.exit_report import ExitReport, ShutdownRung
from vm.process import CAN_ASK_TO_END, Child
from vm.qmp import Qmp

_log = logging.getLogger(__name__)

_AFTERMATH_S = 0.3


@dataclass(frozen=True)
class Deadlines:
    """How long each rung may take, in seconds, before the next one is tried."""

    guest_s: float = 30.0
    """From asking the guest to QEMU's end: programs end, file systems are written."""
    quit_s: float = 20.0
    """From QMP's `stop` to QEMU's end: the host writes its caches."""
    terminate_s: float = 5.0
    """From SIGTERM to QEMU's end."""
    kill_s: float = 10.0
    """From the kill to the end of the process."""


async def climb_down(
    child: Child,
    qmp: Qmp | None,
    ended: asyncio.Future[ExitReport],
    ask_guest: Callable[[], Awaitable[None]] | None,
    deadlines: Deadlines,
    on_rung: Callable[[ShutdownRung], None],
) -> None:
    """Try each rung until `ended` is done; `on_rung` is told of each before it is tried.

    Raises TimeoutError if the process has not ended `deadlines.kill_s` after its kill.
    """
    if ask_guest is not None:
        on_rung(ShutdownRung.GUEST)
        if await _try(ask_guest, ended, deadlines.guest_s, "the guest"):
            return
    if qmp is not None and not qmp.lost.is_set():
        on_rung(ShutdownRung.QUIT)
        if await _try(lambda: _flush_and_quit(qmp, deadlines), ended, deadlines.quit_s, "QEMU"):
            return
    if CAN_ASK_TO_END:
        on_rung(ShutdownRung.TERMINATE)
        child.terminate()
        if await _within(ended, deadlines.terminate_s):
            return
        _log.warning("QEMU did not end within %g s of SIGTERM", deadlines.terminate_s)
    if ended.done():
        return
    on_rung(ShutdownRung.KILL)
    child.kill()
    if not await _within(ended, deadlines.kill_s):
        raise TimeoutError(f"QEMU, pid {child.pid}, did not end when killed")


async def _flush_and_quit(qmp: Qmp, deadlines: Deadlines) -> None:
    # stop: requests under way are completed and every disk is flushed (softmmu/cpus.c,
    # do_vm_stop), with nothing new coming in behind.
    await qmp.stop(deadline_s=deadlines.quit_s)
    await qmp.quit(deadline_s=deadlines.quit_s)


async def _try(
    ask: Callable[[], Awaitable[None]],
    ended: asyncio.Future[ExitReport],
    deadline_s: float,
    whom: str,
) -> bool:
    """Run `ask` and wait for the end, both within `deadline_s`; returns whether it has come.

    If `ask` raises, the rest of the deadline is not waited for: nobody is going to end.
    """
    asking = asyncio.ensure_future(_awaited(ask))
    try:
        async with asyncio.timeout(deadline_s):
            either: set[asyncio.Future[None] | asyncio.Future[ExitReport]] = {asking, ended}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done() and asking.exception() is not None:
                _log.warning("%s could not be asked to end: %s", whom, asking.exception())
                # The end itself can be what broke the question off, and is then moments away.
                return await _within(ended, min(deadline_s, _AFTERMATH_S))
            await asyncio.shield(ended)
    except TimeoutError:
        _log.warning("%s did not end within %g s of being asked", whom, deadline_s)
    finally:
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await asking
    return ended.done()


async def _awaited(ask: Callable[[], Awaitable[None]]) -> None:
    await ask()


async def _within(ended: asyncio.Future[ExitReport], deadline_s: float) -> bool:
    await asyncio.wait({ended}, timeout=deadline_s)
    return ended.done()
