"""A drive server mounted on this very host's kernel, for the tests of semantics."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.drives import (
    backend_posix,
    messagestream,
    replay,
    serving_posix,
    transport_posix,
    tree_posix,
    watcher_posix,
)
from interop.drives.constants import Opcode
from interop.drives.metadata import Options
from interop.drives.mount import Mount
from interop.drives.server import BUFFER_SIZE, Server

if sys.platform == "win32":
    pytest.skip("POSIX hosts only", allow_module_level=True)
assert sys.platform != "win32"

_FORCE, _DETACH = 1, 2  # MNT_FORCE, MNT_DETACH
_SERVE_S = 30


@dataclass
class Mounted:
    """`root` on the host is `path` through the server; `device` is /dev/fuse, for notifications."""

    root: Path
    path: Path
    device: int
    pid: int
    counts: ctypes.Array[ctypes.c_long]
    log: Path

    def states(self) -> list[str]:
        """The states that the mount has been in."""
        return self.log.read_text().split() if self.log.exists() else []

    def messages(self) -> int:
        """How many requests and notifications there were; what the kernel forgot is not counted."""
        return sum(self.counts)

    def notifications(self) -> int:
        """How many notifications the server has sent."""
        return self.counts[0]


class _Counting(transport_posix.DeviceTransport):
    """Counts requests by their opcode, and notifications under 0."""

    def __init__(self, fd: int, counts: ctypes.Array[ctypes.c_long]) -> None:
        super().__init__(fd, BUFFER_SIZE)
        self._counts = counts

    def receive(self, timeout_s: float | None = None) -> memoryview | None:
        request = super().receive(timeout_s)
        if request:
            opcode = request[4]
            if opcode not in (Opcode.FORGET, Opcode.BATCH_FORGET):
                self._counts[opcode] += 1
        return request

    def notify(self, messages: Sequence[bytes]) -> None:
        self._counts[0] += len(messages)
        super().notify(messages)


class _WithReplayer(_Counting):
    """Has a replayer as well, which speaks over `replayer`, as the pump has it."""

    def __init__(
        self, fd: int, counts: ctypes.Array[ctypes.c_long], replayer: socket.socket
    ) -> None:
        super().__init__(fd, counts)
        self._replayer = replayer
        self.attend(replayer.fileno())

    def receive(self, timeout_s: float | None = None) -> memoryview | None:
        assert self._poll is not None
        ready = dict(self._poll.poll(None if timeout_s is None else timeout_s * 1000))
        # Looked at once more: what it says comes before what its system call then asks.
        if select.select([self._replayer], [], [], 0)[0]:
            return memoryview(self._replayer.recv(1024))
        return super().receive(0) if self._fd in ready else messagestream.NOTHING

    def notify(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            if int.from_bytes(message[4:8], "little") == replay.CODE:
                self._replayer.send(message)
            else:
                super().notify([message])


@dataclass(frozen=True)
class Serving:
    """How a mount is served. With `lifetime_s` nothing is watched, and all is kept for so long."""

    options: Options
    lifetime_s: float | None
    watches: int
    watchable: bool
    replays: bool


def _serve(transport: transport_posix.DeviceTransport, root: Path, log: Path, how: Serving) -> None:
    options = how.options
    if how.lifetime_s is not None:
        backend = backend_posix.PosixBackend(root, options)
        Server(transport, backend, options, lifetime_s=how.lifetime_s).serve()
        backend.close()
        return
    if not how.watchable:
        watcher_posix.InotifyWatcher.WATCHABLE = frozenset()

    def on_state(state: str, text: str) -> None:
        with log.open("a") as stream:
            stream.write(state + "\n")

    limits = tree_posix.Limits(watches=how.watches)
    with serving_posix.served(root, options, limits=limits) as (backend, watcher):
        mount = Mount(
            transport,
            backend,
            options,
            backend.watches,
            watcher,
            on_state=on_state,
            has_replayer=how.replays,
        )
        mount.serve()


@contextmanager
def mounted(
    directory: Path,
    options: str = "",
    *,
    lifetime_s: float | None = None,
    watches: int = 4096,
    watchable: bool = True,
    replayer: Path | None = None,
) -> Iterator[Mounted]:
    """Mount `directory`/root at `directory`/mnt, served by a process of its own.

    `replayer` is the program replay-test, if Linux watchers are to hear of the host's changes.

    Not by a thread: a page fault on the mount keeps Python's lock, which the server would need.
    """
    root, path = directory / "root", directory / "mnt"
    root.mkdir(exist_ok=True)
    path.mkdir(exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    data = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    if libc.mount(b"drive", os.fsencode(path), b"fuse.drvfs", 0, data.encode()):
        os.close(fd)
        raise OSError(ctypes.get_errno(), "cannot mount /dev/fuse: the tests need root")
    context = multiprocessing.get_context("fork")
    counts = context.RawArray(ctypes.c_long, 64)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    transport = _WithReplayer(fd, counts, ours) if replayer else _Counting(fd, counts)
    how = Serving(Options.parse(options), lifetime_s, watches, watchable, replayer is not None)
    log = directory / "states"
    process = context.Process(target=_serve, args=(transport, root, log, how))
    process.start()
    argv = [str(replayer), str(path)]
    helper = subprocess.Popen(argv, stdin=theirs.fileno()) if replayer else None
    ours.close()
    theirs.close()

    def end() -> None:
        # Whatever waits for a server that has died or hangs is let go by force: the server itself
        # cannot die while a notification of its waits for a lock that such a request holds.
        process.join(_SERVE_S)
        libc.umount2(os.fsencode(path), _FORCE)
        process.kill()
        process.join()
        os.close(fd)

    ending = threading.Thread(target=end)
    ending.start()
    try:
        assert process.pid is not None
        yield Mounted(root, path, fd, process.pid, counts, log)
    finally:
        if helper is not None:
            helper.kill()
            helper.wait()
        libc.umount2(os.fsencode(path), _DETACH)
        ending.join()
    assert process.exitcode == 0
