"""A session of a client, carried on to the agent and back (docs/protocol.md §4).

Credit is granted end to end, by the client for output and by the agent for input, so the service
holds at most one window per stream; it only checks that both sides keep to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from service.errors import ServiceError
from service.link import AgentLink
from wire.codec import Message
from wire.common import Exited, Hangup, Resize, Signal
from wire.errors import FlowError
from wire.flow import WINDOW_BYTES
from wire.frame import Frame, FrameKind, StreamId, decode_credit

M = TypeVar("M", bound=Message)

CLIENT_SESSION = 1
"""The one session of a client's connection."""


class FrameSink(Protocol):
    """Where a relay sends what comes from the agent: a client's connection."""

    def send_frame(
        self, kind: int, stream: int, session: int, payload: bytes | memoryview = b""
    ) -> None:
        """Send a stream frame."""


class Allowance:
    """Bytes that one side of a session may still send on each of its streams."""

    def __init__(self) -> None:
        self._left = [WINDOW_BYTES] * (StreamId.TERMINAL + 1)

    def spend(self, frame: Frame) -> None:
        """Account for a DATA frame. Raises FlowError if its sender had no credit for it."""
        self._left[frame.stream] -= len(frame.payload)
        if self._left[frame.stream] < 0:
            raise FlowError(f"stream {frame.stream} of session {frame.channel} has no credit left")

    def add(self, frame: Frame) -> None:
        """Account for a CREDIT frame. Raises FlowError past WINDOW_BYTES."""
        self._left[frame.stream] += decode_credit(frame)
        if self._left[frame.stream] > WINDOW_BYTES:
            raise FlowError(f"too much credit on stream {frame.stream}")


INPUTS = (StreamId.STDIN, StreamId.TERMINAL)
"""Streams on which the side of the client sends data."""
OUTPUTS = (StreamId.STDOUT, StreamId.STDERR, StreamId.TERMINAL)
"""Streams on which the side of the process sends data."""


def check_direction(frame: Frame, inputs: tuple[int, ...]) -> None:
    """Refuse a frame whose sender may not send that kind on that stream. Raises FlowError.

    `inputs` are the streams that it sends data on; on the terminal both do.
    """
    is_sent = frame.kind in (FrameKind.DATA, FrameKind.EOF)
    is_input = frame.stream in inputs
    if frame.stream != StreamId.TERMINAL and is_sent != is_input:
        raise FlowError(f"frame kind {frame.kind} came the wrong way on stream {frame.stream}")


class Relay:
    """Joins session 1 of a client to a session of the agent. Implements service.link.Session."""

    def __init__(self, client: FrameSink, link: AgentLink) -> None:
        self._client = client
        self._link = link
        self._output = Allowance()
        self._input = Allowance()
        self._ended: asyncio.Future[Exited] = asyncio.get_running_loop().create_future()
        self._held: list[tuple[int, int, bytes]] | None = None
        self.number = link.open_session(self)

    # -- from the agent ------------------------------------------------------------------------

    def on_frame(self, frame: Frame) -> None:
        """service.link.Session: pass a stream frame on to the client. Raises FlowError."""
        check_direction(frame, inputs=OUTPUTS)
        if frame.kind == FrameKind.DATA:
            self._output.spend(frame)
        elif frame.kind == FrameKind.CREDIT:
            self._input.add(frame)
        if self._held is not None:
            self._held.append((frame.kind, frame.stream, bytes(frame.payload)))
            return
        self._client.send_frame(frame.kind, frame.stream, CLIENT_SESSION, frame.payload)

    def hold(self) -> None:
        """Keep what comes from the agent, at most a window per stream, until `release`."""
        self._held = []

    def release(self) -> None:
        """The client knows that its process runs: what that wrote meanwhile may follow."""
        held, self._held = self._held or [], None
        for kind, stream, payload in held:
            self._client.send_frame(kind, stream, CLIENT_SESSION, payload)

    def on_exit(self, exited: Exited) -> None:
        """service.link.Session: the process has ended."""
        if not self._ended.done():
            self._ended.set_result(exited)

    def on_lost(self, error: ServiceError) -> None:
        """service.link.Session: the link broke."""
        if not self._ended.done():
            self._ended.set_exception(error)
            self._ended.exception()  # nobody may be waiting, and that is no news for the log

    # -- from the client -----------------------------------------------------------------------

    def on_client_frame(self, frame: Frame) -> None:
        """Pass a stream frame on to the agent. Raises FlowError."""
        check_direction(frame, inputs=INPUTS)
        if frame.kind == FrameKind.DATA:
            self._input.spend(frame)
        elif frame.kind == FrameKind.CREDIT:
            self._output.add(frame)
        if not self._ended.done():
            self._link.send_frame(frame.kind, frame.stream, self.number, frame.payload)

    def on_client_event(self, event: Message) -> None:
        """Pass Resize, Signal and Hangup on, under the agent's session number."""
        if self._ended.done():
            return
        if isinstance(event, Resize):
            self._link.send_event(
                Resize(session=self.number, rows=event.rows, columns=event.columns)
            )
        elif isinstance(event, Signal):
            self._link.send_event(Signal(session=self.number, number=event.number))
        elif isinstance(event, Hangup):
            self.hang_up()

    def hang_up(self) -> None:
        """The client is gone."""
        if not self._ended.done():
            self._link.send_event(Hangup(session=self.number))

    def hang_up_started(self, starting: asyncio.Future[M]) -> None:
        """A done callback for the request that starts the process, when the client is gone."""
        if starting.cancelled() or starting.exception() is not None:
            self.drop()
        else:
            self.hang_up()

    async def wait_ended(self) -> Exited:
        """Wait for the process's end. Raises ServiceError if the link breaks before."""
        return await asyncio.shield(self._ended)

    def drop(self) -> None:
        """The agent refused to start the process."""
        self._link.drop_session(self.number)
        self._ended.cancel()


RelayFactory = Callable[[AgentLink], Relay]
"""Makes the relay of a client's session 1 once it is known which link to use."""
