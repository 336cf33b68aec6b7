"""Debian version numbers and how they compare (Debian Policy §5.6.12). Pure."""

from __future__ import annotations

import re
from functools import total_ordering

_RUNS = re.compile(r"(\D*)(\d*)")


def _rank(character: str) -> int:
    """Where a character of a non-digit run sorts: `~`, end of run, letters, then the rest."""
    if character == "~":
        return -1
    if character.isalpha():
        return ord(character)
    return ord(character) + 256


def _key(part: str) -> list[tuple[list[int], int]]:
    """A sort key for an upstream version or a revision: alternating text and number runs."""
    key = []
    for text, number in _RUNS.findall(part):
        if not text and not number:
            continue
        # The terminating 0 ranks the end of a run after "~" and before everything else.
        key.append(([*map(_rank, text), 0], int(number or 0)))
    # So that "1.0" and "1.0~" compare as they should when one is a prefix of the other.
    key.append(([0], 0))
    return key


@total_ordering
class Version:
    """A Debian version, `[epoch:]upstream[-revision]`, ordered as dpkg orders them.

    Raises ValueError when the epoch is not a number.
    """

    __slots__ = ("_sort_key", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        epoch, colon, rest = text.partition(":")
        if not colon:
            epoch, rest = "0", text
        if not epoch.isdecimal():
            raise ValueError(f"{text!r} has an epoch that is not a number")
        upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
        self._sort_key = (int(epoch), _key(upstream), _key(revision))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._sort_key == other._sort_key

    def __lt__(self, other: Version) -> bool:
        return self._sort_key < other._sort_key

    def __hash__(self) -> int:
        return hash(repr(self._sort_key))

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
