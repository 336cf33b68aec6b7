"""From what happened on the host to what is to be replayed in the guest."""

from __future__ import annotations

import stat
from collections import OrderedDict
from collections.abc import Callable

from interop.drives.backend import Backend
from interop.drives.changes import CONTENT, CREATED, MODIFIED, REMOVED, WRITTEN, Change
from interop.drives.coherence import Foreign, Moved
from interop.drives.names import to_linux
from interop.drives.nodes import Node
from interop.drives.replay import MOST_WAITING, MOVED, Instruction, Name, Place, Replays
from interop.drives.watches import Watches

_CALM_S = 0.5
"""A storm is over when nothing has happened for so long."""

_SLACK_S = 1.0
"""How long before it was heard of something may have happened, by the file system's clock."""


class Recorder:
    """Puts what happened into `replays`. To be told of each change before the node table is.
    look() is called whenever all that was reported has been recorded, which `settle` does.

    Times are in seconds since 1970. In a storm only what was removed is kept; when it is over the
    watched directories are looked at, a few at a time, for what has changed since it began.

    `is_late`: what is reported may be of before what the guest has found or made at that name.
    """

    def __init__(
        self,
        replays: Replays,
        watches: Watches,
        backend: Backend,
        settle: Callable[[], object],
        *,
        is_late: bool = False,
    ) -> None:
        self._is_late = is_late
        self._replays = replays
        self._watches = watches
        self._backend = backend
        self._settle = settle
        self._since = 0.0
        self._last = 0.0
        self._looked = 0.0
        self._is_storm = False
        self._removed: OrderedDict[tuple[int, bytes], Instruction] = OrderedDict()
        self._to_look_at: list[Node] = []

    def record(self, change: Foreign, now: float) -> None:
        """Something foreign happened, before `now`."""
        if not len(self._replays) and not self._is_storm:
            self._since = now
        self._last = now
        if isinstance(change, Moved):
            self._move(change.source, change.target)
        elif change.name:
            self._one(change)

    def lost(self, now: float) -> None:
        """Things happened that nobody has told, since the last time that anything was recorded."""
        if not self._is_storm and not len(self._replays):
            self._since = self._looked
        self._last = now
        self._is_storm = True

    def nobody_watches(self) -> None:
        """Nothing that was recorded matters to anybody."""
        self._is_storm = False
        self._removed.clear()
        self._to_look_at.clear()

    def _add(self, instruction: Instruction) -> None:
        if not self._is_storm and self._replays.add(instruction):
            return
        self._is_storm = True
        source = instruction.source
        if instruction.kind & (REMOVED | MOVED) and len(self._removed) < MOST_WAITING:
            self._removed[source[:2]] = Instruction(
                REMOVED, instruction.mode, source, file=instruction.file, ino=instruction.ino
            )

    def _one(self, change: Change) -> None:
        name = Name(change.directory, change.name, to_linux(change.name))
        directory = self._watches.nodes.get(change.directory)
        if directory is None:
            return
        known = directory.children.get(change.name)
        file, ino = (known.id, known.identity[1]) if known is not None else (0, 0)
        mode = stat.S_IFDIR if change.is_directory else stat.S_IFREG
        if change.kind & REMOVED:
            if self._is_found(change, known):
                return  # the guest has made another since, and Linux heard of that
            mode = known.kind if known is not None else mode
            self._add(Instruction(REMOVED, mode, name, file=file, ino=ino))
        elif change.kind & CREATED:
            if known is not None and not self._is_found(change, known):  # this is in its place
                self._add(Instruction(REMOVED, known.kind, name, file=file, ino=ino))
            self._add(Instruction(CREATED, mode, name))
        elif change.kind & CONTENT:
            self._add(Instruction(change.kind & CONTENT, mode, name, file=file, ino=ino))

    def _is_found(self, change: Change, known: Node | None) -> bool:
        """Whether the guest knows what is there now, which was reported after it had looked."""
        if not self._is_late or known is None:
            return False
        return self._backend.identify(change.directory, change.name) == known.identity

    def _move(self, source: Change, target: Change) -> None:
        directory = self._watches.nodes.get(source.directory)
        known = directory.children.get(source.name) if directory is not None else None
        mode = stat.S_IFDIR if source.is_directory else stat.S_IFREG
        self._add(
            Instruction(
                MOVED,
                known.kind if known is not None else mode,
                Name(source.directory, source.name, to_linux(source.name)),
                Name(target.directory, target.name, to_linux(target.name)),
                file=known.id if known is not None else 0,
                ino=known.identity[1] if known is not None else 0,
            )
        )

    def look(self, now: float) -> float | None:
        """After a storm: look at one directory. In how many seconds to do so again; None: never."""
        self._looked = now
        if not self._is_storm and not self._to_look_at:
            return None
        if self._is_storm:
            calm_s = self._last + _CALM_S - now
            if calm_s > 0:
                return calm_s
            self._is_storm = False
            self._to_look_at = self._watches.watched()
            for instruction in self._removed.values():
                if not self.kind(instruction.source):
                    self._add(instruction)
            self._removed.clear()
        if len(self._replays) < MOST_WAITING // 2 and self._to_look_at:
            self._look_at(self._to_look_at.pop())
        return 0.0 if self._to_look_at else None

    def _look_at(self, node: Node) -> None:
        if not node.watched:
            return
        since_ns = round((self._since - _SLACK_S) * 1e9)
        there = self._backend.look(node.id)
        for host, child in list(node.children.items()):
            if host not in there:
                name = Name(node.id, host, to_linux(host))
                ino = child.identity[1]
                self._add(Instruction(REMOVED, child.kind, name, file=child.id, ino=ino))
        for host, (kind, identity, changed_ns) in there.items():
            if changed_ns < since_ns:
                continue
            known = node.children.get(host)
            is_known = known is not None and known.identity == identity
            content = MODIFIED | WRITTEN if kind == stat.S_IFREG else 0
            what = (0 if is_known else CREATED) | content
            if what:
                name = Name(node.id, host, to_linux(host))
                self._add(Instruction(what, kind, name, ino=identity[1]))

    def kind(self, name: Name) -> int:
        """S_IFMT of what is there; 0 if nothing is."""
        return self._backend.kind(name.directory, name.host)

    def settle(self) -> None:
        """Take in what has been reported until now."""
        self._settle()

    def place(self, directory: int) -> Place | None:
        """Where the directory of that node is now."""
        nodes = self._watches.nodes
        node = nodes.get(directory)
        if node is None:
            return None
        ino = node.identity[1]
        names: list[bytes] = []
        while node is not nodes.root:
            if node.parent is None:
                return None
            names.append(to_linux(node.name))
            node = node.parent
        return Place(ino, b"/".join(reversed(names)) or b".")
