"""Saving the state of a machine's devices, and loading it, over QEMU's monitor.

Memory is not part of it: it is shared with QEMU (`vm.memory_posix`), and copied there. The state
crosses a socket pair whose one end QEMU is given over its monitor's own socket, so nothing of it is
ever in the file system but where we put it. Reference: QEMU's docs/devel/migration/main.rst; the
commands are declared in qapi/migration.json.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from typing import cast

from vm.errors import SnapshotUnusable
from vm.qmp import Qmp, event_data

DEADLINE_S = 30.0
"""For either direction: the state is less than a megabyte."""

_CHANNEL = "state"
_CAPABILITIES = ("x-ignore-shared", "events")
_READ_BYTES = 1 << 20
_MAXIMUM_BYTES = 64 * 1024 * 1024


async def save_state(qmp: Qmp) -> bytes:
    """Pause the machine for good and return the state of its devices.

    Its memory holds, from then on, what belongs to that state. Raises SnapshotUnusable, VmError.
    """
    await qmp.stop()
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        with theirs:
            await _prepare(qmp, theirs)
        reading = asyncio.create_task(_read_all(ours))
        try:
            await _migrate(qmp, "migrate")
            async with asyncio.timeout(DEADLINE_S):
                return await reading
        except TimeoutError:
            raise SnapshotUnusable("QEMU did not end its state") from None
        finally:
            reading.cancel()


async def load_state(qmp: Qmp, state: bytes) -> None:
    """Give `state` to a machine that was started to wait for it, and let the guest run.

    Its memory must be filled already. Raises SnapshotUnusable, VmError.
    """
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        with theirs:
            await _prepare(qmp, theirs)
        writing = asyncio.create_task(_write_all(ours, state))
        try:
            await _migrate(qmp, "migrate-incoming")
        finally:
            writing.cancel()
    await qmp.cont()


async def _prepare(qmp: Qmp, theirs: socket.socket) -> None:
    wanted = [{"capability": name, "state": True} for name in _CAPABILITIES]
    await qmp.execute("migrate-set-capabilities", {"capabilities": wanted})
    await qmp.send_descriptor(theirs.fileno(), _CHANNEL)


async def _migrate(qmp: Qmp, command: str) -> None:
    """Run a migration to its end."""
    with qmp.events("MIGRATION") as events:
        await qmp.execute(command, {"uri": f"fd:{_CHANNEL}"})
        try:
            async with asyncio.timeout(DEADLINE_S):
                async for event in events:
                    status = event_data(event).get("status")
                    if status == "completed":
                        return
                    if status == "failed":
                        raise SnapshotUnusable(await _failure(qmp))
        except TimeoutError:
            raise SnapshotUnusable(f"QEMU was silent for {DEADLINE_S:g} s") from None
    raise SnapshotUnusable("QEMU has ended")


async def _failure(qmp: Qmp) -> str:
    """QEMU's own words, where it has any."""
    answer = cast(Mapping[str, object], await qmp.execute("query-migrate"))
    return str(answer.get("error-desc", "QEMU does not say why"))


async def _read_all(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    data = bytearray()
    while piece := await loop.sock_recv(sock, _READ_BYTES):
        data += piece
        if len(data) > _MAXIMUM_BYTES:
            raise SnapshotUnusable("its state is too long")
    return bytes(data)


async def _write_all(sock: socket.socket, state: bytes) -> None:
    with contextlib.suppress(OSError):  # QEMU says better what it did not like
        await asyncio.get_running_loop().sock_sendall(sock, state)
        sock.shutdown(socket.SHUT_WR)
