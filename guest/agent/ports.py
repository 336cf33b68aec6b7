"""Which ports are served in the machine: watched for the service while it wants to know.

The kernel announces (guest.agent.listenevents), sock_diag is the truth. Only the machine's own
network namespace counts: what a container serves in one of its own is not at localhost in Linux
either.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

from guest.agent.listenevents import Endpoint, ListenEvents
from guest.agent.loop import READABLE, Loop
from guest.agent.sockdiag import Listener, SockDiag
from wire.agent import Port, PortsChanged
from wire.codec import Message

PROTOCOL = "tcp"
_RETRIES_S = (0.001, 0.005, 0.02, 0.1, 0.3)
"""When to look again for a socket whose event was there before itself: the kernel announces it
(inet_csk_listen_start) moments before others can find it."""
_POLL_FIRST_S = 0.1
_POLL_LAST_S = 2.0
"""Without events: how long until the next look, doubled after each that showed nothing new."""
_CHUNK = 256
"""Ports in one event, at most."""


class PortWatch:
    """Tells the service by `send_event`. Nothing is watched before `start`."""

    def __init__(self, loop: Loop, send_event: Callable[[Message], None]) -> None:
        self._loop = loop
        self._send_event = send_event
        self._diag: SockDiag | None = None
        self._events: ListenEvents | None = None
        self._known: set[Listener] = set()
        self._expected: set[Endpoint] = set()
        self._retry = 0
        self._generation = 0
        """Timers of an earlier one are void: the loop cannot take a timer back."""

    def start(self) -> None:
        """Tell of what is served, and of every change. Raises OSError where nobody can tell."""
        self.stop()
        self._diag = SockDiag()
        try:
            listening = self._diag.listening(PROTOCOL)
        except OSError:
            self.stop()
            raise
        try:
            self._events = ListenEvents()
            self._loop.watch(self._events.fd, READABLE, self._on_events)
        except OSError as error:
            print(f"agent: ports are looked for now and then: {error}", file=sys.stderr)
            self._call_later(_POLL_FIRST_S, lambda: self._poll(_POLL_FIRST_S))
        self._update(listening)
        self._look()  # for what began before the events did

    def stop(self) -> None:
        """Watch no more."""
        self._generation += 1
        if self._events is not None:
            self._loop.forget(self._events.fd)
            self._events.close()
            self._events = None
        if self._diag is not None:
            self._diag.close()
            self._diag = None
        self._known.clear()
        self._expected.clear()

    def _call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        generation = self._generation

        def call() -> None:
            if generation == self._generation:
                callback()

        self._loop.call_later(delay_s, call)

    def _on_events(self, _events: int) -> None:
        assert self._events is not None
        self._expected |= self._events.read()
        self._retry = 0
        self._look()

    def _look(self) -> None:
        """Ask the kernel, and again soon if what it has announced is not there."""
        assert self._diag is not None
        listening = self._diag.listening(PROTOCOL)
        self._update(listening)
        self._expected -= {listener[:3] for listener in listening}
        if not self._expected:
            return
        if self._retry == len(_RETRIES_S):
            self._expected.clear()  # closed at once, or in another network namespace
            return
        delay_s = _RETRIES_S[self._retry]
        self._retry += 1
        expected = self._retry

        def look_again() -> None:
            if self._expected and self._retry == expected:  # else an event has started over
                self._look()

        self._call_later(delay_s, look_again)

    def _poll(self, delay_s: float) -> None:
        assert self._diag is not None
        following_s = min(2 * delay_s, _POLL_LAST_S)
        try:
            if self._update(self._diag.listening(PROTOCOL)):
                following_s = _POLL_FIRST_S
        finally:
            self._call_later(following_s, lambda: self._poll(following_s))

    def _update(self, listening: set[Listener]) -> bool:
        """Tell the service what has changed; whether anything has."""
        opened = sorted(listening - self._known)
        closed = sorted(self._known - listening)
        self._known = listening
        for at in range(0, max(len(opened), len(closed)), _CHUNK):
            end = at + _CHUNK
            self._send_event(
                PortsChanged(
                    opened=tuple(map(port_of, opened[at:end])),
                    closed=tuple(map(port_of, closed[at:end])),
                )
            )
        return bool(opened or closed)


def port_of(listener: Listener) -> Port:
    """The message's form of a listener. Pure."""
    family, address, number, v6_only = listener
    text = socket.inet_ntop(family, address)
    return Port(protocol=PROTOCOL, address=text, number=number, v6_only=v6_only)
