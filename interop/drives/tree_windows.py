r"""Files of a Windows host beneath one directory, opened from that directory's handle.

A node is opened by the names on the way to it, none of which may be a link, and then compared with
the file that the kernel was told of: so neither "..", nor a link, nor a rename in between leads out
of the root; what is met instead is ESTALE. New names are made in a directory that is open.

Windows lets nobody rename a directory beneath which a file is open, or open a file for himself
alone that another has open. So a handle is kept while the guest works with a file, and no longer.
"""

from __future__ import annotations

import stat
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from interop.drives import linuxerrno, nt_windows, ntformats, stored_windows
from interop.drives.metadata import NOTHING_STORED, Stored
from interop.drives.nodes import Identity, Node, NodeTable
from interop.drives.ntformats import Status
from interop.drives.ntstatus import linux_error
from interop.drives.watches import Watcher, Watches

assert sys.platform == "win32"

_MOST_OPEN = 256
_MOST_REMOVED = 512
_MOST_WATCHED = 1 << 16
"""Directories, of which the host watches all anyway."""

READ = nt_windows.READ_DATA
WRITE = nt_windows.READ_DATA | nt_windows.WRITE_DATA | nt_windows.WRITE_ATTRIBUTES


class Look(NamedTuple):
    """What a file is like, and what Linux has stored beside it."""

    status: Status
    stored: Stored = NOTHING_STORED


@dataclass
class _Open:
    """A handle that is kept; `used` is when it was used last, by time.monotonic()."""

    handle: int
    access: int
    used: float


def nt_path(directory: str) -> str:
    r"""The NT path of an absolute Windows one: C:\ is \??\C:\, \\server\share \??\UNC\server\share.

    Source: "Object Names" in the Windows driver documentation.
    """
    if directory.startswith("\\\\"):
        return "\\??\\UNC\\" + directory[2:]
    return "\\??\\" + directory


def stale() -> OSError:
    """What a node is when its name leads to another file by now."""
    return linux_error(linuxerrno.ESTALE)


def identity(status: Status, name: bytes) -> Identity:
    """What tells one file from another: its number, or its name where it has none."""
    return (0, status.identity) if status.identity else (1, hash(name.lower()) & (1 << 62) - 1)


class Tree:
    r"""The files beneath `root`, an absolute Windows path; `has_metadata`: with what Linux set.

    Methods raise OSError: ESTALE for a node that is unknown, or is not where it was.
    """

    def __init__(
        self,
        root: str,
        first_node: int = 2,
        watcher: Watcher | None = None,
        *,
        has_metadata: bool = False,
    ) -> None:
        self._path = nt_path(root)
        self._look_access = nt_windows.READ_EA if has_metadata else 0
        self.root = nt_windows.open_file(
            0, self._path, nt_windows.LIST, options=nt_windows.DIRECTORY_FILE
        )
        status = nt_windows.status(self.root)
        self.nodes = NodeTable(identity(status, b""), stat.S_IFDIR, first_node)
        self.watches = Watches(self.nodes, watcher, limit=_MOST_WATCHED)
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._removed: dict[int, int] = {}

    def close(self) -> None:
        """Close everything, the root too."""
        self.close_idle(None)
        while self._removed:
            nt_windows.close(self._removed.popitem()[1])
        if self.root:
            nt_windows.close(self.root)
            self.root = 0

    @property
    def handles(self) -> int:
        """How many handles it has open now."""
        return 1 + len(self._open) + len(self._removed)

    def node(self, number: int) -> Node:
        """The node of that number."""
        node = self.nodes.get(number)
        if node is None:
            raise stale()
        return node

    def path(self, node: Node) -> bytes:
        r"""Where `node` is beneath the root, as `a\b`; empty for the root itself."""
        names: list[bytes] = []
        while node is not self.nodes.root:
            if node.parent is None:
                raise stale()
            names.append(node.name)
            node = node.parent
        return b"\\".join(reversed(names))

    def long_path(self, node: Node) -> str:
        r"""The path of `node` for Windows' other calls: `\\?\C:\a\b`, no slash behind."""
        path = self._path.rstrip("\\") + "\\" + ntformats.to_text(self.path(node))
        return "\\\\?\\" + path.removeprefix("\\??\\").rstrip("\\")

    def open(
        self,
        node: Node,
        access: int,
        options: int = nt_windows.OPEN_REPARSE_POINT,
        *,
        share: int = nt_windows.SHARE_ALL,
    ) -> int:
        """A new handle of `node`, which the caller closes."""
        if node is self.nodes.root:
            return nt_windows.open_file(
                0, self._path, access, options=nt_windows.DIRECTORY_FILE, share=share
            )
        path = self.path(node)
        try:
            handle = nt_windows.open_file(
                self.root, ntformats.to_text(path), access, options=options, share=share
            )
        except NotADirectoryError:
            raise stale() from None
        try:
            status = nt_windows.status(handle)
            if identity(status, path) != node.identity:
                raise stale()
        except BaseException:
            nt_windows.close(handle)
            raise
        return handle

    @contextmanager
    def opened(self, node: Node, access: int) -> Iterator[int]:
        """A handle of `node` itself, be it a link, with more rights than a kept one has."""
        handle = self.open(node, access)
        try:
            yield handle
        finally:
            nt_windows.close(handle)

    def watch(self, node: Node) -> None:
        """Have what changes in the directory `node` reported; before anything in it is looked at.

        It is opened for that: Wine reports nothing from where nobody has been.
        """
        self.watches.enter(node, 0 if node.watched else self.directory(node))

    def directory(self, node: Node) -> int:
        """A handle of the directory `node`, to open names in; kept."""
        if node is self.nodes.root:
            return self.root
        return self._kept(node, nt_windows.LIST, nt_windows.OPEN_REPARSE_POINT)

    def file(self, node: Node, *, write: bool) -> int:
        """A handle of the regular file `node` for reading or both; kept."""
        if node.kind != stat.S_IFREG:
            raise linux_error(linuxerrno.EINVAL)
        # A reparse point that is no link has its content looked after by a driver, which has to
        # notice the open.
        try:
            return self._kept(node, WRITE if write else READ, nt_windows.NON_DIRECTORY_FILE)
        except PermissionError:
            if not write:
                raise
            return self._protected_file(node)

    def _protected_file(self, node: Node) -> int:
        """A handle for writing of a file that is read-only: the guest had it open before it was."""
        with self.opened(node, nt_windows.WRITE_ATTRIBUTES) as handle:
            before = nt_windows.status(handle).attributes
            if not before & ntformats.READ_ONLY:
                raise linux_error(linuxerrno.EACCES)
            without = before & ~ntformats.READ_ONLY or ntformats.NORMAL
            nt_windows.set_basic(handle, ntformats.basic(attributes=without))
            try:
                return self._kept(node, WRITE, nt_windows.NON_DIRECTORY_FILE)
            finally:
                nt_windows.set_basic(handle, ntformats.basic(attributes=before))

    def _kept(self, node: Node, access: int, options: int) -> int:
        now = time.monotonic()
        removed = self._removed.get(node.id)
        if removed is not None:
            return removed
        kept = self._open.get(node.id)
        if kept is not None and access & ~kept.access == 0:
            kept.used = now
            self._open.move_to_end(node.id)
            return kept.handle
        access |= self._look_access
        handle = self.open(node, access, options)
        self.keep_open(node, handle, access)
        return handle

    def keep_open(self, node: Node, handle: int, access: int) -> None:
        """Keep `handle`, which has those rights to `node`."""
        self.let_go(node)
        self._open[node.id] = _Open(handle, access, time.monotonic())

    def let_go(self, node: Node) -> None:
        """Close what is kept of `node`."""
        kept = self._open.pop(node.id, None)
        if kept is not None:
            nt_windows.close(kept.handle)

    def close_idle(self, before: float | None) -> float | None:
        """Close what was used last before `before`, or all; when the rest was, at the earliest."""
        while self._open:
            number, kept = next(iter(self._open.items()))
            if before is not None and kept.used >= before:
                return kept.used
            del self._open[number]
            nt_windows.close(kept.handle)
        return None

    def trim(self) -> None:
        """Close what is beyond the limit: between requests, never within one."""
        while len(self._open) > _MOST_OPEN:
            nt_windows.close(self._open.popitem(last=False)[1].handle)

    def look(self, node: Node) -> Look:
        """What there is to know of `node` now."""
        if node is self.nodes.root and not self._look_access:
            return Look(nt_windows.status(self.root))
        held = self._removed.get(node.id)
        if held is not None:
            return self.look_at(held)
        kept = self._open.get(node.id)
        if kept is not None and self._look_access & ~kept.access == 0:
            return self.look_at(kept.handle)
        with self.opened(node, self._look_access) as handle:
            return self.look_at(handle)

    def look_at(self, handle: int) -> Look:
        """What there is to know of an open file."""
        status = nt_windows.status(handle)
        if self._look_access and status.ea_size and status.kind != stat.S_IFLNK:
            return Look(status, stored_windows.read(handle))
        return Look(status)

    def found(self, parent: Node, name: bytes) -> tuple[Node, Look]:
        """The node of what is `name` in `parent`, known once more to the kernel."""
        directory, text = self.directory(parent), ntformats.to_text(name)
        handle = nt_windows.open_file(directory, text, self._look_access)
        try:
            look = self.look_at(handle)
        finally:
            nt_windows.close(handle)
        return self.made(parent, name, look), look

    def made(self, parent: Node, name: bytes, look: Look) -> Node:
        """The node of what was just looked at as `name` in `parent`, known once more."""
        number = identity(look.status, self.path(parent) + b"\\" + name)
        return self.nodes.found(parent, name, number, look.status.kind)

    def hold(self, node: Node) -> bool:
        """Hold on to the file `node`, whose name is about to go: the guest may have it open.

        Says whether it was not held before. Raises ENFILE where too many are held.
        """
        if node.id in self._removed:
            return False
        if len(self._removed) >= _MOST_REMOVED:
            raise linux_error(linuxerrno.ENFILE)
        self.let_go(node)
        try:
            handle = self.open(node, WRITE | self._look_access, nt_windows.NON_DIRECTORY_FILE)
        except PermissionError:
            handle = self.open(node, READ | self._look_access, nt_windows.NON_DIRECTORY_FILE)
        self._removed[node.id] = handle
        return True

    def release(self, node: Node) -> None:
        """Let go of what hold() holds: its name is still there, or the kernel has forgotten it."""
        handle = self._removed.pop(node.id, None)
        if handle is not None:
            nt_windows.close(handle)

    def gone(self, node: Node) -> None:
        """A name of `node` is gone; its identity too if that was the last."""
        held = self._removed.get(node.id)
        if held is not None and nt_windows.status(held).links > 0:
            return
        self.nodes.orphaned(node)
        self.watches.leave(node)

    def forget(self, number: int, lookups: int) -> None:
        """The kernel takes back `lookups` of the node of that number."""
        known = self.nodes.get(number)
        if known is not None and known.lookups <= lookups:
            self.let_go(known)
        node = self.nodes.forget(number, lookups)
        if node is not None:
            self.release(node)
            self.watches.leave(node)
