"""The agent's end of the service-agent link: one virtio-serial port (docs/protocol.md §5).

The driver gives at most one receive buffer, a 4 KiB page, per buffer it is asked to fill, and
takes at most 32 KiB per buffer it is given. So both directions pass vectors of such pieces: one
system call then moves what would else take sixteen, and system calls of the interpreter are what
limits the rate under emulation.
"""

from __future__ import annotations

import os
import sys
import traceback
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
PORT_READ_BYTES = 4096
"""Size of the driver's receive buffers (add_port)."""
_MAX_PIECES = 16
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


def open_port() -> int:
    """Open the agent's port. Raises OSError."""
    return os.open(find_port(), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


class Link:
    """Frames to and from the host. `on_frame` gets each; `on_reset` drops all state.

    `open_port` gives a new non-blocking descriptor of the port each time it is called, and by
    that tells the host that it is open.
    """

    def __init__(
        self,
        loop: Loop,
        open_port: Callable[[], int],
        on_frame: Callable[[Frame], None],
        on_reset: Callable[[], None],
        on_host_gone: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._open_port = open_port
        self._on_frame = on_frame
        self._on_reset = on_reset
        self._on_host_gone = on_host_gone
        self._fd = -1
        self._is_watched = False
        self.generation = 0
        """Changes with every reset: what was asked for before one is not to be answered."""
        self._queue: deque[bytes] = deque()
        self._waiters: list[Callable[[], None]] = []
        self._host_gone_s = 0.0
        self._reopen()

    def _reopen(self) -> None:
        """(Re)open the port: QEMU tells the host, which then sends a new preamble."""
        if self._fd >= 0:
            self._unwatch()
            os.close(self._fd)
        self._fd = self._open_port()
        self.generation += 1
        self._reader = FrameReader()
        self._scanner: PreambleScanner | None = PreambleScanner(MAGIC)
        self._queue.clear()
        self._watch()

    def _watch(self) -> None:
        """Wait for input, and for room while something waits to be sent."""
        events = READABLE | WRITABLE if self._queue else READABLE
        if self._is_watched:
            self._loop.change(self._fd, events)
        else:
            self._loop.watch(self._fd, events, self._on_ready)
            self._is_watched = True

    def _unwatch(self) -> None:
        self._loop.forget(self._fd)
        self._is_watched = False

    def reset(self, reason: str) -> None:
        """Give up on the link's state and wait for a new preamble."""
        print(f"agent: link reset: {reason}", file=sys.stderr)
        self._waiters.clear()
        try:
            self._reopen()
        except OSError as error:
            # Without its port the agent is of no use to anybody; init starts another one.
            raise SystemExit(f"agent: cannot open the port again: {error}") from None
        self._on_reset()

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
                    count = os.readv(self._fd, _pieces(space[filled:], PORT_READ_BYTES))
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
            try:
                self._on_frame(frame)
            except WireError:
                raise
            except Exception:  # costs this frame; those that came with it are still handled
                traceback.print_exc(file=sys.stderr)
            if self._scanner is not None:
                return  # handling the frame has reset the link

    def _host_is_gone(self) -> None:
        """The host's end of the port is closed. Not final: a migration closes it for a moment."""
        self._unwatch()
        if self._host_gone_s >= _HOST_GONE_LIMIT_S:
            self._on_host_gone()
            return
        self._host_gone_s += _HOST_GONE_POLL_S
        self._loop.call_later(_HOST_GONE_POLL_S, self._watch)

    # -- output --------------------------------------------------------------------------------

    @property
    def is_congested(self) -> bool:
        """Whether the host takes less than the agent has; then streams wait in their pipes."""
        return bool(self._queue)

    @property
    def is_synchronised(self) -> bool:
        """Whether the service listens: what is sent after a reset, before it greets, is lost."""
        return self._scanner is None

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
            self._queue.append(bytes(view))
            if len(self._queue) == 1 and self._is_watched:  # else when the host is back
                self._watch()

    def _write_some(self, view: memoryview) -> int:
        done = 0
        try:
            while done < len(view):
                done += os.writev(self._fd, _pieces(view[done:], PORT_WRITE_BYTES))
        except BlockingIOError:
            pass
        return done

    def _flush(self) -> None:
        while self._queue:
            data = self._queue[0]
            done = self._write_some(memoryview(data))
            if done < len(data):
                self._queue[0] = data[done:]
                return
            self._queue.popleft()
        self._watch()
        waiters, self._waiters = self._waiters, []
        for callback in waiters:
            callback()


def _pieces(view: memoryview, size: int) -> list[memoryview]:
    """The first _MAX_PIECES pieces of `size` bytes, the last of which may be shorter."""
    end = min(len(view), size * _MAX_PIECES)
    return [view[at : min(at + size, end)] for at in range(0, end, size)]
