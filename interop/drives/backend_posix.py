"""A drive on a POSIX host: `interop.drives.backend.Backend` beneath one directory."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from pathlib import Path

from interop.drives import (
    files_posix,
    libc_posix,
    listing,
    listing_posix,
    stored_posix,
    tree_posix,
)
from interop.drives.backend import Caller, Emit, Found, Seen
from interop.drives.changes import (
    ATTRIBUTES,
    CREATED,
    MODIFIED,
    MOVED_FROM,
    MOVED_TO,
    REMOVED,
)
from interop.drives.constants import RENAME_EXCHANGE, RENAME_NOREPLACE
from interop.drives.metadata import (
    Options,
    host_permissions,
    store_new,
)
from interop.drives.names import has_forbidden, to_host, to_linux
from interop.drives.nodes import Cache, Node
from interop.drives.replies import Attributes
from interop.drives.watches import Watcher

assert sys.platform == "linux"

_LISTINGS = 16
_MODE_KINDS = frozenset({stat.S_IFIFO, stat.S_IFSOCK})


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class PosixBackend(files_posix.PosixFiles):
    """Fulfils `interop.drives.backend.Backend`; `root` is a directory, `max_io` in bytes.

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
        super().__init__(
            root, options, limits=limits, max_io=max_io, first_node=first_node, watcher=watcher
        )
        self._listings: Cache[int, list[listing.Entry]] = Cache(_LISTINGS, lambda _: None)

    def trim(self) -> None:
        """Close what is beyond the limits."""
        super().trim()
        self._listings.trim()

    @staticmethod
    def _existing(directory: int, name: bytes) -> bytes:
        """What `name` is called on the host: escaped, or as it is where only that exists."""
        host = to_host(name)
        if host == name:
            return name
        for candidate in (host, name):
            try:
                os.stat(candidate, dir_fd=directory, follow_symlinks=False)
            except OSError:
                continue
            return candidate
        return host

    def _fresh(self, directory: int, name: bytes) -> bytes:
        """What to call a new `name` on the host; EEXIST if it is there in its other spelling."""
        if has_forbidden(name) and self._existing(directory, name) == name:
            raise _error(errno.EEXIST)
        return to_host(name)

    def lookup(self, parent: int, name: bytes) -> Found:
        """LOOKUP."""
        tree = self.tree
        node = tree.node(parent)
        directory = tree.directory(node)
        self.watches.enter(node, directory)
        if has_forbidden(name):
            name = self._existing(directory, name)
        return self._found(node, directory, name)

    def absence_kept(self, parent: int, name: bytes) -> bool:
        """Whether the kernel will be told when there is a `name` that lookup() did not find."""
        node = self.tree.nodes.get(parent)
        return node is not None and self.watches.note_absent(node, name)

    def ghost(self, node: int, kind: int) -> Found:
        """What is not there any more."""
        known = self.tree.nodes.ghost(node, kind)
        mode = kind | (0o755 if kind == stat.S_IFDIR else 0o644)
        return Found(known.id, Attributes(known.identity[1], 0, 0, 0, 0, 0, mode, 1, 0, 0, 0))

    def identify(self, directory: int, host: bytes) -> tuple[int, int] | None:
        """What is at the host's name `host` in a node; None for nothing."""
        try:
            fd = self.tree.directory(self.tree.node(directory))
            return tree_posix.identity(os.stat(host, dir_fd=fd, follow_symlinks=False))
        except OSError:
            return None

    def kind(self, directory: int, host: bytes) -> int:
        """S_IFMT of the host's name `host` in a node; 0 if it is not there."""
        try:
            fd = self.tree.directory(self.tree.node(directory))
            return stat.S_IFMT(os.stat(host, dir_fd=fd, follow_symlinks=False).st_mode)
        except OSError:
            return 0

    def look(self, directory: int) -> dict[bytes, Seen]:
        """What there is in a node, by the host's names."""
        there: dict[bytes, Seen] = {}
        try:
            fd = self.tree.directory(self.tree.node(directory))
            for entry in listing_posix.read(fd):
                with contextlib.suppress(FileNotFoundError):
                    status = os.stat(entry.host, dir_fd=fd, follow_symlinks=False)
                    identity = tree_posix.identity(status)
                    kind = stat.S_IFMT(status.st_mode)
                    there[entry.host] = Seen(kind, identity, status.st_ctime_ns)
        except OSError:
            pass
        return there

    # Names

    def _made(self, caller: Caller, parent: Node, directory: int, host: bytes, mode: int) -> Found:
        """Store whose the new file `host` is, then show it."""
        found = self._named(parent, directory, host)
        if not self._metadata:
            return found
        node = self.tree.node(found.node)
        stored = store_new(mode, 0, caller.uid, caller.gid)
        with self.tree.held(node) as fd:
            stored_posix.write(tree_posix.proc_path(fd), stored)
            status = os.fstat(fd)
        return self._told(node, status, self._shown(status, stored))

    def _permissions(self, mode: int) -> int:
        # With metadata the mode is in the attribute, and changing that takes a writable file.
        return host_permissions(mode | stat.S_IWUSR if self._metadata else mode)

    def create(self, caller: Caller, parent: int, name: bytes, mode: int, flags: int) -> Found:
        """CREATE. The new file stays open: what is made is mostly written next."""
        known = self.tree.node(parent)
        directory = self.tree.directory(known)
        try:
            host = self._fresh(directory, name)
            fd = os.open(
                host,
                os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC,
                self._permissions(mode),
                dir_fd=directory,
            )
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            return self._opened(known, directory, name, flags)
        try:
            found = self._made(caller, known, directory, host, stat.S_IFREG | stat.S_IMODE(mode))
            node = self.tree.node(found.node)
            if node.identity == tree_posix.identity(os.fstat(fd)):
                self.tree.opened(node, fd)
                fd = -1
        finally:
            if fd >= 0:
                os.close(fd)
        return found

    def _opened(self, parent: Node, directory: int, name: bytes, flags: int) -> Found:
        """CREATE of what the host has made since the kernel looked."""
        host = self._existing(directory, name)
        found = self._found(parent, directory, host)
        if flags & os.O_TRUNC:
            self.watches.own(parent, host, MODIFIED)
            os.ftruncate(self.tree.file(self.tree.node(found.node), write=True), 0)
            return self.getattr(found.node)
        return found

    def mkdir(self, caller: Caller, parent: int, name: bytes, mode: int) -> Found:
        """MKDIR."""
        known = self.tree.node(parent)
        directory = self.tree.directory(known)
        host = self._fresh(directory, name)
        os.mkdir(host, 0o777, dir_fd=directory)
        return self._made(caller, known, directory, host, stat.S_IFDIR | stat.S_IMODE(mode))

    def mknod(self, caller: Caller, parent: int, name: bytes, mode: int, rdev: int) -> Found:
        """MKNOD. Special files are kept as metadata: the host never gets one that does something.

        Without metadata FIFOs and sockets are real, and devices are EPERM.
        """
        kind = stat.S_IFMT(mode) or stat.S_IFREG
        known = self.tree.node(parent)
        directory = self.tree.directory(known)
        host = self._fresh(directory, name)
        if kind in _MODE_KINDS and not self._metadata:
            os.mknod(host, kind | self._permissions(mode), dir_fd=directory)
            return self._named(known, directory, host)
        if kind != stat.S_IFREG and not self._metadata:
            raise _error(errno.EPERM)
        os.mknod(host, stat.S_IFREG | self._permissions(mode), dir_fd=directory)
        if kind in (stat.S_IFCHR, stat.S_IFBLK):
            return self._made_device(caller, known, directory, host, mode, rdev)
        return self._made(caller, known, directory, host, kind | stat.S_IMODE(mode))

    def _made_device(
        self, caller: Caller, parent: Node, directory: int, host: bytes, mode: int, rdev: int
    ) -> Found:
        node = self.tree.node(self._named(parent, directory, host).node)
        with self.tree.held(node) as fd:
            stored = store_new(mode, 0, caller.uid, caller.gid, rdev)
            stored_posix.write(tree_posix.proc_path(fd), stored)
            status = os.fstat(fd)
        return self._told(node, status, self._shown(status, stored))

    def _named(self, parent: Node, directory: int, host: bytes) -> Found:
        """Show what the server has just made, as `host`, in `parent`."""
        self.watches.own(parent, host, CREATED | ATTRIBUTES)
        self.watches.forget_absent(parent, to_linux(host))
        return self._found(parent, directory, host)

    def symlink(self, caller: Caller, parent: int, name: bytes, target: bytes) -> Found:
        """SYMLINK."""
        known = self.tree.node(parent)
        directory = self.tree.directory(known)
        host = self._fresh(directory, name)
        os.symlink(target, host, dir_fd=directory)
        return self._named(known, directory, host)

    def readlink(self, node: int) -> bytes:
        """READLINK."""
        known = self.tree.node(node)
        with self.tree.held(known) as fd:
            return os.readlink(b"", dir_fd=fd)

    def link(self, node: int, newparent: int, newname: bytes) -> Found:
        """LINK."""
        known, parent = self.tree.node(node), self.tree.node(newparent)
        directory = self.tree.directory(parent)
        host = self._fresh(directory, newname)
        with self.tree.held(known) as fd:
            os.link(tree_posix.proc_path(fd), host, dst_dir_fd=directory, follow_symlinks=True)
        self.watches.own(known.parent, known.name, ATTRIBUTES)
        return self._named(parent, directory, host)

    def _remove(self, parent: int, name: bytes, *, directory: bool) -> None:
        known = self.tree.node(parent)
        fd = self.tree.directory(known)
        host = self._existing(fd, name)
        node = known.children.get(host)
        fresh = self.tree.keep(node) if node is not None else False
        try:
            (os.rmdir if directory else os.unlink)(host, dir_fd=fd)
        except OSError:
            if node is not None and fresh:
                self.tree.release(node)
            raise
        self.watches.own(known, host, REMOVED)
        if node is not None:
            self.tree.gone(node)
            self.tree.nodes.removed(known, host)

    def unlink(self, parent: int, name: bytes) -> None:
        """UNLINK."""
        self._remove(parent, name, directory=False)

    def rmdir(self, parent: int, name: bytes) -> None:
        """RMDIR."""
        self._remove(parent, name, directory=True)

    def rename(self, parent: int, name: bytes, newparent: int, newname: bytes, flags: int) -> None:
        """RENAME, RENAME2."""
        if flags & ~(RENAME_EXCHANGE | RENAME_NOREPLACE):
            raise _error(errno.EINVAL)
        known, newknown = self.tree.node(parent), self.tree.node(newparent)
        fd, newfd = self.tree.directory(known), self.tree.directory(newknown)
        host, newhost = self._existing(fd, name), self._existing(newfd, newname)
        if flags & RENAME_EXCHANGE:
            libc_posix.rename(fd, host, newfd, newhost, flags)
            for parent_node, moved in ((known, host), (newknown, newhost)):
                self.watches.own(parent_node, moved, MOVED_FROM | MOVED_TO)
            self.tree.nodes.exchanged(known, host, newknown, newhost)
            return
        target = newknown.children.get(newhost)
        fresh = self.tree.keep(target) if target is not None else False
        try:
            libc_posix.rename(fd, host, newfd, newhost, flags)
        except OSError:
            if target is not None and fresh:
                self.tree.release(target)
            raise
        self.watches.own(known, host, MOVED_FROM)
        self.watches.own(newknown, newhost, MOVED_TO)
        self.watches.forget_absent(newknown, newname)
        if target is not None:
            self.tree.gone(target)
        self.tree.nodes.renamed(known, host, newknown, newhost)

    # Directories and the whole

    def readdir(self, node: int, offset: int, plus: bool, emit: Emit) -> None:
        """READDIR, READDIRPLUS."""
        known = self.tree.node(node)
        directory = self.tree.directory(known)
        self.watches.enter(known, directory)
        ino = known.identity[1]
        for position, name in ((1, b"."), (2, b"..")):
            if offset < position and not emit(name, ino, stat.S_IFDIR >> 12, position, None):
                return
        entries = self._listings.get(node) if offset else None
        if entries is None:
            entries = listing_posix.read(directory)
            self._listings.put(node, entries)
        for entry in entries[listing.after(entries, offset) :]:
            found = None
            if plus:
                try:
                    found = self._found(known, directory, entry.host)
                except OSError:
                    continue  # it went since the listing was made, or cannot be looked at
            if not emit(entry.name, entry.ino, entry.kind, entry.offset, found):
                if found is not None:
                    self.tree.forget(found.node, 1)
                return
