"""What the agent asks the service (docs/protocol.md §6): requests the other way round.

It is how a program in a distribution gets something of the host.
"""

from __future__ import annotations

from collections.abc import Callable

from guest.agent.link import Link
from wire import failures
from wire.codec import Message
from wire.common import Failure
from wire.errors import FrameError, MessageError
from wire.frame import Role

OnReply = Callable[[Message], None]
"""Gets the reply to a request: of the kind that the request names, or a Failure."""

MAX_REQUESTS = 256
"""Requests under way at once: however many programs ask, the service is asked no more."""

_LOST = Failure(
    code=failures.AGENT_FAILED, message="the connection to the host was lost", partial=True
)
_BUSY = Failure(
    code=failures.BUSY,
    message="too many programs are asking the host at once",
    hint="Run the command again.",
)


class Service:
    """The service, as the agent sees it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._number = 0
        self._waiting: dict[int, OnReply] = {}

    def request(self, message: Message, on_reply: OnReply) -> None:
        """Ask; `on_reply` is called exactly once, with a Failure if the link breaks meanwhile."""
        if len(self._waiting) >= MAX_REQUESTS:
            on_reply(_BUSY)
            return
        self._number += 1
        self._waiting[self._number] = on_reply
        try:
            self._link.send(Role.REQUEST, self._number, message)
        except FrameError as error:
            del self._waiting[self._number]
            on_reply(Failure(code=failures.PROTOCOL, message=f"the request is too long: {error}"))

    def on_reply(self, number: int, reply: Message) -> None:
        """The service has answered. Raises MessageError where that was not asked for."""
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            raise MessageError(f"{reply.NAME} answers no request")
        waiting(reply)

    def drop_all(self) -> None:
        """The link has lost its state: no answer will come."""
        waiting, self._waiting = self._waiting, {}
        for on_reply in waiting.values():
            on_reply(_LOST)
