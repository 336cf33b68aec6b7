"""How long work reports where it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (label, done, total): what is being done, how far it is, and how far it goes.

Both are bytes for a download and steps for a build; total is 0 while it is unknown. The label
of one step stays the same from its first call to the last, where done == total.
"""


def silent(label: str, done: int, total: int) -> None:
    """A Progress that tells nobody."""
