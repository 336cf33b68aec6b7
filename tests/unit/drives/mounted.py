"""A drive server mounted on this very host's kernel, for the tests of semantics."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.drives import backend_posix, transport_posix
from interop.drives.metadata import Options
from interop.drives.server import BUFFER_SIZE, Server

if sys.platform == "win32":
    pytest.skip("POSIX hosts only", allow_module_level=True)
assert sys.platform != "win32"

_DETACH = 2  # MNT_DETACH
_SERVE_S = 30


@dataclass
class Mounted:
    """`root` on the host is `path` through the server; `device` is /dev/fuse, for notifications."""

    root: Path
    path: Path
    device: int


def _serve(fd: int, root: Path, options: Options, lifetime_s: float, writeback: bool) -> None:
    backend = backend_posix.PosixBackend(root, options)
    transport = transport_posix.DeviceTransport(fd, BUFFER_SIZE)
    Server(transport, backend, options, lifetime_s=lifetime_s, writeback=writeback).serve()
    backend.close()


@contextmanager
def mounted(
    directory: Path,
    options: str = "",
    *,
    lifetime_s: float = 1.0,
    writeback: bool = False,
) -> Iterator[Mounted]:
    """Mount `directory`/root at `directory`/mnt, served by a process of its own.

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
    process = multiprocessing.get_context("fork").Process(
        target=_serve, args=(fd, root, Options.parse(options), lifetime_s, writeback)
    )
    process.start()

    def end() -> None:
        # Whatever waits for a server that has died or hangs is let go by closing the device.
        process.join(_SERVE_S)
        process.kill()
        process.join()
        os.close(fd)

    ending = threading.Thread(target=end)
    ending.start()
    try:
        yield Mounted(root, path, fd)
    finally:
        libc.umount2(os.fsencode(path), _DETACH)
        ending.join()
    assert process.exitcode == 0
