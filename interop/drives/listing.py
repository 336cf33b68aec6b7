"""A directory's entries in an order that does not change when other entries come and go. Pure.

An entry's offset is a hash of its name (keyed, as Python's own of bytes is), and they are listed
in its order. So a listing that goes on at an offset misses nothing that was there all the time
and repeats nothing, with no state kept for it, and however many listings of one directory are
under way: with zero-message opens the server cannot tell them apart.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from operator import itemgetter
from typing import NamedTuple

_BITS = (1 << 62) - 1
_FIRST = 3
"""Offsets below it: 0 is the start, 1 and 2 are behind "." and "..". """


class Entry(NamedTuple):
    """One name: where a listing goes on behind it, on the host, in Linux, what it is."""

    offset: int
    host: bytes
    name: bytes
    ino: int
    kind: int


def offset_of(name: bytes) -> int:
    """Where a listing goes on after `name`: from 3 up, and within a signed 64-bit integer."""
    return (hash(name) & _BITS) + _FIRST


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """`entries` in the order of their offsets."""
    return sorted(entries, key=itemgetter(0))


def after(entries: list[Entry], offset: int) -> int:
    """The index in `entries` of the first one behind `offset`."""
    return bisect_right(entries, offset, key=itemgetter(0))
