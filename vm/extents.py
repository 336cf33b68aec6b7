"""Which pages of a guest's memory a snapshot holds. Pure.

Apart from `vm.snapshot`, for the memory is copied before the rest is known (`vm.ahead_posix`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from vm.errors import SnapshotUnusable

STATE = "state"
MEMORY = "memory"
EXTENTS = "extents"

PAGE_BYTES = 4096

Extent = tuple[int, int]
"""Offset in the guest's memory, and length; both in bytes, whole pages."""


def parse_extents(text: bytes, size_bytes: int) -> Sequence[Extent]:
    """Extents from their JSON: whole pages, in order, within memory. Raises SnapshotUnusable."""
    try:
        extents = [(int(offset), int(length)) for offset, length in json.loads(text)]
    except (ValueError, TypeError, RecursionError) as error:
        raise SnapshotUnusable(f"its extents cannot be read: {error}") from None
    end = 0
    for offset, length in extents:
        if offset < end or length <= 0 or offset % PAGE_BYTES or length % PAGE_BYTES:
            raise SnapshotUnusable(f"there is no extent {offset}+{length}")
        end = offset + length
    if end > size_bytes:
        raise SnapshotUnusable("its memory is larger than the machine's")
    return extents
