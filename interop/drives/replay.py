"""What Linux watchers are to hear of what the host did: queued, bounded, put in messages. Pure.

inotify(7) reports what goes through the kernel that it runs in. So each thing that the host did is
done once more in the guest, as a system call on the mount, by a replayer beside the pump
(guest/native/replay.c), and the server answers what that call asks without doing anything
(interop.drives.replayed).

Only names count, not how often: what happens to a name while it waits is put together, as inotify
itself does. A file that came and went while it waited is left out.
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import NamedTuple, Protocol

from interop.drives.changes import CONTENT, CREATED, REMOVED

CODE = 0x1000
"""The notification that a batch is, and the opcode of what the replayer says: none of FUSE's."""

MOST_WAITING = 1 << 16
"""Instructions that wait; what comes beyond is found by looking, once the storm is over."""

MOST_AT_ONCE = 256
_MOST_BYTES = 48 << 10
_MOST_MOVES = 32
"""How often one file can have moved while it waited, and still be found."""

MOVED = 1 << 8
"""Of Instruction.kind: from one name to another."""

_HEADER = Struct("<IiQ")
_BATCH = Struct("<II")
_INSTRUCTION = Struct("<IIIIQQQ")
_SAID = Struct("<III4x")


class Name(NamedTuple):
    """One name in a directory, which is a node: the host's name, and Linux'."""

    directory: int
    host: bytes
    linux: bytes


class Place(NamedTuple):
    """Where a directory is now: its inode number, its path from the drive's root."""

    ino: int
    path: bytes


class Locator(Protocol):
    """Knows how things are now, when instructions are sent: while they waited things moved."""

    def place(self, directory: int) -> Place | None:
        """Where the directory of that node is; None if it is gone."""

    def kind(self, name: Name) -> int:
        """S_IFMT of what is there; 0 if nothing is."""

    def settle(self) -> None:
        """Take in what has been reported until now: it may say where something went."""


class Instruction:
    """One thing to do once more. `kind` is of interop.drives.changes, or MOVED to `target`.

    CREATED may have what then happened to the content with it. `file` is the node that was there,
    or 0; `ino` its inode number; `mode` is its S_IFMT, which of what is CREATED is found out late.
    """

    __slots__ = ("file", "ino", "kind", "mode", "source", "target")

    def __init__(
        self,
        kind: int,
        mode: int,
        source: Name,
        target: Name | None = None,
        *,
        file: int = 0,
        ino: int = 0,
    ) -> None:
        self.kind = kind
        self.mode = mode
        self.source = source
        self.target = target
        self.file = file
        self.ino = ino

    def encode(self, locator: Locator) -> bytes | None:
        """As guest/native/replay.h has it; None where a directory of it is gone."""
        source = locator.place(self.source.directory)
        if source is None:
            return None
        strings = [source.path, self.source.linux]
        target_ino = 0
        if self.target is not None:
            target = locator.place(self.target.directory)
            if target is None:
                return None
            strings += [target.path, self.target.linux]
            target_ino = target.ino
        tail = b"\0".join(strings) + b"\0"
        size = _INSTRUCTION.size + len(tail)
        return (
            _INSTRUCTION.pack(
                size, self.kind, self.mode, len(strings), source.ino, target_ino, self.ino
            )
            + tail
        )


class Said(NamedTuple):
    """The replayer is about to do instruction `position` of `batch`, or, at its end, is done.

    At the end `watchers` is how many watches it has found on the mount.
    """

    batch: int
    position: int
    watchers: int


def decode_said(body: memoryview) -> Said | None:
    """What the replayer says; None if it is nothing."""
    if len(body) != _SAID.size:
        return None
    return Said._make(_SAID.unpack(body))


class Batch:
    """Instructions that are with the replayer; `current` is the one that it is at.

    `encoded` are the same, in the same order.
    """

    def __init__(self, number: int, instructions: list[Instruction], encoded: list[bytes]) -> None:
        self.number = number
        self.instructions = instructions
        self.current: Instruction | None = None
        body = b"".join(encoded)
        head = _HEADER.pack(_HEADER.size + _BATCH.size + len(body), CODE, 0)
        self.message = head + _BATCH.pack(number, len(instructions)) + body


class Replays:
    """What waits to be replayed. One batch at a time is with the replayer."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self.batch: Batch | None = None
        self._most = most
        self._waiting: deque[Instruction] = deque()
        self._last: dict[tuple[int, bytes], Instruction] = {}
        self._moves: dict[tuple[int, bytes], Name] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, instruction: Instruction) -> bool:
        """Have it replayed behind what waits; False, and nothing waits, where that is too much."""
        key = instruction.source[:2]
        last = self._last.get(key)
        if instruction.kind & MOVED:
            assert instruction.target is not None
            self._last.pop(key, None)
            self._last.pop(instruction.target[:2], None)
            self._moves[key] = instruction.target
            self._moves.pop(instruction.target[:2], None)
            return self._put(instruction)
        if last is not None and last.kind & (CONTENT | CREATED):
            if instruction.kind & CONTENT:
                last.kind |= instruction.kind
                return True
            if instruction.kind == REMOVED:
                was_new = last.kind & CREATED
                last.kind = 0  # it is not there to be changed any more
                del self._last[key]
                if was_new:
                    return True
        self._last[key] = instruction
        return self._put(instruction)

    def _put(self, instruction: Instruction) -> bool:
        if len(self._waiting) >= self._most:
            self.clear()
            return False
        self._waiting.append(instruction)
        return True

    def clear(self) -> None:
        """Nobody watches, or it is too much: let all that waits go."""
        self._waiting.clear()
        self._last.clear()
        self._moves.clear()

    def now(self, name: Name) -> Name:
        """Where on the host what is about to be at `name` in the guest is by now."""
        for _ in range(_MOST_MOVES):
            further = self._moves.get(name[:2])
            if further is None:
                break
            name = further
        return name

    def next(self, locator: Locator) -> Batch | None:
        """What the replayer gets now; None if it is busy, or there is nothing."""
        if self.batch is not None:
            return None
        chosen: list[Instruction] = []
        encoded: list[bytes] = []
        room = _MOST_BYTES
        while self._waiting and len(chosen) < MOST_AT_ONCE and room > 0:
            instruction = self._waiting.popleft()
            key = instruction.source[:2]
            if self._last.get(key) is instruction:
                del self._last[key]
            if instruction.kind & CREATED:
                instruction.mode = locator.kind(self.now(instruction.source))
                if not instruction.mode:
                    locator.settle()
                    instruction.mode = locator.kind(self.now(instruction.source))
                if not instruction.mode:
                    continue  # it was there for a moment
            code = instruction.encode(locator) if instruction.kind else None
            if code is not None:
                chosen.append(instruction)
                encoded.append(code)
                room -= len(code)
        if not chosen:
            self._moves.clear()
            return None
        self._number += 1
        self.batch = Batch(self._number, chosen, encoded)
        return self.batch

    def said(self, said: Said) -> bool:
        """The replayer says where it is; whether it is done with its batch."""
        batch = self.batch
        if batch is None or batch.number != said.batch:
            return False
        if said.position < len(batch.instructions):
            batch.current = batch.instructions[said.position]
            return False
        self.batch = None
        if not said.watchers:
            self.clear()
        if not self._waiting:
            self._moves.clear()
        return True

    @property
    def current(self) -> Instruction | None:
        """What the replayer is doing now."""
        return self.batch.current if self.batch is not None else None
