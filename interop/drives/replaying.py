"""The replayer in the guest, as the server sees it: when it gets what, and what it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from interop.drives.backend import Backend
from interop.drives.coherence import Foreign
from interop.drives.protocol import Header
from interop.drives.recording import Recorder
from interop.drives.replay import Replays, decode_said
from interop.drives.replayed import Replayed
from interop.drives.server import Server
from interop.drives.watches import Watches

_UNWATCHED_S = 0.1
"""How long to wait with the next batch where nobody watched when the last one came: looking for
who does costs the guest milliseconds."""

_WATCHED_S = 0.005


class Notifier(Protocol):
    """Where batches go."""

    def notify(self, messages: Sequence[bytes]) -> None:
        """Send notifications, behind what was sent before and in order."""


class Replaying:
    """Has what happens on the host replayed, and makes `server` answer the replayer.

    `settle` takes in what has been reported until now, by record() and lost().
    """

    def __init__(
        self,
        server: Server,
        notifier: Notifier,
        backend: Backend,
        watches: Watches,
        settle: Callable[[], object],
        clock: Callable[[], float],
        *,
        is_late: bool = False,
    ) -> None:
        self._server = server
        self._notifier = notifier
        self._clock = clock
        self._replays = Replays()
        self._recorder = Recorder(self._replays, watches, backend, settle, is_late=is_late)
        self._not_before = 0.0
        server.diverted = Replayed(
            self._replays, backend, settle, server.entry, server.attributes
        ).handlers
        server.helper = self._said

    def record(self, change: Foreign) -> None:
        """Something foreign happened; to be told before the node table is."""
        self._recorder.record(change, time.time())

    def lost(self) -> None:
        """Things happened that nobody has told."""
        self._recorder.lost(time.time())

    def go_on(self) -> float | None:
        """Send what is due. Returns in how many seconds to call it again at the latest."""
        look_s = self._recorder.look(time.time())
        if self._replays.batch is not None or not len(self._replays):
            return look_s
        wait_s = self._not_before - self._clock()
        if wait_s > 0:
            return wait_s if look_s is None else min(wait_s, look_s)
        batch = self._replays.next(self._recorder)
        if batch is not None:
            self._notifier.notify([batch.message])
        return look_s

    def _said(self, header: Header, body: memoryview) -> None:
        said = decode_said(body)
        if said is None:
            return
        self._server.diverted_pid = header.pid
        if self._replays.said(said):
            if not said.watchers:
                self._recorder.nobody_watches()
            pause_s = _WATCHED_S if said.watchers else _UNWATCHED_S
            self._not_before = self._clock() + pause_s
