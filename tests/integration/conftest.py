"""Fixtures by life cycle: one Isthmus for the whole run, or a fresh one for a test.

A fresh one costs a boot (seconds) as soon as a command needs the machine; what can share does.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.integration.cli_harness import BOOT_TIMEOUT_S, TINY, Isthmus, make_tiny

_alive: list[Isthmus] = []
"""Those whose logs are worth reading when a test fails."""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, object, None]:
    """Show the service's log and the machine's console with every failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        for isthmus in _alive:
            report.sections.append((f"logs of {isthmus.home}", isthmus.logs()))


def lifetime(home: Path) -> Iterator[Isthmus]:
    """An Isthmus that ends with the fixture, its logs shown with every failure."""
    isthmus = Isthmus(home)
    _alive.append(isthmus)
    try:
        yield isthmus
    finally:
        _alive.remove(isthmus)
        isthmus.end()


@pytest.fixture(scope="session")
def tiny_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tar of the small distribution that most tests use."""
    return make_tiny(tmp_path_factory.mktemp("tar") / "tiny.tar")


@pytest.fixture(scope="session")
def cli(tmp_path_factory: pytest.TempPathFactory, tiny_tar: Path) -> Iterator[Isthmus]:
    """An Isthmus with the distribution `tiny`; tests leave it running and as they found it."""
    for isthmus in lifetime(tmp_path_factory.mktemp("isthmus")):
        isthmus.make(TINY, tiny_tar)
        yield isthmus


@pytest.fixture(scope="session")
def other(cli: Isthmus, tiny_tar: Path) -> str:
    """A second distribution in `cli`, running beside the first."""
    cli.make("other", tiny_tar)
    return "other"


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Isthmus]:
    """An Isthmus in which nothing has happened yet."""
    yield from lifetime(tmp_path / "home")


@pytest.fixture(scope="session")
def debian(cli: Isthmus) -> str:
    """The name of a Debian installed in `cli`: for what busybox cannot show."""
    cli.run("--install", "Debian", timeout=BOOT_TIMEOUT_S)
    return "Debian"
