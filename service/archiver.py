"""Sessions of bsdtar in the guest: a tar goes in or comes out, its complaints are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from service.archives import Tar
from service.errors import ServiceError
from service.link import AgentLink
from service.relay import FrameSink, Relay
from wire import failures
from wire.agent import Pack, Unpack
from wire.common import Done, Exited, Hangup
from wire.errors import FlowError
from wire.flow import ReceiveWindow, SendWindow
from wire.frame import CREDIT_PAYLOAD, MAX_DATA_BYTES, Frame, FrameKind, StreamId, decode_credit

_KEPT_BYTES = 2048
_HANG_UP_TIMEOUT_S = 20.0
"""For bsdtar to end when it is hung up."""


class Complaints:
    """What a program writes to stderr, of which the beginning tells what went wrong."""

    def __init__(self) -> None:
        self._kept = b""
        self._window = ReceiveWindow()

    def receive(self, frame: Frame) -> int:
        """A DATA frame of stderr; returns the credit to grant. Raises FlowError."""
        self._window.receive(len(frame.payload))
        self._kept += bytes(frame.payload)[: _KEPT_BYTES - len(self._kept)]
        return self._window.consume(len(frame.payload))

    def check(self, exited: Exited, code: str, what: str, hint: str) -> None:
        """Raise ServiceError `code` if the program has failed."""
        if exited.status == 0 and exited.signal == 0:
            return
        said = self._kept.decode("utf-8", "replace").strip()
        why = f"signal {exited.signal}" if exited.signal else f"status {exited.status}"
        raise ServiceError(code, f"{what}: {said or 'bsdtar ended with ' + why}", hint=hint)

    def check_unpacked(self, exited: Exited) -> None:
        """Raise ServiceError if an archive could not be unpacked."""
        self.check(
            exited,
            failures.IMPORT_FAILED,
            "the archive could not be unpacked",
            "Nothing was registered. The archive may be damaged, or the disk full.",
        )


class ArchiveRelay(Relay):
    """Joins a client to bsdtar: stdin and stdout are the client's, stderr is kept."""

    def __init__(self, client: FrameSink, link: AgentLink) -> None:
        super().__init__(client, link)
        self.complaints = Complaints()

    async def run(self, request: Pack | Unpack, join: Callable[[Relay], None]) -> Exited:
        """Start bsdtar and `join` the client to it; returns how it ended. Raises ServiceError."""
        try:
            await self._link.request(request, Done)
        except ServiceError:
            self.drop()
            raise
        except asyncio.CancelledError:
            await self._see_off()
            raise
        join(self)
        return await self.wait_ended()

    async def wait_ended(self) -> Exited:
        """As a Relay's; when cancelled, it sees bsdtar off the disk first."""
        try:
            return await super().wait_ended()
        except asyncio.CancelledError:
            await self._see_off()
            raise

    async def _see_off(self) -> None:
        """End bsdtar and wait until it has left the disk, which is going to be unmounted."""
        self.hang_up()
        await asyncio.wait({self._ended}, timeout=_HANG_UP_TIMEOUT_S)

    def on_frame(self, frame: Frame) -> None:
        """service.link.Session: as a Relay's, but for stderr."""
        if frame.stream != StreamId.STDERR:
            super().on_frame(frame)
        elif frame.kind == FrameKind.DATA:
            credit = self.complaints.receive(frame)
            if credit:
                self._link.send_frame(
                    FrameKind.CREDIT, StreamId.STDERR, self.number, CREDIT_PAYLOAD.pack(credit)
                )


class FileFeed:
    """Sends an archive of the host to bsdtar's stdin. Implements service.link.Session."""

    def __init__(self, link: AgentLink, tar: Tar, tell: Callable[[], None]) -> None:
        """`tell` is called whenever more of it has been sent."""
        self._link = link
        self._tar = tar
        self._tell = tell
        self._window = SendWindow()
        self._changed = asyncio.Event()
        self._stopped = False
        self._ended: asyncio.Future[Exited] = asyncio.get_running_loop().create_future()
        self.complaints = Complaints()
        self.number = link.open_session(self)

    def on_frame(self, frame: Frame) -> None:
        """service.link.Session: credit, or the end of interest."""
        if frame.kind == FrameKind.DATA and frame.stream == StreamId.STDERR:
            credit = self.complaints.receive(frame)
            if credit:
                self._link.send_frame(
                    FrameKind.CREDIT, StreamId.STDERR, self.number, CREDIT_PAYLOAD.pack(credit)
                )
        elif frame.kind == FrameKind.DATA:
            raise FlowError("bsdtar wrote to stdout while it unpacks")
        elif frame.kind == FrameKind.CREDIT:
            self._window.grant(decode_credit(frame))
        elif frame.kind == FrameKind.STOP:
            self._stopped = True
        self._changed.set()

    def on_exit(self, exited: Exited) -> None:
        """service.link.Session: bsdtar has ended."""
        self._stopped = True
        self._changed.set()
        if not self._ended.done():
            self._ended.set_result(exited)

    def on_lost(self, error: ServiceError) -> None:
        """service.link.Session: the link broke."""
        self._stopped = True
        self._changed.set()
        if not self._ended.done():
            self._ended.set_exception(error)
            self._ended.exception()  # nobody may be waiting, and that is no news for the log

    async def run(self) -> Exited:
        """Send the whole archive; returns how bsdtar ended. Raises ServiceError."""
        try:
            await self._send()
            return await asyncio.shield(self._ended)
        except BaseException:
            # bsdtar must neither wait for the rest nor take the first half for a whole, and it
            # must have left the disk before that is unmounted.
            if not self._ended.done():
                self._link.send_event(Hangup(session=self.number))
                await asyncio.wait({self._ended}, timeout=_HANG_UP_TIMEOUT_S)
            raise

    async def _send(self) -> None:
        while not self._stopped:
            allowed = min(self._window.available, MAX_DATA_BYTES)
            if allowed == 0:
                self._changed.clear()
                await self._changed.wait()
                continue
            data = await asyncio.to_thread(self._tar.read, allowed)
            if not data:
                self._link.send_frame(FrameKind.EOF, StreamId.STDIN, self.number)
                break
            self._window.take(len(data))
            self._link.send_frame(FrameKind.DATA, StreamId.STDIN, self.number, data)
            self._tell()
