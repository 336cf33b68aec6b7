"""A distribution's helper socket on this host, with operations for tests."""

from __future__ import annotations

import errno
import os
import socket
from types import SimpleNamespace
from typing import cast

from guest.agent import distributions
from guest.agent.distributions import Distribution
from guest.agent.errors import AgentError
from guest.agent.helpers import Call, Helpers
from guest.agent.loop import Loop
from guest.helperprotocol import Body, string
from tests.unit.guest.agent_harness import run_until

ECHO, PIPE, REFUSE, FAIL, KEEP = 10, 11, 12, 13, 14
"""Operations of these tests."""


class World:
    """A distribution's socket, with handlers that do as their name says."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.calls: list[Call] = []
        self.later: list[tuple[int, bytes]] = []
        self.closed: list[Call] = []
        handlers = {
            ECHO: self._echo,
            PIPE: self._pipe,
            REFUSE: self._refuse,
            FAIL: self._fail,
            KEEP: self._keep,
        }
        self.distribution = cast(Distribution, SimpleNamespace(identity="d", name="test"))
        os.makedirs(distributions.helper_directory("d"))
        self.path = f"{distributions.helper_directory('d')}/{distributions.SOCKET_NAME}"
        self.helpers = Helpers(loop, handlers)
        self.helpers.listen(self.distribution)

    def _echo(self, call: Call, body: bytes) -> None:
        self.calls.append(call)
        read = Body(body)
        texts = read.strings()
        read.finish()
        call.finish(ECHO | 0x80, b"".join(map(string, texts)))

    def _pipe(self, call: Call, body: bytes) -> None:
        reader, writer = os.pipe()
        os.write(writer, body[4:-1])
        os.close(writer)
        call.finish(PIPE | 0x80, fds=[reader])
        os.close(reader)

    def _refuse(self, call: Call, body: bytes) -> None:
        raise AgentError("not today", hint="Come tomorrow.")

    def _fail(self, call: Call, body: bytes) -> None:
        raise PermissionError(errno.EACCES, "no")

    def _keep(self, call: Call, body: bytes) -> None:
        self.calls.append(call)
        call.on_message = lambda op, body: self.later.append((op, body))
        call.on_close = lambda: self.closed.append(call)
        call.send(KEEP | 0x80)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.path)
        client.setblocking(False)
        return client

    def receive(self, client: socket.socket) -> bytes:
        """Everything until the agent closes the connection."""
        received = bytearray()

        def is_closed() -> bool:
            try:
                data = client.recv(65536)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True
            received.extend(data)
            return not data

        run_until(self.loop, is_closed)
        client.close()
        return bytes(received)

    def ask(self, data: bytes) -> bytes:
        client = self.connect()
        client.send(data)
        return self.receive(client)
