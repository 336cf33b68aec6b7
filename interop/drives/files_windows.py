"""Files of a drive on a Windows host: what they look like, and their contents."""

from __future__ import annotations

import ctypes
import stat
import sys
import time

from interop.drives import (
    linuxerrno,
    nt_windows,
    ntformats,
    stored_windows,
    tree_windows,
    watcher_windows,
)
from interop.drives.backend import Found
from interop.drives.changes import ATTRIBUTES
from interop.drives.constants import SEEK_DATA, SEEK_HOLE, SetAttr
from interop.drives.metadata import Options, Stored, show, without_set_ids
from interop.drives.nodes import Node
from interop.drives.ntchanges import CHANGED
from interop.drives.ntstatus import linux_error
from interop.drives.protocol import SetattrIn
from interop.drives.replies import Attributes, FileSystem

assert sys.platform == "win32"

_OWNERS = SetAttr.MODE | SetAttr.UID | SetAttr.GID | SetAttr.KILL_SUIDGID
_SET_IDS = stat.S_ISUID | stat.S_ISGID
_TIMES = SetAttr.ATIME | SetAttr.MTIME | SetAttr.ATIME_NOW | SetAttr.MTIME_NOW
_WRITE_BITS = 0o222
_SECTOR = 512
_NAME_MAX = 255
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE (linux/falloc.h)
_UNKNOWN_FILES = 1 << 32
"""Windows does not say how many files a volume has room for."""


class WindowsFiles:
    """The requests about a file that is known; `interop.drives.backend_windows` has the rest.

    `root` is an absolute Windows path, `max_io` the most bytes that one read returns.

    Raises OSError where `root` cannot be opened.
    """

    def __init__(
        self,
        root: str,
        options: Options | None = None,
        *,
        max_io: int = 1 << 20,
        first_node: int = 2,
        watcher: watcher_windows.SubtreeWatcher | None = None,
    ) -> None:
        self.options = options or Options()
        self._metadata = self.options.metadata
        self.tree = tree_windows.Tree(root, first_node, watcher, has_metadata=self._metadata)
        self.watches = self.tree.watches
        self._watcher = watcher
        if watcher is not None:
            watcher.watch(self.tree.nodes, self._long_name)
        self._memory = bytearray(max_io)
        self._buffer = (ctypes.c_char * max_io).from_buffer(self._memory)
        self._view = memoryview(self._memory)

    def close(self) -> None:
        """Close every handle."""
        self.tree.close()

    def trim(self) -> None:
        """Close what is beyond the limits."""
        self.tree.trim()

    def forget(self, node: int, lookups: int) -> None:
        """FORGET."""
        self.tree.forget(node, lookups)

    def own(self, directory: Node | None, name: bytes, kind: int) -> None:
        """The server has just done `kind` to `name` (the host's) in `directory` itself."""
        if self._watcher is not None and directory is not None:
            self._watcher.did(directory, name, kind)
            self._watcher.did(directory, b"", ATTRIBUTES)

    def _long_name(self, directory: Node, name: bytes) -> bytes | None:
        """What is called `name`, be that its short name (8.3), is called in `directory`."""
        try:
            with self.tree.opened(directory, nt_windows.LIST) as handle:
                names = [entry.name for entry in nt_windows.entries(handle, name)]
        except OSError:
            return None
        return names[0] if names else None

    def _told(self, node: Node, look: tree_windows.Look) -> Found:
        status = look.status
        mode, uid, gid, rdev = show(status.mode, look.stored, self.options)
        attributes = Attributes(
            node.identity[1],
            status.size,
            -(-status.allocated // _SECTOR),
            status.atime_ns,
            status.mtime_ns,
            status.ctime_ns,
            mode,
            status.links,
            uid,
            gid,
            rdev,
        )
        # When somebody writes to a file that stays open is reported late, so of a file only the
        # name is. A directory changes with what is in it.
        is_seen = node.parent is not None and node.parent.watched
        return Found(node.id, attributes, is_seen, node.watched)

    def getattr(self, node: int) -> Found:
        """GETATTR."""
        known = self.tree.node(node)
        return self._told(known, self.tree.look(known))

    def setattr(self, node: int, change: SetattrIn) -> Found:
        """SETATTR."""
        known = self.tree.node(node)
        valid = change.valid
        if valid & SetAttr.SIZE:
            nt_windows.set_size(self.tree.file(known, write=True), change.size)
        attributes = 0
        if valid & _OWNERS and not (self._metadata and self._set_owners(known, change)):
            attributes = self._attributes(known, change) if valid & SetAttr.MODE else 0
        accessed = written = 0
        if valid & _TIMES:
            now = ntformats.to_ticks(0, time.time_ns())
            accessed = _ticks(valid, SetAttr.ATIME, change.atime, change.atimensec, now)
            written = _ticks(valid, SetAttr.MTIME, change.mtime, change.mtimensec, now)
        if valid:
            self.own(known.parent, known.name, CHANGED)
        if attributes or accessed or written:
            with self.tree.opened(known, nt_windows.WRITE_ATTRIBUTES) as handle:
                nt_windows.set_basic(handle, ntformats.basic(accessed, written, attributes))
        return self.getattr(node)

    def _set_owners(self, node: Node, change: SetattrIn) -> bool:
        """Store an owner or a mode; False where nothing can be stored."""
        if node.kind == stat.S_IFLNK:
            return True
        valid = change.valid
        with self.tree.opened(node, nt_windows.READ_EA | nt_windows.WRITE_EA) as handle:
            status, before = self.tree.look_at(handle)
            mode = show(status.mode, before, self.options).mode
            if valid & SetAttr.MODE:
                mode = stat.S_IFMT(mode) | stat.S_IMODE(change.mode)
            if valid & SetAttr.KILL_SUIDGID:
                mode = without_set_ids(mode)
            return stored_windows.write(
                handle,
                Stored(
                    change.uid if valid & SetAttr.UID else None,
                    change.gid if valid & SetAttr.GID else None,
                    mode if valid & SetAttr.MODE or mode != (before.mode or mode) else None,
                ),
            )

    def _attributes(self, node: Node, change: SetattrIn) -> int:
        """The file attributes that go with the mode of `change`; 0 for those it has.

        Only whether anybody may write crosses, as "read-only".
        """
        if node.kind != stat.S_IFREG:
            return 0
        present = self.tree.look(node).status.attributes
        wanted = present & ~(ntformats.READ_ONLY | ntformats.NORMAL)
        if not change.mode & _WRITE_BITS:
            wanted |= ntformats.READ_ONLY
        if not (present ^ wanted) & ntformats.READ_ONLY:
            return 0
        return wanted or ntformats.NORMAL

    def read(self, node: int, offset: int, size: int) -> memoryview:
        """READ."""
        handle = self.tree.file(self.tree.node(node), write=False)
        size = min(size, len(self._view))
        return self._view[: nt_windows.read(handle, self._buffer, size, offset)]

    def read_into(self, node: int, offset: int, room: memoryview) -> int:
        """READ."""
        data = self.read(node, offset, len(room))
        room[: len(data)] = data
        return len(data)

    def write(self, node: int, offset: int, data: memoryview, kill_set_ids: bool) -> int:
        """WRITE."""
        known = self.tree.node(node)
        if kill_set_ids and self._metadata:
            self._kill_set_ids(known)
        if len(data):
            nt_windows.write(self.tree.file(known, write=True), data, offset)
            self.own(known.parent, known.name, CHANGED)
        return len(data)

    def _kill_set_ids(self, node: Node) -> None:
        mode = self.tree.look(node).stored.mode
        if mode is not None and mode & _SET_IDS:
            with self.tree.opened(node, nt_windows.WRITE_EA) as handle:
                stored_windows.write(handle, Stored(mode=without_set_ids(mode)))

    def flush(self, node: int) -> None:
        """FLUSH: a Windows program that shares the file with nobody can have it from now on."""
        self.tree.let_go(self.tree.node(node))

    def close_written(self, before: float) -> float | None:
        """Close what was used last before `before`; when the rest was, at the earliest.

        What was only read too: to have a file open is to keep others from much.
        """
        return self.tree.close_idle(before)

    def fsync(self, node: int, data_only: bool) -> None:
        """FSYNC, FSYNCDIR. A directory's names are in the file system's journal already."""
        known = self.tree.node(node)
        if known.kind == stat.S_IFREG:
            nt_windows.flush(self.tree.file(known, write=True))

    def fallocate(self, node: int, mode: int, offset: int, length: int) -> None:
        """FALLOCATE: room for the file; holes cannot be made."""
        if mode & ~_KEEP_SIZE:
            raise linux_error(linuxerrno.EOPNOTSUPP)
        known = self.tree.node(node)
        handle = self.tree.file(known, write=True)
        self.own(known.parent, known.name, CHANGED)
        status = nt_windows.status(handle)
        end = offset + length
        if end > status.allocated:
            nt_windows.allocate(handle, end)
        if end > status.size and not mode & _KEEP_SIZE:
            nt_windows.set_size(handle, end)

    def lseek(self, node: int, offset: int, whence: int) -> int:
        """LSEEK: every file is one piece of data."""
        if whence not in (SEEK_DATA, SEEK_HOLE):
            raise linux_error(linuxerrno.EINVAL)
        size = self.tree.look(self.tree.node(node)).status.size
        if offset >= size:
            raise linux_error(linuxerrno.ENXIO)
        return offset if whence == SEEK_DATA else size

    def copy(self, source: int, offset: int, target: int, target_offset: int, length: int) -> int:
        """COPY_FILE_RANGE: left to the guest, which reads and writes then."""
        raise linux_error(linuxerrno.ENOSYS)

    def statfs(self) -> FileSystem:
        """STATFS."""
        s = nt_windows.space(self.tree.root)
        return FileSystem(
            *(s.total, s.free, s.available),
            *(_UNKNOWN_FILES, _UNKNOWN_FILES, s.unit, _NAME_MAX, s.unit),
        )

    def getxattr(self, node: int, name: bytes) -> bytes:
        """GETXATTR."""
        raise linux_error(linuxerrno.EOPNOTSUPP)

    def setxattr(self, node: int, name: bytes, value: bytes, flags: int) -> None:
        """SETXATTR."""
        raise linux_error(linuxerrno.EOPNOTSUPP)

    def listxattr(self, node: int) -> bytes:
        """LISTXATTR."""
        return b""

    def removexattr(self, node: int, name: bytes) -> None:
        """REMOVEXATTR."""
        raise linux_error(linuxerrno.EOPNOTSUPP)


def _ticks(valid: int, given: int, seconds: int, nanoseconds: int, now: int) -> int:
    if valid & (SetAttr.ATIME_NOW if given == SetAttr.ATIME else SetAttr.MTIME_NOW):
        return now
    if not valid & given:
        return 0
    return ntformats.to_ticks(seconds - (1 << 64) if seconds >> 63 else seconds, nanoseconds)
