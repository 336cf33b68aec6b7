"""The contract of the agent, tested on a fake guest and, with the marker `vm`, on the real one.

Tests are coroutines on one loop, which lives as long as the guests: one machine serves them all.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.contract.guests import FakeGuest, Guest, VmGuest
from tests.contract.sessions import Place

DEADLINE_S = 240.0
"""For one test; most take milliseconds."""
BOOT_TIMEOUT_S = 900
"""For the test that comes first: the image may have to be built."""

_alive: list[Guest] = []
"""Guests whose logs are worth reading when a test fails."""


def pytest_configure(config: pytest.Config) -> None:
    """Markers of these tests alone."""
    config.addinivalue_line("markers", "deadline(seconds): for a test that may take longer")


@pytest.fixture(scope="session", autouse=True)
def runner() -> Iterator[asyncio.Runner]:
    """The loop of the whole run."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run tests that are coroutines, each against the deadline."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    runner = cast(asyncio.Runner, pyfuncitem.funcargs["runner"])
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    mark = pyfuncitem.get_closest_marker("deadline")
    seconds = mark.args[0] if mark else DEADLINE_S
    runner.run(asyncio.wait_for(pyfuncitem.obj(**arguments), seconds))
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test on the real machine may be the one that boots it."""
    for item in items:
        if item.get_closest_marker("vm"):
            item.add_marker(pytest.mark.timeout(BOOT_TIMEOUT_S))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, object, None]:
    """Show the end of the guests' logs with every failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        for guest in _alive:
            report.sections.append((str(guest.log), guest.log_text()[-5000:]))


def _lifetime(
    runner: asyncio.Runner, kind: type[FakeGuest | VmGuest], directory: Path
) -> Iterator[Guest]:
    async def start() -> FakeGuest | VmGuest:
        guest = kind(directory / "console.log")
        await guest.start(directory)
        return guest

    guest = runner.run(start())
    _alive.append(guest)
    try:
        yield guest
    finally:
        _alive.remove(guest)
        runner.run(guest.end())


@pytest.fixture(scope="session")
def fake_guest(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    yield from _lifetime(runner, FakeGuest, tmp_path_factory.mktemp("fake"))


@pytest.fixture(scope="session")
def vm_guest(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    yield from _lifetime(runner, VmGuest, tmp_path_factory.mktemp("vm"))


# The fake guest runs the agent's code on this host, so that must be Linux.
FAKE = [] if sys.platform == "win32" else [pytest.param("fake", id="fake")]
VM_SYSTEM = pytest.param("vm-system", id="vm-system", marks=pytest.mark.vm)
VM_DISTRIBUTION = pytest.param("vm-distribution", id="vm-distribution", marks=pytest.mark.vm)


@pytest.fixture(scope="session", params=[*FAKE, VM_SYSTEM, VM_DISTRIBUTION])
def place(request: pytest.FixtureRequest) -> Place:
    """Everywhere that processes run."""
    if request.param == "fake":
        return Place("fake", request.getfixturevalue("fake_guest"), "")
    guest = request.getfixturevalue("vm_guest")
    is_system = request.param == "vm-system"
    return Place(request.param, guest, "" if is_system else VmGuest.IDENTITY)


@pytest.fixture(scope="session", params=[*FAKE, VM_SYSTEM])
def system(request: pytest.FixtureRequest) -> Place:
    """The utility VM itself, where the agent runs: for what concerns the guest as a whole."""
    name = "fake_guest" if request.param == "fake" else "vm_guest"
    return Place(request.param, request.getfixturevalue(name), "")


@pytest.fixture(scope="session", params=[VM_DISTRIBUTION])
def distribution(request: pytest.FixtureRequest) -> Place:
    """A distribution in the real machine."""
    return Place(request.param, request.getfixturevalue("vm_guest"), VmGuest.IDENTITY)
