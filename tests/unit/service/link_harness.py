"""An agent link with a fake agent at its other end, and a way to write asynchronous tests."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from service.link import AgentLink
from tests.unit.wire.strategies import PlainFrame
from wire.codec import Message, decode_message, encode_message
from wire.frame import HEADER, FrameKind, Role, encode_frame
from wire.preamble import ECHO, MAGIC, NONCE_BYTES

DEADLINE_S = 20.0
"""For what takes milliseconds: only a hang gets there."""

T = TypeVar("T")


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a coroutine function a test: each run has a loop of its own, and a deadline."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*arguments, **named), DEADLINE_S))

    return run


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something has come about; the test's deadline ends it."""
    while not condition():  # noqa: ASYNC110 - of what gives no event
        await asyncio.sleep(0.001)


async def settle() -> None:
    """Let everything that is ready happen."""
    for _ in range(10):
        await asyncio.sleep(0)
    await asyncio.sleep(0.002)


class FramePeer:
    """One end of a connection, spoken to frame by frame."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def attach(self, end: socket.socket) -> None:
        self.reader, self.writer = await asyncio.open_connection(sock=end)

    async def read_frame(self) -> PlainFrame:
        """The next frame. Raises IncompleteReadError at the end."""
        header = await self.reader.readexactly(HEADER.size)
        length, kind, stream, _reserved, channel = HEADER.unpack(header)
        return PlainFrame(kind, stream, channel, await self.reader.readexactly(length))

    async def read_message(self) -> tuple[int, int, Message]:
        """Role, number and message of the next frame, which must be one."""
        frame = await self.read_frame()
        assert frame.kind == FrameKind.MESSAGE, frame
        return frame.stream, frame.channel, decode_message(frame.payload)

    def send(self, kind: int, stream: int, channel: int, payload: bytes = b"") -> None:
        self.writer.write(encode_frame(kind, stream, channel, payload))

    def send_message(self, role: int, number: int, message: Message) -> None:
        self.send(FrameKind.MESSAGE, role, number, encode_message(message))

    async def is_at_end(self) -> bool:
        """Whether the other side has closed the connection; what it still sent is read."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionResetError:
            pass
        return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            await self.writer.wait_closed()


class FakeAgent(FramePeer):
    """The agent's end of a port."""

    def __init__(self) -> None:
        self.events: list[Message] = []
        self.answerers: dict[type[Message], Callable[[Any], Awaitable[Message]]] = {}
        self.link: AgentLink

    @classmethod
    async def start(cls, *, synchronised: bool = True) -> FakeAgent:
        """An agent and the service's link to it, greeted."""
        agent = cls()
        ours, theirs = socket.socketpair()
        agent.link = await AgentLink.open(ours, agent.events.append, agent.answerers)
        await agent.attach(theirs)
        if synchronised:
            await agent.open_port()
        return agent

    async def open_port(self) -> None:
        """As a new agent: the port is opened, which QEMU tells the service."""
        self.link.port_opened()
        self.answer(await self.read_preamble())
        await self.link.wait_synchronised()

    async def read_preamble(self) -> bytes:
        """The nonce of the next preamble, wherever it begins."""
        await self.reader.readuntil(MAGIC)
        return await self.reader.readexactly(NONCE_BYTES)

    def answer(self, nonce: bytes) -> None:
        self.writer.write(ECHO + nonce)

    def reply(self, number: int, message: Message) -> None:
        self.send_message(Role.REPLY, number, message)

    def event(self, message: Message) -> None:
        self.send_message(Role.EVENT, 0, message)

    async def read_request(self) -> tuple[int, Message]:
        role, number, message = await self.read_message()
        assert role == Role.REQUEST
        return number, message

    async def read_event(self) -> Message:
        role, number, message = await self.read_message()
        assert (role, number) == (Role.EVENT, 0)
        return message

    async def end(self) -> None:
        """Close both ends."""
        self.link.close()
        await self.close()


def with_agent(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """As asynchronous; the test's first argument is a greeted FakeAgent."""

    @functools.wraps(test)
    async def run(*arguments: Any, **named: Any) -> None:
        agent = await FakeAgent.start()
        try:
            await test(agent, *arguments, **named)
        finally:
            await agent.end()

    # pytest asks for what the signature names; the agent is no fixture.
    import inspect

    signature = inspect.signature(test)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=list(signature.parameters.values())[1:]
    )
    return asynchronous(run)


async def answered(work: Awaitable[T], answer: Awaitable[None]) -> T:
    """Run both at once; the result of `work`."""
    result, _ = await asyncio.gather(work, answer)
    return result
