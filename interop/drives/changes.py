"""What happens in a directory on the host, as a watcher reports it. Pure.

Kinds are bits, plain integers since they are counted by the thousand: what happened to a name, or,
where the name is empty, to the directory itself.
"""

from __future__ import annotations

from typing import NamedTuple

MODIFIED = 1 << 0
"""Its content changed."""

ATTRIBUTES = 1 << 1
"""Its times, permissions, owners or extended attributes changed."""

WRITTEN = 1 << 2
"""One who had it open for writing has closed it."""

MOVED_FROM = 1 << 3
"""It went elsewhere; MOVED_TO with the same cookie says where, if that is watched."""

MOVED_TO = 1 << 4
"""It came from elsewhere."""

CREATED = 1 << 5
"""It is new, as a file or as one more name of a file."""

REMOVED = 1 << 6
"""It is gone."""

UNWATCHED = 1 << 7
"""The directory is not watched any more: it is gone, or its file system is."""

CONTENT = MODIFIED | ATTRIBUTES | WRITTEN
"""The name still means the same file."""


class Change(NamedTuple):
    """One thing that happened: in the directory whose node is `directory`, to the host's `name`.

    `cookie` is 0 but for the two halves of a move. `is_own` is whether the server has most likely
    done it itself, where only the watcher can tell.
    """

    directory: int
    name: bytes
    kind: int
    is_directory: bool = False
    cookie: int = 0
    is_own: bool = False


class Report(NamedTuple):
    """What a watcher has to say: changes in order; `lost` if there were more than it could keep.

    `over` is whether it will never report anything again.
    """

    changes: list[Change]
    lost: bool = False
    over: bool = False
