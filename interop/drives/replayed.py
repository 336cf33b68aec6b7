"""Answers to what the replayer's system calls ask, from what is on the disk already.

Nothing that it asks ever changes anything: what does not belong to the instruction that it says it
is at is an error, and then Linux watchers hear of one thing less.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from interop.drives import protocol
from interop.drives.backend import Backend, Found
from interop.drives.changes import CONTENT, CREATED, REMOVED
from interop.drives.constants import Opcode
from interop.drives.protocol import Header, RenameIn
from interop.drives.replay import MOVED, Instruction, Name, Replays

Reply = bytes
_Handler = Callable[[Header, Any], Reply]


class Replayed:
    """Stands in for the server's own handlers where the replayer asks.

    `settle` takes in what has been reported until now; `entry` and `attributes` encode what a
    look-up and a GETATTR find.
    """

    def __init__(
        self,
        replays: Replays,
        backend: Backend,
        settle: Callable[[], object],
        entry: Callable[[Found], Reply],
        attributes: Callable[[Found], Reply],
    ) -> None:
        self._replays = replays
        self._backend = backend
        self._settle = settle
        self._entry = entry
        self._attributes = attributes
        self._shown: Instruction | None = None
        """The instruction whose file, which is not at that name any more, was shown there."""
        self.handlers: dict[int, _Handler] = {
            Opcode.LOOKUP: self._lookup,
            Opcode.MKNOD: self._made,
            Opcode.MKDIR: self._made,
            Opcode.SYMLINK: self._made,
            Opcode.SETATTR: self._changed,
            Opcode.UNLINK: self._removed,
            Opcode.RMDIR: self._removed,
            Opcode.RENAME: self._renamed,
            Opcode.RENAME2: self._renamed,
            Opcode.CREATE: _refuse,
            Opcode.LINK: _refuse,
            Opcode.WRITE: _refuse,
            Opcode.FALLOCATE: _refuse,
            Opcode.COPY_FILE_RANGE: _refuse,
            Opcode.SETXATTR: _refuse,
            Opcode.REMOVEXATTR: _refuse,
        }

    def _at(self, kind: int) -> Instruction:
        current = self._replays.current
        if current is None or not current.kind & kind:
            raise _error(errno.EBUSY)
        return current

    def _lookup(self, header: Header, body: protocol.Name) -> Reply:
        current = self._replays.current
        if current is not None:
            target = current.target
            if target is not None and (header.nodeid, body.name) == (target[0], target[2]):
                raise _error(errno.ENOENT)  # it is about to come there
            if (header.nodeid, body.name) == (current.source[0], current.source[2]):
                if current.kind & CREATED:
                    raise _error(errno.ENOENT)
                if current.kind & (REMOVED | MOVED):
                    return self._entry(self._gone(current))
        return self._entry(self._backend.lookup(header.nodeid, body.name))

    def _gone(self, current: Instruction) -> Found:
        """What was at a name until the host took it away."""
        target = current.target
        if target is not None:
            found = self._elsewhere(target)
        else:
            found = self._backend.ghost(current.file, current.mode)
        self._shown = current
        return found._replace(name_kept=False, attributes_kept=False)

    def _made(self, header: Header, body: Any) -> Reply:
        current = self._at(CREATED)
        if (header.nodeid, body.name) != (current.source[0], current.source[2]):
            raise _error(errno.EBUSY)
        return self._entry(self._elsewhere(current.source))

    def _elsewhere(self, name: Name) -> Found:
        """What the guest is to find at `name`, which may have gone on from there."""
        try:
            now = self._replays.now(name)
            found = self._backend.lookup(now.directory, now.linux)
        except FileNotFoundError:
            self._settle()
            now = self._replays.now(name)
            found = self._backend.lookup(now.directory, now.linux)
        return found if now == name else found._replace(name_kept=False, attributes_kept=False)

    def _changed(self, header: Header, body: object) -> Reply:
        self._at(CONTENT)
        return self._attributes(self._backend.getattr(header.nodeid))

    def _removed(self, header: Header, body: protocol.Name) -> Reply:
        current = self._at(REMOVED)
        if (header.nodeid, body.name) != (current.source[0], current.source[2]):
            raise _error(errno.EBUSY)
        if self._shown is not current and self._is_there(header.nodeid, body.name):
            raise _error(errno.EBUSY)  # another file by now, which the kernel knows
        return b""

    def _is_there(self, directory: int, name: bytes) -> bool:
        try:
            found = self._backend.lookup(directory, name)
        except OSError:
            return False
        self._backend.forget(found.node, 1)
        return True

    def _renamed(self, header: Header, body: RenameIn) -> Reply:
        current = self._at(MOVED)
        asked = (header.nodeid, body.name, body.newdir, body.newname)
        target = current.target
        if target is None:
            raise _error(errno.EBUSY)
        if self._shown is not current and self._is_there(header.nodeid, body.name):
            raise _error(errno.EBUSY)  # another file by now, which the kernel knows
        if asked != (current.source[0], current.source[2], target[0], target[2]):
            raise _error(errno.EBUSY)
        return b""


def _refuse(header: Header, body: object) -> Reply:
    raise _error(errno.EBUSY)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
