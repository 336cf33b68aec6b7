"""A drive watched by ReadDirectoryChangesW, through watchdog's layer for it: all of it by one call.

watchdog's Observer would say nothing of changes that were lost, and be a thread further away. Here
a thread takes what Windows reports out of its buffer and wakes the one that serves the mount.
"""

from __future__ import annotations

import contextlib
import ctypes
import queue
import socket
import sys
import threading
import time
from ctypes import wintypes

from watchdog.observers import winapi

from interop.drives.changes import Report
from interop.drives.nodes import Node, NodeTable
from interop.drives.ntchanges import Own, Reader

assert sys.platform == "win32"

_BUFFER_BYTES = 64_000
"""A share's server gives no more than 64 KiB (ReadDirectoryChangesW, remarks)."""

_FILTER = (
    winapi.FILE_NOTIFY_CHANGE_FILE_NAME
    | winapi.FILE_NOTIFY_CHANGE_DIR_NAME
    | winapi.FILE_NOTIFY_CHANGE_ATTRIBUTES
    | winapi.FILE_NOTIFY_CHANGE_SIZE
    | winapi.FILE_NOTIFY_CHANGE_LAST_WRITE
)
_FOREVER = 0xFFFF_FFFF


def sees_below() -> bool:
    """Whether this system reports what happens further down: Wine does not."""
    return not hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


class SubtreeWatcher:
    """Fulfils `interop.drives.watches.Watcher`, and is what `interop.drives.mount` reads.

    It watches the absolute path `root` and all below. Raises OSError where that cannot be.
    """

    def __init__(self, root: str) -> None:
        self.own = Own()
        self._reader: Reader | None = None
        self._buffers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._wakes, self._woken = _wake_pair()
        self._is_closed = False
        self._handle = winapi.CreateFileW(
            root,
            winapi.FILE_LIST_DIRECTORY,
            winapi.WATCHDOG_FILE_SHARE_FLAGS,
            None,
            winapi.OPEN_EXISTING,
            winapi.FILE_FLAG_BACKUP_SEMANTICS | winapi.FILE_FLAG_OVERLAPPED,
            None,
        )
        self._buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
        self._overlapped = winapi.OVERLAPPED()
        self._overlapped.hEvent = winapi.CreateEvent(None, False, False, None)
        try:
            self._ask()  # from now on changes are kept, before anything is looked at
        except OSError:
            self.close()
            raise
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def watch(self, nodes: NodeTable) -> None:
        """Report changes in `nodes`."""
        self._reader = Reader(nodes, self.own)

    def add(self, node: Node, directory: int) -> bool:
        """Watch a directory: it is already."""
        return True

    def remove(self, node: int) -> None:
        """Watch a directory no longer: what is reported of it means nothing to anybody."""

    def fileno(self) -> int:
        """What is readable when there is something to read()."""
        return self._woken.fileno()

    def read(self) -> Report:
        """What happened since the last time; does not wait."""
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(_BUFFER_BYTES)
        buffers: list[bytes | None] = []
        with contextlib.suppress(queue.Empty):
            while True:
                buffers.append(self._buffers.get_nowait())
        if self._reader is None or not buffers:
            return Report([])
        return self._reader.read(buffers, time.monotonic())

    def close(self) -> None:
        """Watch nothing any more."""
        self._is_closed = True
        with contextlib.suppress(OSError):
            winapi.CancelIoEx(self._handle, None)
        for sock in (self._wakes, self._woken):
            sock.close()

    def _ask(self) -> None:
        winapi.ReadDirectoryChangesW(
            self._handle,
            self._buffer,
            _BUFFER_BYTES,
            True,
            _FILTER,
            ctypes.byref(wintypes.DWORD()),
            ctypes.byref(self._overlapped),
            None,
        )

    def _run(self) -> None:
        while True:
            winapi.WaitForSingleObjectEx(self._overlapped.hEvent, _FOREVER, False)
            if self._is_closed:
                winapi.CloseHandle(self._handle)
                return
            # No bytes, or an error: there was more than the buffer holds.
            size = 0 if self._overlapped.Internal else self._overlapped.InternalHigh or 0
            self._buffers.put(self._buffer.raw[:size] or None)
            try:
                self._ask()
            except OSError:
                return  # the drive is gone, and what it was asked for says so
            finally:
                with contextlib.suppress(OSError):
                    self._wakes.send(b"x")


def _wake_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets, the second of which does not wait.

    socket.socketpair() listens on loopback for a moment, where others may be quicker. Raises
    OSError then.
    """
    wakes, woken = socket.socketpair()
    if wakes.getsockname() != woken.getpeername() or wakes.getpeername() != woken.getsockname():
        wakes.close()
        woken.close()
        raise OSError("another program has connected in this one's place")
    wakes.setblocking(False)
    woken.setblocking(False)
    return wakes, woken
