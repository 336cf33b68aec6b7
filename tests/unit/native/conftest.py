"""Fixtures around a running distro-init (see harness.py)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.native.harness import (
    Client,
    Init,
    Launcher,
    find_binary,
    find_busybox,
    require,
)

assert sys.platform != "win32"


@pytest.fixture(scope="session")
def binary() -> Path:
    require(os.geteuid() == 0, "distro-init mounts devtmpfs, which takes root")
    return find_binary()


@pytest.fixture(scope="session")
def launcher(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Ends what it has started when the session ends."""
    launcher = Launcher(binary, find_busybox(), tmp_path_factory.mktemp("native"))
    yield launcher
    launcher.end_all()


@pytest.fixture(scope="session")
def init(launcher: Launcher) -> Init:
    """One init for all tests that leave it as they found it."""
    return launcher.start()


@pytest.fixture
def client(init: Init) -> Iterator[Client]:
    client = init.connect()
    yield client
    client.close()
    assert init.is_alive(), init.log()
