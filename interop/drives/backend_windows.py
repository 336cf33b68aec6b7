"""A drive on a Windows host: `interop.drives.backend.Backend` beneath one directory."""

from __future__ import annotations

import contextlib
import stat
import sys

from interop.drives import (
    files_windows,
    links_windows,
    linuxerrno,
    listing,
    nt_windows,
    ntformats,
    stored_windows,
    tree_windows,
    watcher_windows,
)
from interop.drives.backend import Caller, Emit, Found, Seen
from interop.drives.changes import CREATED, MOVED_FROM, MOVED_TO, REMOVED
from interop.drives.constants import O_EXCL, O_TRUNC, RENAME_EXCHANGE, RENAME_NOREPLACE
from interop.drives.metadata import Case, Options, store_new
from interop.drives.names import to_host, to_linux
from interop.drives.nodes import Cache, Identity, Node
from interop.drives.ntchanges import CHANGED
from interop.drives.ntstatus import linux_error
from interop.drives.replies import Attributes

assert sys.platform == "win32"

_LISTINGS = 16
_MADE = CREATED | CHANGED
_WRITE_BITS = 0o222
_STORE = nt_windows.READ_EA | nt_windows.WRITE_EA
_REMOVE = nt_windows.DELETE | nt_windows.WRITE_ATTRIBUTES


class WindowsBackend(files_windows.WindowsFiles):
    """Fulfils `interop.drives.backend.Backend`; `root` is an absolute path, `max_io` in bytes.

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
        super().__init__(root, options, max_io=max_io, first_node=first_node, watcher=watcher)
        self._listings: Cache[int, list[listing.Entry]] = Cache(_LISTINGS, lambda _: None)
        self._store_access = _STORE if self._metadata else 0

    def trim(self) -> None:
        """Close what is beyond the limits."""
        super().trim()
        self._listings.trim()

    def _existing(self, parent: Node, name: bytes) -> bytes:
        """What there is by `name` is called on the host, be it in other letters."""
        host = to_host(name)
        text = ntformats.to_text(host)
        # "~": the name could be a short one (8.3), which Windows has beside the long one.
        if host in parent.children or (text.lower() == text.upper() and "~" not in text):
            return host
        with self.tree.opened(parent, nt_windows.LIST) as handle:
            names = [entry.name for entry in nt_windows.entries(handle, host)]
        if not names:
            raise linux_error(linuxerrno.ENOENT)
        return host if host in names else names[0]

    def _found(self, parent: Node, host: bytes) -> Found:
        return self._told(*self.tree.found(parent, host))

    def _found_as(self, parent: Node, name: bytes) -> Found:
        """What there is by Linux' `name`, whatever the letters: of other ones nothing is told."""
        host = self._existing(parent, name)
        found = self._found(parent, host)
        return found if host == to_host(name) else found._replace(name_kept=False)

    def lookup(self, parent: int, name: bytes) -> Found:
        """LOOKUP."""
        known = self.tree.node(parent)
        self.tree.watch(known)
        return self._found_as(known, name)

    def absence_kept(self, parent: int, name: bytes) -> bool:
        """Whether the kernel will be told when there is a `name` that lookup() did not find.

        Never: it would be told of the name that was made, and the letters may be others.
        """
        return False

    def ghost(self, node: int, kind: int) -> Found:
        """What is not there any more."""
        known = self.tree.nodes.ghost(node, kind)
        mode = kind | (0o755 if kind == stat.S_IFDIR else 0o644)
        return Found(known.id, Attributes(known.identity[1], 0, 0, 0, 0, 0, mode, 1, 0, 0, 0))

    def _at(self, directory: int, host: bytes) -> ntformats.Status | None:
        try:
            parent = self.tree.directory(self.tree.node(directory))
            handle = nt_windows.open_file(parent, ntformats.to_text(host), 0)
        except OSError:
            return None
        try:
            return nt_windows.status(handle)
        except OSError:
            return None
        finally:
            nt_windows.close(handle)

    def identify(self, directory: int, host: bytes) -> Identity | None:
        """What is at the host's name `host` in a node; None for nothing."""
        status = self._at(directory, host)
        return tree_windows.identity(status, host) if status is not None else None

    def kind(self, directory: int, host: bytes) -> int:
        """S_IFMT of the host's name `host` in a node; 0 if it is not there."""
        status = self._at(directory, host)
        return status.kind if status is not None else 0

    def look(self, directory: int) -> dict[bytes, Seen]:
        """What there is in a node, by the host's names."""
        there: dict[bytes, Seen] = {}
        with contextlib.suppress(OSError):
            with self.tree.opened(self.tree.node(directory), nt_windows.LIST) as handle:
                entries = nt_windows.entries(handle)
            for entry in entries:
                there[entry.name] = Seen(entry.kind, (0, entry.identity), entry.changed_ns)
        return there

    # Names

    def create(self, caller: Caller, parent: int, name: bytes, mode: int, flags: int) -> Found:
        """CREATE. The new file stays open: what is made is mostly written next."""
        known = self.tree.node(parent)
        host = to_host(name)
        access = tree_windows.WRITE | self._store_access
        try:
            handle = self._make(known, host, access, nt_windows.NON_DIRECTORY_FILE, mode)
        except FileExistsError:
            if flags & O_EXCL:
                raise
            return self._opened(known, name, flags)
        try:
            self._store(caller, handle, stat.S_IFREG | stat.S_IMODE(mode))
            look = self.tree.look_at(handle)
            node = self.tree.made(known, host, look)
        except BaseException:
            nt_windows.close(handle)
            raise
        self.tree.keep_open(node, handle, access)
        self.own(known, host, _MADE)
        return self._told(node, look)

    def _store(self, caller: Caller, handle: int, mode: int, rdev: int = 0) -> bool:
        """Store whose a new file is; False where nothing can be stored."""
        if not self._metadata:
            return False
        return stored_windows.write(handle, store_new(mode, 0, caller.uid, caller.gid, rdev))

    def _make(self, parent: Node, host: bytes, access: int, options: int, mode: int) -> int:
        attributes = ntformats.NORMAL
        # With metadata the mode is in the attribute, and changing that takes a writable file.
        if (
            not mode & _WRITE_BITS
            and not self._metadata
            and options & nt_windows.NON_DIRECTORY_FILE
        ):
            attributes = ntformats.READ_ONLY
        return nt_windows.open_file(
            self.tree.directory(parent),
            ntformats.to_text(host),
            access,
            disposition=nt_windows.CREATE,
            options=options | nt_windows.OPEN_REPARSE_POINT,
            attributes=attributes,
        )

    def _opened(self, parent: Node, name: bytes, flags: int) -> Found:
        """CREATE of what the host has made since the kernel looked, maybe in other letters."""
        found = self._found_as(parent, name)
        if flags & O_TRUNC:
            known = self.tree.node(found.node)
            nt_windows.set_size(self.tree.file(known, write=True), 0)
            self.own(known.parent, known.name, CHANGED)
            return self.getattr(found.node)._replace(name_kept=found.name_kept)
        return found

    def mkdir(self, caller: Caller, parent: int, name: bytes, mode: int) -> Found:
        """MKDIR."""
        known = self.tree.node(parent)
        host = to_host(name)
        is_strict = self.options.case is not Case.OFF
        access = nt_windows.LIST | (nt_windows.WRITE_ATTRIBUTES if is_strict else 0)
        access |= self._store_access
        handle = self._make(known, host, access, nt_windows.DIRECTORY_FILE, mode)
        try:
            self._store(caller, handle, stat.S_IFDIR | stat.S_IMODE(mode))
            if is_strict:
                with contextlib.suppress(OSError):  # where Windows has that only for WSL itself
                    nt_windows.set_case_sensitive(handle)
        finally:
            nt_windows.close(handle)
        self.own(known, host, _MADE)
        return self._found(known, host)

    def mknod(self, caller: Caller, parent: int, name: bytes, mode: int, rdev: int) -> Found:
        """MKNOD. What is no regular file is one with metadata that says so; EPERM without."""
        kind = stat.S_IFMT(mode) or stat.S_IFREG
        if kind != stat.S_IFREG and not self._metadata:
            raise linux_error(linuxerrno.EPERM)
        known = self.tree.node(parent)
        host = to_host(name)
        access = _REMOVE | self._store_access
        handle = self._make(known, host, access, nt_windows.NON_DIRECTORY_FILE, mode)
        try:
            is_stored = self._store(caller, handle, kind | stat.S_IMODE(mode), rdev)
            if kind != stat.S_IFREG and not is_stored:
                nt_windows.remove(handle)
                raise linux_error(linuxerrno.EPERM)
        finally:
            nt_windows.close(handle)
        self.own(known, host, _MADE)
        return self._found(known, host)

    def symlink(self, caller: Caller, parent: int, name: bytes, target: bytes) -> Found:
        """SYMLINK: Windows' own where that can be, or WSL's; EPERM where there is no such thing."""
        known = self.tree.node(parent)
        host = to_host(name)
        if links_windows.make(self.tree, known, host, target):
            self.own(known, host, _MADE)
            return self._found(known, host)
        access = _REMOVE | nt_windows.WRITE_DATA
        handle = self._make(known, host, access, nt_windows.NON_DIRECTORY_FILE, _WRITE_BITS)
        try:
            nt_windows.set_reparse_point(handle, ntformats.lx_symlink(target))
        except OSError:
            nt_windows.remove(handle)
            raise linux_error(linuxerrno.EPERM) from None
        finally:
            nt_windows.close(handle)
        self.own(known, host, _MADE)
        return self._found(known, host)

    def readlink(self, node: int) -> bytes:
        """READLINK."""
        with self.tree.opened(self.tree.node(node), 0) as handle:
            link = ntformats.parse_link(nt_windows.reparse_point(handle))
        return ntformats.linux_target(link, self.options.symlinkroot)

    def link(self, node: int, newparent: int, newname: bytes) -> Found:
        """LINK."""
        known, parent = self.tree.node(node), self.tree.node(newparent)
        host = to_host(newname)
        with self.tree.opened(known, nt_windows.WRITE_ATTRIBUTES) as handle:
            nt_windows.link(handle, self.tree.directory(parent), host)
        self.own(parent, host, _MADE)
        self.own(known.parent, known.name, CHANGED)
        return self._found(parent, host)

    def _remove(self, parent: int, name: bytes, *, directory: bool) -> None:
        known = self.tree.node(parent)
        host = self._existing(known, name)
        node = known.children.get(host)
        fresh = False
        if node is None:
            self.tree.close_idle(None)  # it may be open by another of its names
        else:
            self.tree.let_go(node)
            if node.kind == stat.S_IFREG:
                with contextlib.suppress(PermissionError):  # nobody could have it open either
                    fresh = self.tree.hold(node)
        try:
            is_gone, links = self._remove_at(known, host, directory=directory)
        except OSError:
            if node is not None and fresh:
                self.tree.release(node)
            raise
        self.own(known, host, REMOVED)
        if node is not None:
            if is_gone:
                self.tree.gone(node)
            else:
                self.tree.release(node)
                if links <= 1 or directory:
                    self.tree.nodes.orphaned(node)
            self.tree.nodes.removed(known, host)

    def _remove_at(self, parent: Node, host: bytes, *, directory: bool) -> tuple[bool, int]:
        """Remove what is at a name.

        Returns whether that is gone at once (`nt_windows.remove`), and how many names it had.
        """
        handle = nt_windows.open_file(self.tree.directory(parent), ntformats.to_text(host), _REMOVE)
        try:
            status = nt_windows.status(handle)
            if (status.kind == stat.S_IFDIR) != directory:
                raise linux_error(linuxerrno.ENOTDIR if directory else linuxerrno.EISDIR)
            return nt_windows.remove(handle), status.links
        finally:
            nt_windows.close(handle)

    def unlink(self, parent: int, name: bytes) -> None:
        """UNLINK."""
        self._remove(parent, name, directory=False)

    def rmdir(self, parent: int, name: bytes) -> None:
        """RMDIR."""
        self._remove(parent, name, directory=True)

    def rename(self, parent: int, name: bytes, newparent: int, newname: bytes, flags: int) -> None:
        """RENAME, RENAME2. Two names cannot change places on Windows: EINVAL."""
        if flags & ~RENAME_NOREPLACE or flags & RENAME_EXCHANGE:
            raise linux_error(linuxerrno.EINVAL)
        known, newknown = self.tree.node(parent), self.tree.node(newparent)
        host = self._existing(known, name)
        try:
            newhost = self._existing(newknown, newname)
        except FileNotFoundError:
            newhost = to_host(newname)
        node = known.children.get(host)
        target = newknown.children.get(newhost)
        if target is node:
            target, newhost = None, to_host(newname)  # the same file in other letters
        fresh = False
        self.tree.close_idle(None)  # a directory cannot move while anything in it is open
        if target is not None and target.kind == stat.S_IFREG:
            with contextlib.suppress(PermissionError):
                fresh = self.tree.hold(target)
        can_replace = not flags & RENAME_NOREPLACE
        try:
            try:
                self._move(known, host, newknown, to_host(newname), can_replace)
            except PermissionError:
                if not fresh or target is None:
                    raise
                # This file system replaces nothing that is open, as what is held here is.
                self.tree.release(target)
                self._move(known, host, newknown, to_host(newname), can_replace)
        except OSError:
            if target is not None and fresh:
                self.tree.release(target)
            raise
        # Between two directories it is a removal and a creation for Windows.
        self.own(known, host, MOVED_FROM | REMOVED)
        self.own(newknown, to_host(newname), MOVED_TO | CREATED | REMOVED | CHANGED)
        if target is not None:
            self.tree.gone(target)
        self.tree.nodes.renamed(known, host, newknown, newhost)
        if self._watcher is not None and node is not None:
            self._watcher.moved(known, host, node)

    def _move(self, parent: Node, host: bytes, newparent: Node, newhost: bytes, free: bool) -> None:
        directory = self.tree.directory(parent)
        handle = nt_windows.open_file(directory, ntformats.to_text(host), _REMOVE)
        try:
            newdirectory = self.tree.directory(newparent)
            try:
                nt_windows.rename(handle, newdirectory, newhost, replace=free)
            except PermissionError:
                # Most file systems have no directory replaced, be it empty.
                if not free or nt_windows.status(handle).kind != stat.S_IFDIR:
                    raise
                self._remove_at(newparent, newhost, directory=True)
                nt_windows.rename(handle, newdirectory, newhost, replace=False)
        finally:
            nt_windows.close(handle)

    # Directories

    def readdir(self, node: int, offset: int, plus: bool, emit: Emit) -> None:
        """READDIR, READDIRPLUS."""
        known = self.tree.node(node)
        self.tree.watch(known)
        ino = known.identity[1]
        for position, name in ((1, b"."), (2, b"..")):
            if offset < position and not emit(name, ino, stat.S_IFDIR >> 12, position, None):
                return
        entries = self._listings.get(node) if offset else None
        if entries is None:
            with self.tree.opened(known, nt_windows.LIST) as handle:
                entries = listing.ordered(map(_entry, nt_windows.entries(handle)))
            self._listings.put(node, entries)
        for entry in entries[listing.after(entries, offset) :]:
            found = None
            if plus:
                try:
                    found = self._found(known, entry.host)
                except OSError:
                    continue  # it went since the listing was made, or cannot be looked at
            if not emit(entry.name, entry.ino, entry.kind, entry.offset, found):
                if found is not None:
                    self.tree.forget(found.node, 1)
                return


def _entry(entry: ntformats.DirectoryEntry) -> listing.Entry:
    name = to_linux(entry.name)
    offset = listing.offset_of(name)
    return listing.Entry(offset, entry.name, name, entry.identity, entry.kind >> 12)
