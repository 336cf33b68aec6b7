"""QEMU's monitor protocol: commands with deadlines, events, and errors that say which they are.

The protocol itself is the library `qemu.qmp`'s. What is added here: every command ends, with an
answer, a refusal (`QmpRefused`: nothing has changed) or neither (`QmpOutcomeUnknown`).

Reference: QEMU's docs/interop/qmp-spec.rst; the commands are declared in its qapi/*.json.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import cast

from qemu.qmp import (
    EventListener,
    ExecInterruptedError,
    ExecuteError,
    QMPClient,
    QMPError,
    StateError,
)

from vm.errors import QmpOutcomeUnknown, QmpRefused, VmError

_log = logging.getLogger(__name__)

DEFAULT_DEADLINE_S = 10.0
_CLOSE_DEADLINE_S = 2.0

Event = Mapping[str, object]
"""One QMP event: "event" (its name), "data", "timestamp"."""

Explain = Callable[[], Awaitable[VmError | None]]
"""Says why the connection was lost, if that is known: see `Qmp.connect`."""


class EventStream:
    """The events of the names it was made for, from the moment it was made."""

    def __init__(self, listener: EventListener, lost: asyncio.Event) -> None:
        self._listener = listener
        self._lost = lost

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        """The next event; the iteration ends when the connection does."""
        if self._listener.empty() and not self._lost.is_set():
            event = asyncio.ensure_future(self._listener.get())
            lost = asyncio.ensure_future(self._lost.wait())
            try:
                await asyncio.wait({event, lost}, return_when=asyncio.FIRST_COMPLETED)
                if event.done():
                    return cast(Event, event.result())
            finally:
                event.cancel()
                lost.cancel()
        if self._listener.empty():
            raise StopAsyncIteration
        return cast(Event, await self._listener.get())

    def discard(self) -> None:
        """Forget what has come so far: a query has told what came of it."""
        self._listener.clear()


class Qmp:
    """A connection to one QEMU's monitor. Made by `connect`, ended by `close`."""

    def __init__(self, client: QMPClient, explain: Explain | None = None) -> None:
        self._client = client
        self._explain = explain
        self._lost = asyncio.Event()
        self.pause_requested = False
        """Whether `stop` was called, and `cont` not since: a pause is then no sign of trouble."""
        self._watcher = asyncio.create_task(self._watch(), name="QMP connection watcher")

    @classmethod
    async def connect(
        cls,
        sock: socket.socket,
        *,
        deadline_s: float = DEFAULT_DEADLINE_S,
        explain: Explain | None = None,
    ) -> Qmp:
        """Greet QEMU on the connected socket `sock`, which from here on belongs to the result.

        explain: asked, when the connection is lost under a command, for a better error to raise
        than QmpOutcomeUnknown. Raises QmpOutcomeUnknown if QEMU does not answer in time.
        """
        client = QMPClient("isthmus")
        # The client's own listener keeps every event for ever; nobody reads it here.
        client.events.event_filter = lambda event: False
        try:
            async with asyncio.timeout(deadline_s):
                await client.connect(sock)
        except AssertionError as error:
            # The library asserts that the session is still up when it returns (0.0.6,
            # protocol.py, connect); a QEMU that ends this early has hung up by then.
            await _disconnect(client)
            raise QmpOutcomeUnknown("qmp_capabilities", "QEMU hung up") from error
        except (TimeoutError, QMPError) as error:
            sock.close()
            why = str(error) or f"nothing within {deadline_s:g} s"
            raise QmpOutcomeUnknown("qmp_capabilities", why) from error
        except BaseException:
            sock.close()
            raise
        return cls(client, explain)

    @property
    def lost(self) -> asyncio.Event:
        """Set once the connection is over, by whichever side."""
        return self._lost

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        deadline_s: float = DEFAULT_DEADLINE_S,
    ) -> object:
        """Run `command` and return its result as decoded JSON.

        Raises QmpRefused if QEMU says no. Raises QmpOutcomeUnknown if no answer came within
        `deadline_s` seconds, or whatever `explain` gave if the connection was lost.
        """
        try:
            async with asyncio.timeout(deadline_s):
                return await self._client.execute(command, arguments)
        except ExecuteError as error:
            raise QmpRefused(command, error.error_class, str(error)) from error
        except TimeoutError:
            raise QmpOutcomeUnknown(command, f"nothing within {deadline_s:g} s") from None
        except (ExecInterruptedError, StateError) as error:
            explanation = await self._explain() if self._explain is not None else None
            if explanation is not None:
                raise explanation from error
            raise QmpOutcomeUnknown(command, "the connection to QEMU was lost") from error
        except QMPError as error:
            raise QmpOutcomeUnknown(command, str(error)) from error

    @contextlib.contextmanager
    def events(self, *names: str) -> Iterator[EventStream]:
        """The events called `names` (all, if none is given), while the context lasts.

        Enter it before sending the command whose event is waited for, so that none is missed.
        """
        with self._client.listener(names) as listener:
            yield EventStream(listener, self._lost)

    async def query_status(self) -> str:
        """QEMU's RunState: "running", "paused", "internal-error", … (qapi/run-state.json)."""
        answer = cast(Mapping[str, object], await self.execute("query-status"))
        return str(answer["status"])

    async def is_frontend_open(self, chardev: str) -> bool:
        """Whether the guest has the port on `chardev` open (`query-chardev`, qapi/char.json)."""
        answer = cast(Sequence[Mapping[str, object]], await self.execute("query-chardev"))
        return any(one["label"] == chardev and one["frontend-open"] is True for one in answer)

    async def stop(self, *, deadline_s: float = DEFAULT_DEADLINE_S) -> None:
        """Pause the processors; on the way QEMU completes and flushes all disk requests.

        Not to be sent with `execute`: `vm.machine` takes a pause that it was not told of for a
        failure of the accelerator, and ends the machine.
        """
        self.pause_requested = True
        await self.execute("stop", deadline_s=deadline_s)

    async def cont(self) -> None:
        """Let the processors run again."""
        await self.execute("cont")
        self.pause_requested = False

    async def send_descriptor(self, descriptor: int, name: str) -> None:
        """Give QEMU a copy of a file descriptor; commands call it "fd:NAME". POSIX only."""
        self._client.send_fd_scm(descriptor)
        await self.execute("getfd", {"fdname": name})

    async def quit(self, *, deadline_s: float = DEFAULT_DEADLINE_S) -> None:
        """Tell QEMU to close its disks and end; returns once it has understood."""
        await self.execute("quit", deadline_s=deadline_s)

    async def human_monitor(self, command_line: str) -> str:
        """Run a command of the human monitor, where QMP has no equivalent (hostfwd_add)."""
        answer = await self.execute("human-monitor-command", {"command-line": command_line})
        return str(answer)

    async def blockdev_add(
        self, options: Mapping[str, object], *, deadline_s: float = DEFAULT_DEADLINE_S
    ) -> None:
        """Open a block device; `options` is a BlockdevOptions of qapi/block-core.json."""
        await self.execute("blockdev-add", options, deadline_s=deadline_s)

    async def blockdev_del(self, node_name: str, *, deadline_s: float = DEFAULT_DEADLINE_S) -> None:
        """Flush and close a block device that no guest device uses any more."""
        await self.execute("blockdev-del", {"node-name": node_name}, deadline_s=deadline_s)

    async def device_add(
        self, options: Mapping[str, object], *, deadline_s: float = DEFAULT_DEADLINE_S
    ) -> None:
        """Plug a device in; `options` are "driver", "id", "bus" and the driver's own."""
        await self.execute("device_add", options, deadline_s=deadline_s)

    async def device_del(self, device: str, *, deadline_s: float = DEFAULT_DEADLINE_S) -> None:
        """Unplug the device with id `device` and wait until it is gone.

        Raises QmpRefused if there is none, QmpOutcomeUnknown if DEVICE_DELETED does not come
        within `deadline_s` seconds: some buses let the guest delay, or refuse, the removal.
        """
        with self.events("DEVICE_DELETED") as events:
            await self.execute("device_del", {"id": device}, deadline_s=deadline_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(deadline_s):
                    async for event in events:
                        if cast(Mapping[str, object], event["data"]).get("device") == device:
                            return
        raise QmpOutcomeUnknown("device_del", f"{device} did not report its removal")

    async def close(self) -> None:
        """End the connection; QEMU goes on. May be repeated."""
        self._watcher.cancel()
        await asyncio.wait({self._watcher})
        self._lost.set()
        await _disconnect(self._client)

    async def _watch(self) -> None:
        """Set `lost` when the session ends, so that those who wait for events are told."""
        while self._client.runstate.name == "RUNNING":
            await self._client.runstate_changed()
        self._lost.set()


async def _disconnect(client: QMPClient) -> None:
    """End `client`'s session, whatever state it is in.

    The library repeats the error that ended the session, which `execute` has reported, and first
    waits for everything sent to be taken, which a stuck QEMU may never do.
    """
    with contextlib.suppress(QMPError, EOFError, OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_DEADLINE_S):
            await client.disconnect()


def event_data(event: Event) -> Mapping[str, object]:
    """The "data" member of an event; events without one (STOP, RESUME) give an empty mapping."""
    data = event.get("data")
    return data if isinstance(data, Mapping) else {}
