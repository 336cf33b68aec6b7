"""The cases of tests/hostos_cases.py on the Windows host, by Windows's own Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import hostos_cases
from tests.wine.installation import Installation
from tests.wine_harness import make_programs

pytestmark = pytest.mark.wine

NOT_IN_WINE: dict[str, str] = {}
"""Cases that Wine itself cannot show, and why (docs/testing.md)."""


@pytest.fixture(scope="module")
def failures(installation: Installation) -> dict[str, str]:
    """Why each case failed; "" for those that did not."""
    windows = installation.windows
    directory = make_programs(windows.drive_c / "tests")
    script = windows.path(Path(hostos_cases.__file__))
    done = windows.run(installation.python, script, windows.path(directory), timeout=300)
    assert done.status == 0, done
    found: dict[str, str] = json.loads(done.text)
    return found


@pytest.mark.parametrize("name", hostos_cases.ALL)
def test_windows(name: str, failures: dict[str, str]) -> None:
    if name in NOT_IN_WINE:
        pytest.xfail(NOT_IN_WINE[name])
    assert failures[name] == ""
