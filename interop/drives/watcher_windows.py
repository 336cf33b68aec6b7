"""A drive watched by ReadDirectoryChangesW: all of it by one call, which is asked again and again.

A thread takes what Windows reports out of its buffer and wakes the one that serves the mount. One
handle of the root is all that is open for it: one of a directory below would keep that from being
renamed. Wine reports what is in a directory below once somebody has opened that.

Source: ReadDirectoryChangesW and OVERLAPPED (minwinbase.h). The OVERLAPPED of watchdog's layer has
the event where Windows does not look for it, so none of it is used here.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import sys
import threading
import time
from collections import deque
from ctypes import wintypes
from typing import Any

from interop.drives import ntchanges
from interop.drives.changes import Report
from interop.drives.nodes import Node, NodeTable

assert sys.platform == "win32"

_BUFFER_BYTES = 64 << 10
"""A share's server gives no more (ReadDirectoryChangesW, remarks)."""

_MOST_BUFFERS = 64
"""How many wait for the mount's thread at most."""

_FILTER = 0x1 | 0x2 | 0x4 | 0x8 | 0x10
"""FILE_NOTIFY_CHANGE_FILE_NAME, _DIR_NAME, _ATTRIBUTES, _SIZE, _LAST_WRITE (winnt.h)."""

_LIST = 0x1
_SHARE_ALL = 0x7
_OPEN_EXISTING = 3
_BACKUP_SEMANTICS, _OVERLAPPED_IO = 0x0200_0000, 0x4000_0000
_INVALID_HANDLE = ctypes.c_void_p(-1).value
_FOREVER = 0xFFFF_FFFF


class _Overlapped(ctypes.Structure):
    _fields_ = (
        ("Internal", ctypes.c_void_p),
        ("InternalHigh", ctypes.c_void_p),
        ("Offset", wintypes.DWORD),
        ("OffsetHigh", wintypes.DWORD),
        ("hEvent", wintypes.HANDLE),
    )


_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_pointer, _number, _handle = ctypes.c_void_p, wintypes.DWORD, wintypes.HANDLE


def _declare(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_kernel32, name)
    function.argtypes = arguments
    function.restype = result
    return function


_create_file = _declare(
    "CreateFileW",
    *(_handle, wintypes.LPCWSTR, _number, _number, _pointer, _number, _number, _handle),
)
_create_event = _declare(
    "CreateEventW", _handle, _pointer, wintypes.BOOL, wintypes.BOOL, wintypes.LPCWSTR
)
_read_changes = _declare(
    "ReadDirectoryChangesW",
    *(wintypes.BOOL, _handle, _pointer, _number, wintypes.BOOL, _number),
    *(_pointer, _pointer, _pointer),
)
_wait_for = _declare("WaitForSingleObject", _number, _handle, _number)
_cancel = _declare("CancelIoEx", wintypes.BOOL, _handle, _pointer)
_close = _declare("CloseHandle", wintypes.BOOL, _handle)


class SubtreeWatcher:
    """Fulfils `interop.drives.watches.Watcher`, and is what `interop.drives.mount` reads.

    It watches the absolute path `root` and all below. Raises OSError where that cannot be.
    """

    is_late = True

    def __init__(self, root: str) -> None:
        self._reader: ntchanges.Reader | None = None
        self._lock = threading.Lock()
        self._buffers: deque[bytes | None] = deque()
        self._is_over = False
        self._is_closed = False
        self._wakes, self._woken = _wake_pair()
        self._buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
        self._overlapped = _Overlapped()
        self._root: int | None = None
        try:
            self._overlapped.hEvent = _checked(_create_event(None, False, False, None))
            access = _BACKUP_SEMANTICS | _OVERLAPPED_IO
            self._root = _checked(
                _create_file(root, _LIST, _SHARE_ALL, None, _OPEN_EXISTING, access, None)
            )
            self._ask()  # from now on changes are kept, before anything is looked at
        except OSError:
            self._release()
            raise
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def watch(self, nodes: NodeTable, long_name: ntchanges.LongName) -> None:
        """Report changes in `nodes`; `long_name` asks the file system."""
        self._reader = ntchanges.Reader(nodes, long_name)

    def did(self, directory: Node, name: bytes, kind: int) -> None:
        """The server has just done `kind` to `name` (the host's) in `directory` itself."""
        if self._reader is not None:
            self._reader.own.add(directory.id, name, kind, time.monotonic())

    def moved(self, directory: Node, name: bytes, node: Node) -> None:
        """The server has just moved `node` away from `name` (the host's) in `directory`."""
        if self._reader is not None:
            self._reader.moved(directory, name, node, time.monotonic())

    def add(self, node: Node, directory: int) -> bool:
        """Watch a directory: it is already, but that Wine wants it opened once."""
        return True

    def remove(self, node: int) -> None:
        """Watch a directory no longer: what is reported of it means nothing to anybody."""

    def fileno(self) -> int:
        """What is readable when there is something to read()."""
        return self._woken.fileno()

    def read(self) -> Report:
        """What happened since the last time, or the first of it; does not wait."""
        with self._lock:
            if not self._buffers:
                return Report([], over=self._is_over)
            data = self._buffers.popleft()
            is_over = self._is_over and not self._buffers
            if not self._buffers:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(_BUFFER_BYTES)
        if self._reader is None:
            return Report([], lost=True, over=is_over)
        return self._reader.read(data, time.monotonic())._replace(over=is_over)

    def close(self) -> None:
        """Watch nothing any more."""
        self._is_closed = True
        _cancel(self._root, None)
        self._thread.join()
        self._release()

    def _release(self) -> None:
        for handle in (self._root, self._overlapped.hEvent):
            if handle:
                _close(handle)
        self._wakes.close()
        self._woken.close()

    def _ask(self) -> None:
        if not _read_changes(
            *(self._root, self._buffer, _BUFFER_BYTES, True, _FILTER),
            *(None, ctypes.byref(self._overlapped), None),
        ):
            raise ctypes.WinError(ctypes.get_last_error())

    def _run(self) -> None:
        while not self._is_over:
            _wait_for(self._overlapped.hEvent, _FOREVER)
            status = (self._overlapped.Internal or 0) & 0xFFFF_FFFF
            size = self._overlapped.InternalHigh or 0
            is_over = status >> 30 == 3  # NT_ERROR: cancelled, or the drive is gone
            # A success without bytes: there was more than the buffer holds.
            data = self._buffer.raw[:size] if not status and size else None
            if not is_over:
                try:
                    self._ask()
                except OSError:
                    is_over = True
            if self._is_closed:
                if is_over:
                    return
                _cancel(self._root, None)
                continue
            self._put(data, is_over)

    def _put(self, data: bytes | None, is_over: bool) -> None:
        with self._lock:
            if len(self._buffers) >= _MOST_BUFFERS:
                self._buffers.clear()
                data = None
            self._buffers.append(data)
            self._is_over = is_over
        with contextlib.suppress(BlockingIOError):
            self._wakes.send(b"x")


def _checked(handle: int | None) -> int:
    if not handle or handle == _INVALID_HANDLE:
        raise ctypes.WinError(ctypes.get_last_error())
    return handle


def _wake_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets, neither of which waits.

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
