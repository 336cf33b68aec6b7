"""Directories watched by inotify(7), through watchdog's layer for it: one instance for a mount.

watchdog's Observer would have a thread and an instance for each directory. Its InotifyFD has
neither, as long as it is not started: it is read here, by the thread that serves the mount, so
that what the server has told the kernel and what it then hears are in order.
"""

from __future__ import annotations

import errno
import select
import sys
from typing import ClassVar

from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from interop.drives import libc_posix, tree_posix
from interop.drives.changes import (
    ATTRIBUTES,
    CREATED,
    MODIFIED,
    MOVED_FROM,
    MOVED_TO,
    REMOVED,
    UNWATCHED,
    WRITTEN,
    Change,
    Report,
)
from interop.drives.nodes import Node

assert sys.platform == "linux"

_IN = InotifyConstants
_KINDS: tuple[tuple[int, int], ...] = (
    (_IN.IN_MODIFY, MODIFIED),
    (_IN.IN_ATTRIB, ATTRIBUTES),
    (_IN.IN_CLOSE_WRITE, WRITTEN),
    (_IN.IN_MOVED_FROM, MOVED_FROM),
    (_IN.IN_MOVED_TO, MOVED_TO),
    (_IN.IN_CREATE, CREATED),
    (_IN.IN_DELETE, REMOVED),
    (_IN.IN_IGNORED, UNWATCHED),
    (_IN.IN_UNMOUNT, UNWATCHED),
)
_MASK = Mask(
    _IN.IN_MODIFY
    | _IN.IN_ATTRIB
    | _IN.IN_CLOSE_WRITE
    | _IN.IN_MOVED_FROM
    | _IN.IN_MOVED_TO
    | _IN.IN_CREATE
    | _IN.IN_DELETE
    | _IN.IN_ONLYDIR
    | _IN.IN_EXCL_UNLINK
)
_ID = CallbackId(0)
_BUFFER_BYTES = 16 << 10
"""What is read between two requests at most: some 500 events, a few milliseconds of work."""

_USERS_SHARE = 4
"""One part in so many of what a user may watch is for one mount."""

WATCHABLE = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # xfs
        0x9123683E,  # btrfs
        0x01021994,  # tmpfs
        0x858458F6,  # ramfs
        0xF2F52010,  # f2fs
        0x794C7630,  # overlay
        0x2FC12FC1,  # zfs
        0xCA451A4E,  # bcachefs
        0x3153464A,  # jfs
        0x4D44,  # vfat
        0x2011BAB0,  # exfat
        0x7366746E,  # ntfs3
        0x9660,  # iso9660
        0x15013346,  # udf
        0x73717368,  # squashfs
        0xE0F5E1E2,  # erofs
    }
)
"""File systems that change only through this very kernel (statfs(2), linux/magic.h): of what
happens at a network drive's other end, or in /proc, inotify says nothing."""


class _Instance(InotifyFD):
    """An inotify instance that is read by its owner."""

    def fileno(self) -> int:
        return self._inotify_fd

    def on_event(self, event: InotifyEvent) -> None:
        """Events are taken from read_events()."""

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        """IN_IGNORED says the same."""

    def on_queue_overflow(self) -> None:
        """IN_Q_OVERFLOW says the same."""


def default_limit() -> int:
    """How many directories one mount may watch."""
    try:
        with open("/proc/sys/fs/inotify/max_user_watches") as limit:
            return max(64, min(int(limit.read()) // _USERS_SHARE, 1 << 16))
    except (OSError, ValueError):
        return 1024


class InotifyWatcher:
    """Fulfils `interop.drives.watches.Watcher`. Raises OSError where inotify has no room for it."""

    WATCHABLE: ClassVar[frozenset[int]] = WATCHABLE
    is_late = False

    def __init__(self) -> None:
        self._instance = _Instance()
        self._poll = select.poll()
        self._poll.register(self._instance.fileno(), select.POLLIN)
        self._nodes: dict[int, int] = {}
        self._descriptors: dict[int, WatchDescriptor] = {}
        self._devices: dict[int, bool] = {}

    def fileno(self) -> int:
        """What is readable when there is something to read()."""
        return self._instance.fileno()

    def close(self) -> None:
        """Watch nothing any more."""
        self._instance._is_reading = False  # nobody waits: it is closed at once
        self._instance.close()

    def is_watchable(self, directory: int, device: int) -> bool:
        """Whether all that changes on `device`, of which `directory` is open, is reported."""
        known = self._devices.get(device)
        if known is None:
            known = libc_posix.filesystem_type(directory) in self.WATCHABLE
            self._devices[device] = known
        return known

    def add(self, node: Node, directory: int) -> bool:
        """Watch `node`, open as `directory`; False where its file system cannot be watched.

        Raises OSError with ENOSPC where the host lets nobody watch more.
        """
        if not self.is_watchable(directory, node.identity[0]):
            return False
        try:
            wd = self._instance.add_callback(
                tree_posix.proc_path(directory), _MASK, self._instance, _ID
            )
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.ENOMEM):
                raise
            return False
        if wd < 0 or wd in self._nodes:  # EACCES; or a directory that another node stands for
            return False
        self._nodes[wd] = node.id
        self._descriptors[node.id] = wd
        return True

    def remove(self, node: int) -> None:
        """Watch the directory of `node` no longer; what is still to be read of it is dropped."""
        wd = self._descriptors.pop(node, None)
        if wd is not None and self._nodes.pop(wd, None) is not None:
            self._instance.remove_callbacks([(wd, _ID)])

    def read(self) -> Report:
        """What happened since the last time, or the first of it; does not wait.

        Not until there is no more: who changes names in a loop could keep it here for ever.
        """
        changes: list[Change] = []
        lost = False
        if not self._poll.poll(0):
            return Report(changes)
        for event in self._instance.read_events(event_buffer_size=_BUFFER_BYTES):
            if event.mask & _IN.IN_Q_OVERFLOW:
                lost = True
                continue
            node = self._nodes.get(event.wd)
            if node is None:
                continue
            change = _change(node, event)
            changes.append(change)
            if change.kind & UNWATCHED:
                self._ended(event.wd, node)
        return Report(changes, lost)

    def _ended(self, wd: WatchDescriptor, node: int) -> None:
        del self._nodes[wd]
        self._descriptors.pop(node, None)
        self._instance.handle_event(InotifyEvent(wd, _IN.IN_IGNORED, 0, b""))


def _change(node: int, event: InotifyEvent) -> Change:
    kind = 0
    for mask, known in _KINDS:
        if event.mask & mask:
            kind |= known
    is_directory = bool(event.mask & _IN.IN_ISDIR)
    return Change(node, event.name, kind, is_directory, event.cookie)
