"""The agent's event loop: epoll, timers, and worker threads that report back.

Not asyncio: importing it costs a third of a second under emulation, at every cold boot.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
_ENDED = select.EPOLLHUP | select.EPOLLERR


class Loop:
    """One thread waits; callbacks run on it, one at a time. None of them may block."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._posted: deque[Callable[[], None]] = deque()
        self._fresh: set[int] = set()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._running = False
        self.watch(self._wakeup, READABLE, self._on_wakeup)

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback(events)` whenever `fd` is ready for `events`, hung up or in error."""
        self._callbacks[fd] = callback
        self._fresh.add(fd)
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Wait for other `events` of a watched `fd`; 0 leaves only hang-up and error."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching `fd`; must come before it is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call `callback` once, `delay_s` seconds from now."""
        due = time.monotonic() + delay_s
        heapq.heappush(self._timers, (due, next(self._order), callback))

    def post(self, callback: Callable[[], None]) -> None:
        """Call `callback` on the loop's thread, soon. The one method other threads may call."""
        self._posted.append(callback)
        os.eventfd_write(self._wakeup, 1)

    def run_in_thread(
        self, work: Callable[[], T], done: Callable[[T | None, Exception | None], None]
    ) -> None:
        """Run `work` in a thread of its own, then `done(result, error)` on the loop's."""

        def body() -> None:
            result: T | None = None
            error: Exception | None = None
            try:
                result = work()
            except Exception as caught:
                error = caught
            self.post(lambda: done(result, error))

        threading.Thread(target=body, daemon=True).start()

    def _on_wakeup(self, _events: int) -> None:
        os.eventfd_read(self._wakeup)
        # One by one: a callback that fails must not take the others with it, nor may one that
        # a thread adds at this moment get lost.
        while self._posted:
            self._call(self._posted.popleft())

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            traceback.print_exc(file=sys.stderr)

    def stop(self) -> None:
        """Leave `run` after the current callback."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`. A callback's exception is logged and costs that callback only."""
        self._running = True
        while self._running:
            self._fresh.clear()
            for fd, events in self._epoll.poll(self._next_delay()):
                callback = self._callbacks.get(fd)
                if callback is None or fd in self._fresh:
                    # An earlier callback of this round has removed it, and may have opened
                    # another file under its number, which these events are not about.
                    continue
                try:
                    callback(events)
                except Exception:
                    traceback.print_exc(file=sys.stderr)
            self._run_timers()

    def _next_delay(self) -> float:
        if not self._timers:
            return -1
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            self._call(heapq.heappop(self._timers)[2])


def has_ended(events: int) -> bool:
    """Whether epoll's `events` say that the other end is gone."""
    return bool(events & _ENDED)
