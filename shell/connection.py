"""The client's connection to the service: found, started when it does not run, spoken to.

Blocking and without a library: a command's whole latency is spent here.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from shell.failure import ClientError
from wire import failures
from wire.client import Greeting
from wire.codec import Message, decode_message, encode_message
from wire.common import PROTOCOL_VERSION, Failure
from wire.errors import WireError
from wire.frame import Frame, FrameKind, FrameReader, Role, encode_frame
from wire.places import AHEAD, Places, find_places
from wire.version import VERSION

if sys.platform == "win32":
    from shell.endpoint_windows import DETACHED, connect, current_user
else:
    from shell.endpoint_posix import DETACHED, connect, current_user

START_TIMEOUT_S = 30.0
"""From starting the service to its answer: it does not boot the machine before it answers, but
ends a machine that a killed service has left behind."""
ANSWER_TIMEOUT_S = 20.0
"""For the service to answer the greeting, which it does whatever else it has to do."""
_ENDING_TIMEOUT_S = 90.0
"""How long another service of ours may hold its lock without serving: it may just be ending, and
shuts the machine down before it does."""
_OTHERS_START_S = 1.0
"""How long another command's service is awaited before the next attempt to start ours."""

GREETING_NUMBER = 1


def places() -> Places:
    """This user's directories. Raises ClientError."""
    environment: Mapping[str, str] = os.environ
    home = environment.get("ISTHMUS_HOME", "")
    if home and not os.path.isabs(home):  # the service has a working directory of its own
        environment = {**environment, "ISTHMUS_HOME": os.path.abspath(home)}
    try:
        return find_places(environment, sys.platform, current_user())
    except KeyError as error:
        raise ClientError(
            failures.INTERNAL,
            f"the environment variable {error.args[0]} is not set",
            hint="Set it, or say with ISTHMUS_HOME where Isthmus may keep its files.",
        ) from None


class Connection:
    """Messages and stream frames between this command and the service."""

    def __init__(self, connection: socket.socket, token: str) -> None:
        self._socket = connection
        self._reader = FrameReader()
        self._lock = threading.Lock()
        self._woken: socket.socket | None = None
        self._waker: socket.socket | None = None
        self._frames: Iterator[Frame] = iter(())
        self._next_number = GREETING_NUMBER + 1
        self._is_heard = False
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        self.on_event: Callable[[Message], None] = lambda message: None
        greeting = Greeting(protocol=PROTOCOL_VERSION, version=VERSION, token=token)
        self._greeting = self._encode(Role.REQUEST, GREETING_NUMBER, greeting)

    @staticmethod
    def _encode(role: int, number: int, message: Message) -> bytes:
        return encode_frame(FrameKind.MESSAGE, role, number, encode_message(message))

    def send_frame(self, frame: bytes) -> None:
        """Send an encoded frame; any thread may. Raises ClientError when the service is gone."""
        try:
            with self._lock:
                self._socket.sendall(frame)
        except OSError as error:
            raise self._gone(error) from None

    def send_event(self, event: Message) -> None:
        """Send an event."""
        self.send_frame(self._encode(Role.EVENT, 0, event))

    def send_request(self, request: Message) -> int:
        """Send a request without waiting; returns its number. The first carries the greeting."""
        number = self._next_number
        self._next_number += 1
        self.send_frame(self._greeting + self._encode(Role.REQUEST, number, request))
        self._greeting = b""
        return number

    def wake_for_signals(self) -> None:
        """Let signal handlers run while a receive waits. For the main thread.

        Without this a signal that comes just before the wait begins, or that the system gives to
        another thread, is handled only when the service says something next.
        """
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)

    def _wait(self) -> None:
        """Wait for the service; signal handlers run meanwhile."""
        while self._woken is not None:
            ready, _, _ = select.select([self._socket, self._woken], [], [])
            if self._woken in ready:
                self._woken.recv(64)
            if self._socket in ready:
                return

    def receive(self) -> Frame:
        """The next frame; valid until the following call. Raises ClientError."""
        while True:
            try:
                for frame in self._frames:
                    return frame
                self._wait()
                count = self._socket.recv_into(self._reader.space())
            except (OSError, WireError) as error:
                raise self._gone(error) from None
            if count == 0:
                raise self._gone("it closed the connection")
            if not self._is_heard:
                self._is_heard = True
                self._socket.settimeout(None)
            self._reader.received(count)
            self._frames = self._reader.frames()

    def receive_message(self, frame: Frame, number: int) -> Message | None:
        """The reply to request `number` if `frame` is that; other messages are dealt with.

        Raises ClientError for a Failure.
        """
        message = decode_message(frame.payload)
        if frame.stream == Role.EVENT:
            self.on_event(message)
            return None
        if isinstance(message, Failure) and frame.channel in (number, GREETING_NUMBER):
            if message.code == failures.SERVICE_ENDING:
                self._wait_ended()
                raise _broken(message.message, may_repeat=True)
            raise ClientError.from_failure(message)
        return message if frame.channel == number else None

    def request(self, request: Message) -> Message:
        """Send a request and wait for its reply; events go to `on_event`. Raises ClientError."""
        number = self.send_request(request)
        while True:
            frame = self.receive()
            if frame.kind == FrameKind.MESSAGE:
                reply = self.receive_message(frame, number)
                if reply is not None:
                    return reply

    def greet(self) -> None:
        """Make sure of the service before anything is asked of it. Raises ClientError.

        For commands that cannot be repeated once they have begun: what they have read of their
        input is gone.
        """
        self.send_frame(self._greeting)
        self._greeting = b""
        while True:
            frame = self.receive()
            if frame.kind == FrameKind.MESSAGE and frame.stream != Role.EVENT:
                self.receive_message(frame, GREETING_NUMBER)
                return

    def _gone(self, why: object) -> ClientError:
        """The error for a service that broke off.

        It answers the greeting before it looks at what came with it, so as long as nothing has
        come from it, it has done nothing.
        """
        if isinstance(why, TimeoutError) and not self._is_heard:
            return ClientError(
                failures.SERVICE_LOST,
                f"the Isthmus service does not answer within {ANSWER_TIMEOUT_S:.0f} s",
                hint="It hangs, or was stopped: end its process, `python -m service`.",
            )
        return _broken(str(why), may_repeat=not self._is_heard)

    def _wait_ended(self) -> None:
        """Wait until the service has ended all that it had to."""
        self._socket.settimeout(_ENDING_TIMEOUT_S)
        with contextlib.suppress(ClientError):
            while True:
                self.receive()

    def close(self) -> None:
        """Break the connection; a receive under way fails."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def _broken(why: str, *, may_repeat: bool) -> ClientError:
    return ClientError(
        failures.SERVICE_LOST,
        f"the connection to the Isthmus service broke: {why}",
        hint="Run the command again; the service's log says more.",
        may_repeat=may_repeat,
    )


def open_connection(where: Places, *, for_command: bool = False) -> Connection:
    """Connect to the running service, or start it. Raises ClientError.

    `for_command`: the machine will be wanted; a service that starts may start it ahead.
    """
    deadline = time.monotonic() + _ENDING_TIMEOUT_S
    connected = connect(where)
    while connected is None:
        is_ours = _start_service(where, for_command=for_command)
        connected = _wait_connected(where)
        if connected is None and (is_ours or time.monotonic() > deadline):
            raise ClientError(
                failures.SERVICE_LOST,
                "the Isthmus service runs, but cannot be reached",
                hint=f"Its log is in {where.logs}.",
            )
    return Connection(*connected)


def try_connection(where: Places) -> Connection | None:
    """Connect to the service only if it runs."""
    connected = connect(where)
    return None if connected is None else Connection(*connected)


def _wait_connected(where: Places) -> tuple[socket.socket, str] | None:
    """Another command may be starting the service at this moment, so its answer is awaited."""
    deadline = time.monotonic() + _OTHERS_START_S
    while time.monotonic() < deadline:
        connected = connect(where)
        if connected is not None:
            return connected
        time.sleep(0.01)
    return None


def _start_service(where: Places, *, for_command: bool) -> bool:
    """Start the service in the background and wait until it serves; False if another one is there.

    It says on its standard output "ready", "running" (another one is), or what is wrong.
    Raises ClientError.
    """
    import subprocess  # few clients start the service

    home = os.path.expanduser("~")
    argv = [sys.executable, "-I", "-m", "service", "--home", where.home]
    service = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=home if os.path.isdir(home) else os.path.abspath(os.sep),
        env={**os.environ, "ISTHMUS_HOME": where.home, **({AHEAD: "1"} if for_command else {})},
        **DETACHED,
    )
    assert service.stdout is not None
    impatience = threading.Timer(START_TIMEOUT_S, service.kill)
    impatience.start()
    answer = ""
    for line in service.stdout:  # up to its end: what an interpreter says last is what is wrong
        answer = line.decode("utf-8", "replace").strip()
        if answer in ("ready", "running"):
            break
    impatience.cancel()
    service.stdout.close()
    if answer not in ("ready", "running"):
        raise ClientError(
            failures.SERVICE_LOST,
            f"the Isthmus service did not start: {answer or 'it ended without a word'}",
            hint=f"Its log is in {where.logs}.",
        )
    return answer == "ready"
