"""Which ports are served in the machine: watched for the service while it wants to know.

The kernel announces, sock_diag is the truth. Only the machine's own network namespace counts: what
a container serves in one of its own is not at localhost in Linux either.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

from guest.agent.errors import AgentError
from guest.agent.listenevents import ListenEvents
from guest.agent.loop import READABLE, Loop
from guest.agent.nethooks import BindEvents
from guest.agent.sockdiag import Departures, Endpoint, Listener, SockDiag
from wire.agent import Port, PortsChanged
from wire.codec import Message

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from typing import Protocol

    class Source(Protocol):
        """Announces that sockets begin or cease to serve."""

        fd: int

        def read(self, known: set[Listener]) -> tuple[bool, set[Endpoint]]:
            """Whether to look what is served; sockets that are announced as about to serve."""

        def close(self) -> None:
            """Announce no more."""


_RETRIES_S = (0.001, 0.005, 0.02, 0.1, 0.3)
"""When to look again for a socket whose event was there before itself: the kernel announces it
(inet_csk_listen_start) moments before others can find it."""
_POLL_FIRST_S = 0.1
_POLL_LAST_S = 2.0
"""Without events: how long until the next look, doubled after each that showed nothing new."""
_CHUNK = 256
"""Ports in one event, at most."""


def _tcp_sources() -> list[Source]:
    return [ListenEvents()]


def _udp_sources() -> list[Source]:
    departures = Departures("udp")
    try:
        return [departures, BindEvents()]
    except BaseException:
        departures.close()
        raise


SOURCES: dict[str, Callable[[], list[Source]]] = {"tcp": _tcp_sources, "udp": _udp_sources}
"""What announces, by protocol. Each raises OSError or AgentError where the kernel does not."""


class PortWatch:
    """Tells the service by `send_event`. Nothing is watched before `start`."""

    def __init__(self, loop: Loop, send_event: Callable[[Message], None]) -> None:
        self._loop = loop
        self._send_event = send_event
        self._watches: list[ProtocolWatch] = []
        self._is_resting = False

    def start(self) -> None:
        """Tell of what is served, and of every change. Raises OSError where nobody can tell."""
        self._is_resting = False
        if self._watches:
            for watch in self._watches:
                watch.tell_again()
            return
        self._watches = [ProtocolWatch(self._loop, self._tell, protocol) for protocol in SOURCES]
        for watch in self._watches:
            watch.start()

    def rest(self) -> None:
        """Tell nothing until started again.

        The kernel goes on announcing: to have it do so is what takes long.
        """
        self._is_resting = True

    def _tell(self, event: Message) -> None:
        if not self._is_resting:
            self._send_event(event)

    def stop(self) -> None:
        """Watch no more."""
        for watch in self._watches:
            watch.stop()
        self._watches = []


class ProtocolWatch:
    """As PortWatch, for one protocol and once."""

    def __init__(self, loop: Loop, send_event: Callable[[Message], None], protocol: str) -> None:
        self._loop = loop
        self._send_event = send_event
        self._protocol = protocol
        self._diag: SockDiag | None = None
        self._sources: list[Source] = []
        self._known: set[Listener] = set()
        self._expected: set[Endpoint] = set()
        self._retry = 0

    def start(self) -> None:
        """Raises OSError where nobody can tell."""
        self._diag = SockDiag()
        listening = self._diag.listening(self._protocol)
        try:
            self._sources = SOURCES[self._protocol]()
        except (OSError, AgentError) as error:
            print(f"agent: {self._protocol} ports are polled: {error}", file=sys.stderr)
            self._call_later(_POLL_FIRST_S, lambda: self._poll(_POLL_FIRST_S))
        for source in self._sources:
            self._watch(source)
        self._update(listening)
        self._look()  # for what began before the events did

    def tell_again(self) -> None:
        """Tell of all that is served, as at the start."""
        self._known = set()
        self._look()

    def _watch(self, source: Source) -> None:
        self._loop.watch(source.fd, READABLE, lambda _events: self._on_event(source))

    def stop(self) -> None:
        """Tell nothing more."""
        for source in self._sources:
            self._loop.forget(source.fd)
            source.close()
        self._sources = []
        if self._diag is not None:
            self._diag.close()
            self._diag = None

    def _call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """The loop cannot take a timer back, so it asks whether there is still a watch."""
        self._loop.call_later(delay_s, lambda: None if self._diag is None else callback())

    def _on_event(self, source: Source) -> None:
        should_look, expected = source.read(self._known)
        self._expected |= expected
        if should_look:
            self._retry = 0
            self._look()

    def _look(self) -> None:
        """Ask the kernel, and again soon if what it has announced is not there."""
        assert self._diag is not None
        listening = self._diag.listening(self._protocol)
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
            if self._update(self._diag.listening(self._protocol)):
                following_s = _POLL_FIRST_S
        finally:
            self._call_later(following_s, lambda: self._poll(following_s))

    def _update(self, listening: set[Listener]) -> bool:
        """Tell the service what has changed; whether anything has."""
        opened = sorted(listening - self._known)
        closed = sorted(self._known - listening)
        self._known = listening
        for at in range(0, max(len(opened), len(closed)), _CHUNK):
            part = slice(at, at + _CHUNK)
            self._send_event(
                PortsChanged(opened=self._ports(opened[part]), closed=self._ports(closed[part]))
            )
        return bool(opened or closed)

    def _ports(self, listeners: list[Listener]) -> tuple[Port, ...]:
        """The message's form of listeners."""
        return tuple(
            Port(
                protocol=self._protocol,
                address=socket.inet_ntop(family, address),
                number=number,
                v6_only=v6_only,
            )
            for family, address, number, v6_only in listeners
        )
