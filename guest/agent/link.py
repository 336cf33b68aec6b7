"""The agent's end of the service-agent link: one virtio-serial port (docs/protocol.md §5).

Reads are at most one 4 KiB page each (the driver's receive buffers), so they are gathered into
one buffer before frames are looked for. A write of up to 32 KiB is one virtqueue element.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator

from guest.agent.loop import READABLE, WRITABLE, Loop, has_ended
from wire.codec import Message, encode_message
from wire.errors import WireError
from wire.frame import Frame, FrameKind, FrameReader, Role, encode_frame
from wire.preamble import ECHO, MAGIC, PreambleScanner

PORT_NAME = "org.isthmus.agent"
PORT_WRITE_BYTES = 32 * 1024
"""What drivers/char/virtio_console.c takes per write (port_fops_write)."""
_ROUND_BYTES = 256 * 1024
"""How much is read before other descriptors get their turn."""
_HOST_GONE_POLL_S = 0.1
_HOST_GONE_LIMIT_S = 30.0


def find_port(name: str = PORT_NAME) -> str:
    """The device of the virtio-serial port called `name`. Raises FileNotFoundError.

    /dev/vport* numbers do not follow the host's order of ports, so the name decides.
    """
    base = "/sys/class/virtio-ports"
    for device in os.listdir(base):
        with open(f"{base}/{device}/name") as file:
            if file.read().strip() == name:
                return f"/dev/{device}"
    raise FileNotFoundError(f"no virtio-serial port is called {name}")


class Link:
    """Frames to and from the host over `path`. `on_frame` gets each; `on_reset` drops all state.

    `path` may be any bidirectional byte device or an already open descriptor (tests).
    """

    def __init__(
        self,
        loop: Loop,
        path: str | int,
        on_frame: Callable[[Frame], None],
        on_reset: Callable[[], None],
        on_host_gone: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._path = path
        self._on_frame = on_frame
        self._on_reset = on_reset
        self._on_host_gone = on_host_gone
        self._fd = -1
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._waiters: list[Callable[[], None]] = []
        self._host_gone_s = 0.0
        self._reopen()

    def _reopen(self) -> None:
        """(Re)open the port: QEMU tells the host, which then sends a new preamble."""
        if isinstance(self._path, int):
            self._fd = self._path
        else:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._reader = FrameReader()
        self._scanner: PreambleScanner | None = PreambleScanner(MAGIC)
        self._queue.clear()
        self._queued_bytes = 0
        self._loop.watch(self._fd, READABLE, self._on_ready)

    def reset(self, reason: str) -> None:
        """Give up on the link's state and wait for a new preamble."""
        print(f"agent: link reset: {reason}", file=sys.stderr)
        self._on_reset()
        self._waiters.clear()
        self._loop.forget(self._fd)
        self._reopen()

    # -- input ---------------------------------------------------------------------------------

    def _on_ready(self, events: int) -> None:
        if events & WRITABLE:
            self._flush()
        if events & READABLE or has_ended(events):
            try:
                self._read()
            except WireError as error:
                self.reset(str(error))

    def _read(self) -> None:
        total = 0
        while total < _ROUND_BYTES:
            space = self._reader.space()
            filled = 0
            count = -1
            while filled < len(space):
                try:
                    count = os.readv(self._fd, [space[filled:]])
                except BlockingIOError:
                    count = -1
                    break
                if count == 0:
                    break
                filled += count
            total += filled
            self._take(space[:filled])
            if count == 0:
                self._host_is_gone()
                return
            if count < 0:
                return

    def _take(self, data: memoryview) -> None:
        """Handle bytes that lie in the reader's buffer."""
        if not data:
            return
        self._host_gone_s = 0.0
        if self._scanner is None:
            self._reader.received(len(data))
            self._dispatch(self._reader.frames())
            return
        rest = self._scanner.feed(data)
        if rest is None:
            return
        nonce = self._scanner.nonce or b""
        self._scanner = None
        self._write(ECHO + nonce)
        self._dispatch(self._reader.feed(rest))

    def _dispatch(self, frames: Iterator[Frame]) -> None:
        for frame in frames:
            if frame.kind == FrameKind.RESET:
                self.reset("asked for by the host")
                return
            self._on_frame(frame)
            if self._scanner is not None:
                return  # handling the frame has reset the link

    def _host_is_gone(self) -> None:
        """The host's end of the port is closed. Not final: a migration closes it for a moment."""
        self._loop.forget(self._fd)
        if self._host_gone_s >= _HOST_GONE_LIMIT_S:
            self._on_host_gone()
            return
        self._host_gone_s += _HOST_GONE_POLL_S
        fd = self._fd
        self._loop.call_later(
            _HOST_GONE_POLL_S, lambda: self._loop.watch(fd, READABLE, self._on_ready)
        )

    # -- output --------------------------------------------------------------------------------

    @property
    def is_congested(self) -> bool:
        """Whether the host takes less than the agent has; then streams wait in their pipes."""
        return bool(self._queue)

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when the link is no longer congested."""
        self._waiters.append(callback)

    def send(self, role: int, number: int, message: Message) -> None:
        """Send a message; `number` is the request's for a reply, else 0."""
        self.send_frame(encode_frame(FrameKind.MESSAGE, role, number, encode_message(message)))

    def send_event(self, message: Message) -> None:
        """Send an event."""
        self.send(Role.EVENT, 0, message)

    def send_frame(self, frame: bytes | memoryview) -> None:
        """Send an encoded frame, after all that was sent before. Copied only if it must wait."""
        if self._scanner is not None:
            return  # nobody listens between a reset and the next preamble
        self._write(frame)

    def _write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        if not self._queue:
            view = view[self._write_some(view) :]
        if view:
            if not self._queue:
                self._loop.change(self._fd, READABLE | WRITABLE)
            self._queue.append(bytes(view))
            self._queued_bytes += len(view)

    def _write_some(self, view: memoryview) -> int:
        done = 0
        try:
            while done < len(view):
                done += os.write(self._fd, view[done : done + PORT_WRITE_BYTES])
        except BlockingIOError:
            pass
        return done

    def _flush(self) -> None:
        while self._queue:
            data = self._queue[0]
            done = self._write_some(memoryview(data))
            self._queued_bytes -= done
            if done < len(data):
                self._queue[0] = data[done:]
                return
            self._queue.popleft()
        self._loop.change(self._fd, READABLE)
        waiters, self._waiters = self._waiters, []
        for callback in waiters:
            callback()
