"""Debian version numbers and how they compare (Debian Policy §5.6.12). Pure."""

from __future__ import annotations

import re
from functools import total_ordering
from itertools import zip_longest

_RUNS = re.compile(r"(\D*)(\d*)")

_Run = tuple[list[int], int]
_NOTHING: _Run = ([0], 0)
"""What a missing run compares as: the end of a text, and the number zero."""


def _rank(character: str) -> int:
    """Where a character of a text run sorts: `~`, end of run (0), letters, then the rest."""
    if character == "~":
        return -1
    if character.isalpha():
        return ord(character)
    return ord(character) + 256


def _runs(part: str) -> tuple[_Run, ...]:
    """An upstream version or a revision as alternating text and number runs."""
    runs = [
        ([*map(_rank, text), 0], int(number or 0))
        for text, number in _RUNS.findall(part)
        if text or number
    ]
    while runs and runs[-1] == _NOTHING:
        runs.pop()  # so that equal versions have equal runs
    return tuple(runs)


@total_ordering
class Version:
    """A Debian version, `[epoch:]upstream[-revision]`, ordered as dpkg orders them.

    Raises ValueError when the epoch is not a number.
    """

    __slots__ = ("_epoch", "_revision", "_upstream", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        epoch, colon, rest = text.partition(":")
        if not colon:
            epoch, rest = "0", text
        if not epoch.isdecimal():
            raise ValueError(f"{text!r} has an epoch that is not a number")
        upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
        self._epoch = int(epoch)
        self._upstream = _runs(upstream)
        self._revision = _runs(revision)

    def _key(self) -> tuple[int, tuple[_Run, ...], tuple[_Run, ...]]:
        return self._epoch, self._upstream, self._revision

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key() == other._key()

    def __lt__(self, other: Version) -> bool:
        if self._epoch != other._epoch:
            return self._epoch < other._epoch
        for mine, theirs in (
            (self._upstream, other._upstream),
            (self._revision, other._revision),
        ):
            for pair in zip_longest(mine, theirs, fillvalue=_NOTHING):
                if pair[0] != pair[1]:
                    return pair[0] < pair[1]
        return False

    def __hash__(self) -> int:
        return hash(repr(self._key()))

    def __repr__(self) -> str:
        return f"Version({self.text!r})"

    def __str__(self) -> str:
        return self.text

    def satisfies(self, relation: str, other: Version) -> bool:
        """Whether `self relation other` holds; `relation` is one of << <= = >= >> (Policy §7.1).

        Raises ValueError for any other relation.
        """
        match relation:
            case "<<":
                return self < other
            case "<=":
                return self <= other
            case "=":
                return self == other
            case ">=":
                return self >= other
            case ">>":
                return self > other
        raise ValueError(f"{relation!r} is not a version relation")
