"""The cases of tests/hostos_cases.py on the Windows host, by Windows's own Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import hostos_cases
from tests.wine.installation import Installation
from tests.wine_harness import make_programs

pytestmark = pytest.mark.wine

NAMES = sorted(
    hostos_cases.ALL.keys()
    - {
        "a_console_shows_and_takes_keys",  # what ConPTY shows never arrives
        "ctrl_c_ends_a_program",  # it does, but with an exit code of 0
    }
)
"""What Wine 8.0 itself can show (docs/testing.md)."""


@pytest.fixture(scope="module")
def failures(installation: Installation) -> dict[str, str]:
    """Why each of NAMES failed; "" for those that did not."""
    windows = installation.windows
    directory = make_programs(windows.drive_c / "tests")
    script = windows.path(Path(hostos_cases.__file__))
    done = windows.run(installation.python, script, windows.path(directory), *NAMES, timeout=300)
    assert done.status == 0, done
    found: dict[str, str] = json.loads(done.text)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_windows(name: str, failures: dict[str, str]) -> None:
    assert not failures[name], failures[name]
