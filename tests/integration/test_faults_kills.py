"""A few rounds of bench/faults.py: each kind of process killed twice, at a random moment.

More rounds, with everything left to chance: `python -m bench.faults --rounds 200`.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest

from bench.faults import Plan, run_rounds

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

WHAT = (
    ("command", "qemu"),
    ("import", "service"),
    ("command", "client"),
    ("export", "agent"),
    ("start", "init"),
    ("boot", "qemu"),
    ("import", "agent"),
    ("command", "init"),
    ("export", "client"),
    ("start", "service"),
)


def test_nothing_that_is_killed_needs_a_hand() -> None:
    """The next command works; what was fsync'ed is there; nothing is left behind."""
    said: list[str] = []
    plans = [Plan(number, *what, random.random()) for number, what in enumerate(WHAT, 1)]
    with tempfile.TemporaryDirectory(prefix="isthmus-faults-") as home:
        counts = run_rounds(Path(home), plans, said.append)
    # A moment may come too late for a few, whose command was over; not for all.
    assert counts.total() - counts["nobody"] >= len(WHAT) // 2, said
