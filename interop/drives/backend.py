"""What a host's file system has to do for the server: one method per FUSE request.

Nodes are numbers; names are Linux' (bytes, already checked to be one name). Every method raises
OSError with Linux' errno for what fails, ESTALE for a node that is not known or not there any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from interop.drives.protocol import SetattrIn
from interop.drives.replies import Attributes, FileSystem


class Caller(NamedTuple):
    """Who asks, as the guest's kernel says: what he makes is his."""

    uid: int
    gid: int


class Found(NamedTuple):
    """A node that the kernel is told of once more, and what it is.

    `name_kept` is whether it will be told when the name means another file, `attributes_kept`
    whether when they change: what it may remember for long.
    """

    node: int
    attributes: Attributes
    name_kept: bool = False
    attributes_kept: bool = False


class Seen(NamedTuple):
    """What is at a name: its S_IFMT, its identity, when it was changed in any way."""

    kind: int
    identity: tuple[int, int]
    changed_ns: int


Emit = Callable[[bytes, int, int, int, "Found | None"], bool]
"""(name, inode number, S_IFMT >> 12, offset of the next, what it is) -> whether there was room."""


class Backend(Protocol):
    """A drive on a host; used by one thread."""

    def close(self) -> None:
        """Close everything it holds."""

    def trim(self) -> None:
        """A request is over: what it had in hand may go."""

    def forget(self, node: int, lookups: int) -> None:
        """FORGET."""

    def lookup(self, parent: int, name: bytes) -> Found:
        """LOOKUP."""

    def ghost(self, node: int, kind: int) -> Found:
        """What is not there any more: `node`, where the kernel knows it, or one that never was.

        `kind` is its S_IFMT.
        """

    def identify(self, directory: int, host: bytes) -> tuple[int, int] | None:
        """What is at the host's name `host` in a node; None for nothing. Raises nothing."""

    def kind(self, directory: int, host: bytes) -> int:
        """S_IFMT of the host's name `host` in a node; 0 if it is not there. Raises nothing."""

    def look(self, directory: int) -> dict[bytes, Seen]:
        """What there is in a node, by the host's names. Raises nothing."""

    def absence_kept(self, parent: int, name: bytes) -> bool:
        """Whether the kernel will be told when there is a `name` that lookup() did not find."""

    def getattr(self, node: int) -> Found:
        """GETATTR; nothing is counted as told once more."""

    def setattr(self, node: int, change: SetattrIn) -> Found:
        """SETATTR; nothing is counted as told once more."""

    def readlink(self, node: int) -> bytes:
        """READLINK."""

    def symlink(self, caller: Caller, parent: int, name: bytes, target: bytes) -> Found:
        """SYMLINK."""

    def mknod(self, caller: Caller, parent: int, name: bytes, mode: int, rdev: int) -> Found:
        """MKNOD; `mode` with the umask taken off."""

    def mkdir(self, caller: Caller, parent: int, name: bytes, mode: int) -> Found:
        """MKDIR; `mode` with the umask taken off."""

    def create(self, caller: Caller, parent: int, name: bytes, mode: int, flags: int) -> Found:
        """CREATE; `mode` with the umask taken off, `flags` as open(2)."""

    def unlink(self, parent: int, name: bytes) -> None:
        """UNLINK."""

    def rmdir(self, parent: int, name: bytes) -> None:
        """RMDIR."""

    def rename(self, parent: int, name: bytes, newparent: int, newname: bytes, flags: int) -> None:
        """RENAME, RENAME2."""

    def link(self, node: int, newparent: int, newname: bytes) -> Found:
        """LINK."""

    def read(self, node: int, offset: int, size: int) -> memoryview:
        """READ; the view is good until the next call."""

    def read_into(self, node: int, offset: int, room: memoryview) -> int:
        """READ of as much as there is room for; returns how many bytes there were."""

    def write(self, node: int, offset: int, data: memoryview, kill_set_ids: bool) -> int:
        """WRITE; all of `data`, or an error."""

    def close_written(self, before: float) -> float | None:
        """Close what was written to last before that moment of time.monotonic().

        Returns when what is still open was written to first; None if nothing is.
        """

    @property
    def flush(self) -> Callable[[int], None] | None:
        """FLUSH: a program has closed the file, and nothing of it may be in the way of others.

        None where that is no matter; then the kernel does not ask.
        """

    def readdir(self, node: int, offset: int, plus: bool, emit: Emit) -> None:
        """READDIR, READDIRPLUS: emit entries from `offset` on until there is no room."""

    def statfs(self) -> FileSystem:
        """STATFS."""

    def fsync(self, node: int, data_only: bool) -> None:
        """FSYNC, FSYNCDIR: returns when it is on the disk."""

    def fallocate(self, node: int, mode: int, offset: int, length: int) -> None:
        """FALLOCATE."""

    def lseek(self, node: int, offset: int, whence: int) -> int:
        """LSEEK."""

    def copy(self, source: int, offset: int, target: int, target_offset: int, length: int) -> int:
        """COPY_FILE_RANGE."""

    def getxattr(self, node: int, name: bytes) -> bytes:
        """GETXATTR."""

    def setxattr(self, node: int, name: bytes, value: bytes, flags: int) -> None:
        """SETXATTR."""

    def listxattr(self, node: int) -> bytes:
        """LISTXATTR: names, each with a NUL after it."""

    def removexattr(self, node: int, name: bytes) -> None:
        """REMOVEXATTR."""
