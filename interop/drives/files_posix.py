"""Files of a drive on a POSIX host: what they look like, their contents and attributes."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

from interop.drives import libc_posix, stored_posix, tree_posix
from interop.drives.backend import Found
from interop.drives.changes import ATTRIBUTES, MODIFIED
from interop.drives.constants import SetAttr
from interop.drives.metadata import (
    NOTHING_STORED,
    Options,
    Stored,
    host_permissions,
    show,
    without_set_ids,
)
from interop.drives.nodes import Node
from interop.drives.protocol import SetattrIn
from interop.drives.replies import Attributes, FileSystem
from interop.drives.watches import Watcher

assert sys.platform == "linux"

_OWNERS = SetAttr.MODE | SetAttr.UID | SetAttr.GID | SetAttr.KILL_SUIDGID
_TIMES = SetAttr.ATIME | SetAttr.MTIME | SetAttr.ATIME_NOW | SetAttr.MTIME_NOW
_SET_IDS = stat.S_ISUID | stat.S_ISGID


class PosixFiles:
    """The requests about a file that is known already; `interop.drives.backend_posix` has the rest.

    `root` is a directory, `max_io` the most bytes that one read returns.

    Raises OSError where `root` cannot be opened.
    """

    def __init__(
        self,
        root: Path,
        options: Options | None = None,
        *,
        limits: tree_posix.Limits | None = None,
        max_io: int = 1 << 20,
        first_node: int = 2,
        watcher: Watcher | None = None,
    ) -> None:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.options = options or Options()
        self.tree = tree_posix.Tree(fd, limits, first_node, watcher)
        self.watches = self.tree.watches
        self._metadata = self.options.metadata
        self._buffer = memoryview(bytearray(max_io))

    def close(self) -> None:
        """Close every descriptor."""
        self.tree.close()

    def trim(self) -> None:
        """Close what is beyond the limits."""
        self.tree.trim()

    def forget(self, node: int, lookups: int) -> None:
        """FORGET."""
        self.tree.forget(node, lookups)

    # What a file looks like

    def _shown(self, status: os.stat_result, stored: Stored) -> Attributes:
        mode, uid, gid, rdev = show(status.st_mode, stored, self.options)
        return Attributes(
            status.st_ino,
            status.st_size,
            status.st_blocks,
            status.st_atime_ns,
            status.st_mtime_ns,
            status.st_ctime_ns,
            mode,
            status.st_nlink,
            uid,
            gid,
            rdev,
        )

    def _stored(self, node: Node) -> Stored:
        if not self._metadata or node.kind not in (stat.S_IFREG, stat.S_IFDIR):
            return NOTHING_STORED
        with self.tree.held(node) as fd:
            return stored_posix.read(tree_posix.proc_path(fd), through=True)

    def _found(self, parent: Node, directory: int, host: bytes) -> Found:
        status = os.stat(host, dir_fd=directory, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        stored = NOTHING_STORED
        if self._metadata and kind in (stat.S_IFREG, stat.S_IFDIR):
            stored = stored_posix.read(tree_posix.proc_path(directory) + b"/" + host, through=False)
        node = self.tree.nodes.found(parent, host, tree_posix.identity(status), kind)
        if kind == stat.S_IFDIR and not node.watched and self.watches.has_room():
            status = self._watched(node, status)
        return self._told(node, status, self._shown(status, stored))

    def _watched(self, node: Node, status: os.stat_result) -> os.stat_result:
        """Watch a directory that was only found yet: mostly it is looked into next.

        What it is like has to be asked again then: it may have changed just before.
        """
        try:
            with self.tree.held(node) as fd:
                if self.watches.enter(node, fd, may_evict=False):
                    return os.fstat(fd)
        except OSError:
            pass  # it is gone, or another; whoever looks into it will be told
        return status

    def getattr(self, node: int) -> Found:
        """GETATTR."""
        known = self.tree.node(node)
        status = self.tree.status(known)
        stored = self._stored(known) if self._metadata else NOTHING_STORED
        return self._told(known, status, self._shown(status, stored))

    @staticmethod
    def _told(node: Node, status: os.stat_result, attributes: Attributes) -> Found:
        """What the kernel is told of `node`, and what of it will be reported when it changes.

        A directory's attributes change with what is in it. A file's change by any of its names,
        of which others may be where nobody watches.
        """
        parent = node.parent
        is_seen = parent is not None and parent.watched
        if node.kind == stat.S_IFDIR:
            return Found(node.id, attributes, is_seen, node.watched)
        is_seen = is_seen and status.st_nlink == 1
        return Found(node.id, attributes, is_seen, is_seen)

    # Changes to a file

    def setattr(self, node: int, change: SetattrIn) -> Found:
        """SETATTR: size, then mode and owners, then times, so that the times stay as asked."""
        known = self.tree.node(node)
        valid = change.valid
        self._own(known, MODIFIED | ATTRIBUTES)
        if valid & SetAttr.SIZE:
            os.ftruncate(self.tree.file(known, write=True), change.size)
        if valid & _OWNERS:
            self._set_owners(known, change)
        if valid & _TIMES:
            with self.tree.held(known) as fd:
                libc_posix.set_times(
                    tree_posix.proc_path(fd),
                    _time(valid, SetAttr.ATIME, SetAttr.ATIME_NOW, change.atime, change.atimensec),
                    _time(valid, SetAttr.MTIME, SetAttr.MTIME_NOW, change.mtime, change.mtimensec),
                )
        found = self.getattr(node)
        if found.attributes_kept:
            self.watches.told = found
        return found

    def _own(self, node: Node, kind: int) -> None:
        """The server is about to change `node` itself."""
        self.watches.own(node.parent, node.name, kind)
        if node.watched:
            self.watches.own(node, b"", kind)

    def _set_owners(self, node: Node, change: SetattrIn) -> None:
        if node.kind not in (stat.S_IFREG, stat.S_IFDIR):
            return
        valid = change.valid
        with self.tree.held(node) as fd:
            path = tree_posix.proc_path(fd)
            if not self._metadata:
                if valid & SetAttr.MODE:
                    present = stat.S_IMODE(os.fstat(fd).st_mode)
                    wanted = host_permissions(change.mode, present)
                    if wanted != present:
                        os.chmod(path, wanted)
                return
            before = stored_posix.read(path, through=True)
            mode = show(node.kind, before, self.options).mode
            if valid & SetAttr.MODE:
                mode = stat.S_IFMT(mode) | stat.S_IMODE(change.mode)
            if valid & SetAttr.KILL_SUIDGID:
                mode = without_set_ids(mode)
            after = Stored(
                change.uid if valid & SetAttr.UID else None,
                change.gid if valid & SetAttr.GID else None,
                mode if valid & SetAttr.MODE or mode != (before.mode or mode) else None,
            )
            stored_posix.write(path, after)

    def read(self, node: int, offset: int, size: int) -> memoryview:
        """READ."""
        buffer = self._buffer[:size]
        return buffer[: self.read_into(node, offset, buffer)]

    def read_into(self, node: int, offset: int, room: memoryview) -> int:
        """READ."""
        return os.preadv(self.tree.file(self.tree.node(node), write=False), [room], offset)

    def write(self, node: int, offset: int, data: memoryview, kill_set_ids: bool) -> int:
        """WRITE."""
        known = self.tree.node(node)
        fd = self.tree.file(known, write=True)
        self.watches.own(known.parent, known.name, MODIFIED | ATTRIBUTES)
        if kill_set_ids and self._metadata:
            self._kill_set_ids(fd)
        done = 0
        while done < len(data):
            done += os.pwrite(fd, data[done:], offset + done)
        return done

    flush = None

    def close_written(self, before: float) -> float | None:
        """Close what was written to last before `before`; when the rest was, at the earliest."""
        return self.tree.close_written(before)

    def _kill_set_ids(self, fd: int) -> None:
        mode = stored_posix.read(tree_posix.proc_path(fd), through=True).mode
        if mode is not None and mode & _SET_IDS:
            stored_posix.write(tree_posix.proc_path(fd), Stored(mode=without_set_ids(mode)))

    def fsync(self, node: int, data_only: bool) -> None:
        """FSYNC, FSYNCDIR."""
        known = self.tree.node(node)
        if known.kind != stat.S_IFDIR:
            fd = self.tree.file(known, write=False)
            (os.fdatasync if data_only else os.fsync)(fd)
            return
        with self.tree.held(known) as held:
            fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=held)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def fallocate(self, node: int, mode: int, offset: int, length: int) -> None:
        """FALLOCATE."""
        known = self.tree.node(node)
        fd = self.tree.file(known, write=True)
        self._own(known, MODIFIED)
        libc_posix.fallocate(fd, mode, offset, length)

    def lseek(self, node: int, offset: int, whence: int) -> int:
        """LSEEK."""
        if whence not in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return os.lseek(self.tree.file(self.tree.node(node), write=False), offset, whence)

    def copy(self, source: int, offset: int, target: int, target_offset: int, length: int) -> int:
        """COPY_FILE_RANGE, a part at most: the caller comes again for the rest."""
        written = self.tree.node(target)
        into = self.tree.file(written, write=True)
        self._own(written, MODIFIED)
        out_of = self.tree.file(self.tree.node(source), write=False)
        return os.copy_file_range(out_of, into, min(length, 1 << 28), offset, target_offset)

    def statfs(self) -> FileSystem:
        """STATFS."""
        s = os.fstatvfs(self.tree.root)
        return FileSystem(
            s.f_blocks,
            s.f_bfree,
            s.f_bavail,
            s.f_files,
            s.f_ffree,
            s.f_bsize,
            s.f_namemax,
            s.f_frsize,
        )

    # Extended attributes, with `metadata` alone

    def getxattr(self, node: int, name: bytes) -> bytes:
        """GETXATTR."""
        stored_posix.check(name)
        with self.tree.held(self.tree.node(node)) as fd:
            return os.getxattr(tree_posix.proc_path(fd), name)

    def setxattr(self, node: int, name: bytes, value: bytes, flags: int) -> None:
        """SETXATTR."""
        stored_posix.check(name)
        known = self.tree.node(node)
        self._own(known, ATTRIBUTES)
        with self.tree.held(known) as fd:
            os.setxattr(tree_posix.proc_path(fd), name, value, flags)

    def listxattr(self, node: int) -> bytes:
        """LISTXATTR."""
        with self.tree.held(self.tree.node(node)) as fd:
            return stored_posix.listed(tree_posix.proc_path(fd))

    def removexattr(self, node: int, name: bytes) -> None:
        """REMOVEXATTR."""
        stored_posix.check(name)
        known = self.tree.node(node)
        self._own(known, ATTRIBUTES)
        with self.tree.held(known) as fd:
            os.removexattr(tree_posix.proc_path(fd), name)


def _time(valid: int, given: int, now: int, seconds: int, nanoseconds: int) -> tuple[int, int]:
    if valid & now:
        return 0, libc_posix.UTIME_NOW
    if not valid & given:
        return 0, libc_posix.UTIME_OMIT
    return seconds - (1 << 64) if seconds >> 63 else seconds, nanoseconds
