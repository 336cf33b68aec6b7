"""Answers that the guest has before it asks: small files' contents, ends of listings, attributes.

Each small file that a program reads would cost a round trip through the machine. Who reads two
files of a directory mostly reads the rest: so their contents go along with the answer, and the
pump (guest/native/pump_ahead.h, whose messages these are) answers from them. How many go is by
how many of those before were used. Attributes go with them since the kernel, which does not keep
times of access, asks for them anew after each read and listing. docs/drives.md §10 says why none of
it is ever out of date.
"""

from __future__ import annotations

import stat
import time
from collections import OrderedDict
from collections.abc import Callable
from struct import Struct

from interop.drives.backend import Backend, Found
from interop.drives.constants import Opcode
from interop.drives.nodes import Node, NodeTable

CODE = 0x1001
"""Of the notification, and the opcode of what the pump says: the kernel has neither."""

_HEADER = Struct("<IiQ")
_ENTRY = Struct("<QQII")
_USED = Struct("<II")

_LARGEST = 32 << 10
"""Bytes of a file that goes along; what is larger is read in as many round trips as before."""

_ROOM, _ROOM_TRUSTED = 64 << 10, 256 << 10
"""Bytes of files in one message; the pump keeps up to 4 MiB, the oldest going first."""

_PATIENCE_S = 0.02
"""How long an answer that was asked for may wait for those that were not: the host's disk may be a
slow one."""

_DIRECTORIES = 64
"""Directories whose state is kept, those read from least recently going first."""

_JUDGED, _FORGOTTEN = 32, 256
"""How many files have to have been sent before their use says anything, and at how many what was
before counts half."""


def entry(node: int, offset: int, opcode: Opcode, data: bytes = b"") -> bytes:
    """One answer, as `opcode` is answered; READDIR: the directory ends at `offset`."""
    return _ENTRY.pack(node, offset, opcode, len(data)) + data + bytes(-len(data) % 8)


class _Progress:
    """What was read of a directory, and what is left to send of it: `files`, once any were."""

    __slots__ = ("files", "read")

    def __init__(self) -> None:
        self.read: set[int] = set()
        self.files: list[Node] | None = None

    def rest(self, directory: Node, first: Node | None) -> list[Node]:
        """The files that were not considered yet, the next one last; `first` is where to begin."""
        if self.files is None:
            files = [node for node in directory.children.values() if node.kind == stat.S_IFREG]
            at = files.index(first) if first in files else 0
            self.files = (files[at:] + files[:at])[::-1]
        return self.files


class Ahead:
    """Decides what to send with the answers to a mount's READ and READDIR.

    `is_told` says whether changes on the host are reported now; only of what is in a directory
    that is watched, and whose attributes the kernel keeps, anything is ever sent. `attributes`
    makes the answer to GETATTR.
    """

    def __init__(
        self,
        nodes: NodeTable,
        backend: Backend,
        is_told: Callable[[], bool],
        attributes: Callable[[Found], bytes],
    ) -> None:
        self._nodes = nodes
        self._backend = backend
        self._attributes = attributes
        self._is_told = is_told
        self._directories: OrderedDict[int, _Progress] = OrderedDict()
        self._entries: list[bytes] = []
        self._sent = 0
        self._used = 0

    def used(self, body: memoryview) -> None:
        """The pump says how many requests it has answered since it last said so."""
        if len(body) >= _USED.size:
            self._used += _USED.unpack_from(body)[0]

    def take(self) -> bytes:
        """The message to send before the next answer; b"" if there is none."""
        if not self._entries:
            return b""
        payload = b"".join(self._entries)
        self._entries.clear()
        return _HEADER.pack(_HEADER.size + len(payload), CODE, 0) + payload

    def listed(self, number: int, end: int) -> None:
        """A directory is about to be listed up to its `end`, beyond which there is nothing."""
        node = self._nodes.get(number)
        if node is None or not node.watched or not self._is_told():
            return
        self._entries.append(entry(number, end, Opcode.READDIR))
        self._send_attributes(node)
        if self._is_trusted():
            self._send(self._progress(node), node, None)

    def read(self, number: int, offset: int) -> None:
        """A file is about to be read from `offset` on."""
        node = self._nodes.get(number)
        if offset or node is None or node.parent is None or not self._is_told():
            return
        directory = node.parent
        if not directory.watched:
            return
        progress = self._progress(directory)
        self._send_attributes(node)
        is_first = not progress.read
        progress.read.add(number)
        if self._is_trusted() or not is_first:
            self._send(progress, directory, node)

    def _progress(self, directory: Node) -> _Progress:
        progress = self._directories.get(directory.id)
        if progress is None:
            progress = self._directories[directory.id] = _Progress()
            if len(self._directories) > _DIRECTORIES:
                self._directories.popitem(last=False)
        else:
            self._directories.move_to_end(directory.id)
        return progress

    def _is_trusted(self) -> bool:
        """Whether what is sent is mostly used: then it goes along with a listing already."""
        if self._sent >= _FORGOTTEN:
            self._sent //= 2
            self._used //= 2
        # Some of it is still to be used, by who went into the directories between the files.
        return self._sent >= _JUDGED and 4 * self._used >= self._sent

    def _send(self, progress: _Progress, directory: Node, first: Node | None) -> None:
        room = _ROOM_TRUSTED if self._is_trusted() else _ROOM
        files = progress.rest(directory, first)
        deadline = time.monotonic() + _PATIENCE_S
        while files and room > 0 and time.monotonic() < deadline:
            node = files.pop()
            if node.id in progress.read or node.parent is not directory:
                continue
            data = self._content(node)
            if data:
                room -= len(data)
                self._sent += 1
                self._entries.append(entry(node.id, 0, Opcode.READ, data))

    def _content(self, node: Node) -> bytes:
        """All that is in a small file; b"" for what is none, or cannot be told of for long."""
        found = self._send_attributes(node)
        size = found.attributes.size if found is not None else 0
        if not 0 < size <= _LARGEST:
            return b""
        try:
            data = bytes(self._backend.read(node.id, 0, size + 1))
        except OSError:
            return b""
        return data if len(data) == size else b""

    def _send_attributes(self, node: Node) -> Found | None:
        """What `node` is like, which is sent too; None where changes of it are not told."""
        try:
            found = self._backend.getattr(node.id)
        except OSError:
            return None
        if not found.attributes_kept:
            return None
        self._entries.append(entry(node.id, 0, Opcode.GETATTR, self._attributes(found)))
        return found
