"""One mount: its server, its watcher, and what the kernel is told when the host changes something.

The states a mount is in are words that users see: "watching", and "limited" where changes are not
reported, or not all of them, so that nothing may be remembered for longer than a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from interop.drives.ahead import Ahead
from interop.drives.backend import Backend
from interop.drives.changes import ATTRIBUTES, Change, Report
from interop.drives.coherence import Decision, foreign
from interop.drives.metadata import Options
from interop.drives.replaying import Replaying
from interop.drives.server import KEPT_S, Port, Server
from interop.drives.watches import Watches

WATCHING = "watching"
LIMITED = "limited"

LIFETIME_S = 1.0
"""How long the kernel may go by what it will not be told the changes of."""

_LOST_S = 10.0
"""How long after changes were lost nothing is remembered for long: where so much happens, all that
was remembered would soon have to be dropped again."""

_WRITTEN_S = 0.5
"""How long a file stays open that was written to: nobody tells when the guest has closed it."""

OnState = Callable[[str, str], None]
"""(WATCHING or LIMITED, why): called when it changes."""


class MountPort(Port, Protocol):
    """What a mount needs of a transport."""

    def attend(self, fd: int) -> None:
        """Have receive() return when `fd` is readable, too."""

    def notify(self, messages: Sequence[bytes]) -> None:
        """Send notifications, behind what was sent before and in order."""


class Source(Protocol):
    """Where changes are reported (`interop.drives.watcher_posix.InotifyWatcher`)."""

    def fileno(self) -> int:
        """What is readable when there is something to read()."""

    @property
    def is_late(self) -> bool:
        """Whether what it reports may be of before what the guest has seen or done since."""

    def read(self) -> Report:
        """What happened since the last time; does not wait."""


class Mount:
    """Serves `backend`, whose directories are `watches`, over `port`; the caller closes all.

    `source` reports changes; without one, or while it lost some, the mount is limited. With
    `has_replayer` there is somebody in the guest who makes Linux watchers hear of them; with
    `takes_ahead` the other end takes answers that nobody has asked for yet, as pumps do.
    """

    def __init__(
        self,
        port: MountPort,
        backend: Backend,
        options: Options,
        watches: Watches,
        source: Source | None,
        *,
        on_state: OnState = lambda state, text: None,
        has_replayer: bool = False,
        takes_ahead: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server = Server(port, backend, options, lifetime_s=LIFETIME_S)
        self._port = port
        self._backend = backend
        self._watches = watches
        self._source = source
        self._on_state = on_state
        self._clock = clock
        self._state: tuple[str, str] | None = None
        self._lost_until = 0.0
        self._replaying = (
            Replaying(
                *(self.server, port, backend, watches, self._settle, clock),
                is_late=source is not None and source.is_late,
            )
            if has_replayer
            else None
        )
        if takes_ahead and source is not None:
            server = self.server
            server.ahead = Ahead(
                watches.nodes, backend, lambda: server.kept_lifetime_s == KEPT_S, server.attributes
            )

    def serve(self) -> None:
        """Answer requests until the mount ends. Raises what Server.serve() does."""
        if self._source is not None:
            self._port.attend(self._source.fileno())
        self.server.serve(self._between)

    def _between(self) -> float | None:
        waits = [self._settle()]
        now = self._clock()
        written = self._backend.close_written(now - _WRITTEN_S)
        if written is not None:
            waits.append(written + _WRITTEN_S - now)
        if self._replaying is not None:
            waits.append(self._replaying.go_on())
        return min((wait for wait in waits if wait is not None), default=None)

    def _settle(self) -> float | None:
        timeout_s = self._tell_state()
        source = self._source
        if source is None:
            return timeout_s
        report = source.read()
        watches = self._watches
        if report.over:
            report = report._replace(lost=True)
            self._source = None
        if not report.changes and not report.lost and not watches.evicted:
            watches.mine.clear()
            watches.told = None
            return timeout_s
        decision = Decision(watches, self._backend.identify)
        if report.lost:
            self._lost_until = self._clock() + _LOST_S
            if self.server.kept_lifetime_s != LIFETIME_S:  # or nothing is remembered for long
                self.server.kept_lifetime_s = LIFETIME_S
                decision.expire_all()
            if self._replaying is not None:
                self._replaying.lost()
        while watches.evicted:
            decision.expire(*watches.evicted.pop())
        # What is most likely its own is looked at, for another may have been there since.
        changes = [c for c in report.changes if not c.is_own or not decision.is_as_known(c)]
        for change in foreign(changes, self._mine(changes)):
            if self._replaying is not None:
                self._replaying.record(change)
            decision.apply(change)
        watches.mine.clear()
        watches.told = None
        if len(decision.forgetting):
            self._port.notify(decision.forgetting.messages())
        return self._tell_state()

    def _mine(self, changes: list[Change]) -> dict[tuple[int, bytes], int]:
        """What the server did itself, but for attributes that another has changed meanwhile."""
        mine, told = self._watches.mine, self._watches.told
        if told is None or not any(change.kind & ATTRIBUTES for change in changes):
            return mine
        try:
            if self._backend.getattr(told.node).attributes == told.attributes:
                return mine
        except OSError:
            pass
        return {key: kind & ~ATTRIBUTES for key, kind in mine.items()}

    def _tell_state(self) -> float | None:
        """Say what state the mount is in, if that is new; returns in how many seconds it may be."""
        state, timeout_s = (WATCHING, ""), None
        if self._source is None:
            state = (LIMITED, "changes on the host are not reported")
        elif self._lost_until:
            timeout_s = self._lost_until - self._clock()
            if timeout_s > 0:
                state = (LIMITED, "more has changed than could be reported")
            else:
                timeout_s, self._lost_until = None, 0.0
                self.server.kept_lifetime_s = KEPT_S
        elif self._watches.is_short:
            state = (LIMITED, f"the host lets only {self._watches.limit} directories be watched")
        if state != self._state:
            self._state = state
            self._on_state(*state)
        return timeout_s
