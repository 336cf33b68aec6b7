"""Fixtures of the agent's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from guest.agent.loop import Loop
from tests.unit.guest.agent_harness import Linked, close_loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    close_loop(loop)


@pytest.fixture
def linked() -> Iterator[Linked]:
    linked = Linked()
    yield linked
    linked.close()


@pytest.fixture
def synchronised(linked: Linked) -> Linked:
    linked.synchronise()
    return linked
