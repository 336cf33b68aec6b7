"""Files of a POSIX host beneath one directory, reached by descriptors alone.

A node is opened step by step from the nearest directory that is open already: one name at a time,
O_NOFOLLOW, and then compared with the file that the kernel was told of. So no "..", no symbolic
link and no rename in between leads out of the root: what is met instead is ESTALE, upon which the
guest's kernel looks the path up again.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from interop.drives.changes import WRITTEN
from interop.drives.nodes import Cache, Node, NodeTable
from interop.drives.watches import Watcher, Watches

assert sys.platform == "linux"

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HELD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO or a terminal put in a file's place must neither stop the server nor become its own.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FILE_HELD = _FILE & ~os.O_NOFOLLOW


@dataclass(frozen=True)
class Limits:
    """How many descriptors one mount may hold: directories, files, and removed files in use.

    Together below the soft limit of 1,024 that most systems start a process with. `watches` is
    how many directories it may watch.
    """

    directories: int = 192
    files: int = 192
    removed: int = 512
    watches: int = 4096


@dataclass(frozen=True)
class _Handle:
    node: Node
    fd: int
    writable: bool


def identity(status: os.stat_result) -> tuple[int, int]:
    """What tells one file from another."""
    return status.st_dev, status.st_ino


def proc_path(fd: int) -> bytes:
    """A path that leads to the very file that `fd` is open on (proc_pid_fd(5))."""
    return b"/proc/self/fd/%d" % fd


def stale() -> OSError:
    """What a node is when its name leads to another file by now."""
    return OSError(errno.ESTALE, os.strerror(errno.ESTALE))


class Tree:
    """The files beneath `root`, an open directory's descriptor, which it owns and closes.

    Methods raise OSError: ESTALE for a node that is unknown, or is not where it was.
    """

    def __init__(
        self,
        root: int,
        limits: Limits | None = None,
        first_node: int = 2,
        watcher: Watcher | None = None,
    ) -> None:
        limits = limits or Limits()
        status = os.fstat(root)
        self.root = root
        self.nodes = NodeTable(identity(status), stat.S_IFMT(status.st_mode), first_node)
        self.watches = Watches(self.nodes, watcher, limit=limits.watches)
        self._directories: Cache[int, int] = Cache(limits.directories, os.close)
        self._files: Cache[int, _Handle] = Cache(limits.files, self._close)
        self._written: dict[int, float] = {}
        self._removed: dict[int, int] = {}
        self._most_removed = limits.removed

    def _close(self, handle: _Handle) -> None:
        if handle.writable:
            self.watches.own(handle.node.parent, handle.node.name, WRITTEN)
        os.close(handle.fd)

    def close(self) -> None:
        """Close everything, the root too."""
        self._directories.clear()
        self._files.clear()
        while self._removed:
            os.close(self._removed.popitem()[1])
        if self.root >= 0:
            os.close(self.root)
            self.root = -1

    @property
    def descriptors(self) -> int:
        """How many descriptors it holds now."""
        return 1 + len(self._directories) + len(self._files) + len(self._removed)

    def trim(self) -> None:
        """Close what is beyond the limits: between requests, never within one."""
        self._directories.trim()
        self._files.trim()

    def node(self, number: int) -> Node:
        """The node of that number."""
        node = self.nodes.get(number)
        if node is None:
            raise stale()
        return node

    def directory(self, node: Node) -> int:
        """A descriptor of the directory `node`, for *at() calls only; good until trim()."""
        if node is self.nodes.root:
            return self.root
        fd = self._directories.get(node.id)
        if fd is None:
            fd = self._removed.get(node.id)
        if fd is None:
            fd = self._open_directory(node)
            self._directories.put(node.id, fd)
        return fd

    def _open_directory(self, node: Node) -> int:
        steps: list[Node] = []
        start: int | None = None
        current = node
        while start is None:
            steps.append(current)
            if current.parent is None:
                raise stale()
            current = current.parent
            start = self.root if current is self.nodes.root else self._directories.get(current.id)
        fd = start
        for step in reversed(steps):
            try:
                following = os.open(step.name, _DIRECTORY, dir_fd=fd)
            except NotADirectoryError:
                raise stale() from None
            finally:
                if fd != start:
                    os.close(fd)
            fd = following
            if identity(os.fstat(fd)) != step.identity:
                os.close(fd)
                raise stale()
        return fd

    def status(self, node: Node) -> os.stat_result:
        """The status of `node` as it is on the host now."""
        if node is self.nodes.root:
            return os.fstat(self.root)
        held = self._removed.get(node.id)
        if held is not None:
            return os.fstat(held)
        handle = self._files.get(node.id)
        if handle is not None:
            return os.fstat(handle.fd)
        if node.parent is None:
            raise stale()
        status = os.stat(node.name, dir_fd=self.directory(node.parent), follow_symlinks=False)
        if identity(status) != node.identity:
            raise stale()
        return status

    @contextmanager
    def held(self, node: Node) -> Iterator[int]:
        """A descriptor (O_PATH) of `node` itself, be it a symbolic link, for its proc_path()."""
        kept = self.root if node is self.nodes.root else self._removed.get(node.id)
        if kept is not None:
            yield kept
            return
        fd = self._open_held(node)
        try:
            yield fd
        finally:
            os.close(fd)

    def _open_held(self, node: Node) -> int:
        if node.parent is None:
            raise stale()
        fd = os.open(node.name, _HELD, dir_fd=self.directory(node.parent))
        if identity(os.fstat(fd)) != node.identity:
            os.close(fd)
            raise stale()
        return fd

    def file(self, node: Node, *, write: bool) -> int:
        """A descriptor of the regular file `node` for reading or both; good until trim()."""
        if write:
            self._is_written(node)
        handle = self._files.get(node.id)
        if handle is not None and (handle.writable or not write):
            return handle.fd
        if node.kind != stat.S_IFREG:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        access = os.O_RDWR if write else os.O_RDONLY
        fd = self._open_file(node, access)
        status = os.fstat(fd)
        if identity(status) != node.identity or not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise stale()
        self._files.put(node.id, _Handle(node, fd, write))
        return fd

    def _open_file(self, node: Node, access: int) -> int:
        held = self._removed.get(node.id)
        if held is not None:
            return os.open(proc_path(held), access | _FILE_HELD)
        if node.parent is None:
            raise stale()
        try:
            return os.open(node.name, access | _FILE, dir_fd=self.directory(node.parent))
        except OSError as error:
            # ELOOP: a symbolic link stands in the file's place; ENXIO: a FIFO or a socket does.
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise stale() from None
            raise

    def opened(self, node: Node, fd: int) -> None:
        """Keep `fd`, open for reading and writing on the new file `node`."""
        self._is_written(node)
        self._files.put(node.id, _Handle(node, fd, True))

    def close_written(self, before: float) -> float | None:
        """Close what was written to last before `before`; when the rest was, at the earliest."""
        while self._written:
            number, used = next(iter(self._written.items()))
            if used >= before:
                return used
            del self._written[number]
            handle = self._files.get(number)
            if handle is not None and handle.writable:
                self._files.discard(number)
        return None

    def _is_written(self, node: Node) -> None:
        self._written.pop(node.id, None)  # so that they stay in order
        self._written[node.id] = time.monotonic()

    def keep(self, node: Node) -> bool:
        """Hold on to `node`, whose name is about to go: the guest may have it open.

        Says whether it was not held before. Raises ENFILE where too many are held.
        """
        if node.id in self._removed:
            return False
        if len(self._removed) >= self._most_removed:
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))
        self._removed[node.id] = self._open_held(node)
        return True

    def release(self, node: Node) -> None:
        """Let go of what keep() holds: its name is still there, or the kernel has forgotten it."""
        fd = self._removed.pop(node.id, None)
        if fd is not None:
            os.close(fd)

    def gone(self, node: Node) -> None:
        """A name of `node`, which keep() holds, is gone; its identity too if it was the last."""
        status = os.fstat(self._removed[node.id])
        if status.st_nlink == 0 or stat.S_ISDIR(status.st_mode):
            self.nodes.orphaned(node)
            self.watches.leave(node)

    def forget(self, number: int, lookups: int) -> None:
        """The kernel takes back `lookups` of the node of that number."""
        known = self.nodes.get(number)
        if known is not None and known.lookups <= lookups:
            self._files.discard(number)  # while it still has a name
        node = self.nodes.forget(number, lookups)
        if node is not None:
            self.release(node)
            self.watches.leave(node)
            self._directories.discard(node.id)
