"""The slow checks of distro-init; the others are in tests/unit/native.

They need no VM: the marker only keeps them out of the default run.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest.initclient import Spawn, SpawnStage
from tests.unit.native.harness import (
    NATIVE,
    PATH,
    Launcher,
    find_binary,
    find_busybox,
    process_states,
    require,
    wait_until,
)

assert sys.platform != "win32"

pytestmark = pytest.mark.vm

ROOT = NATIVE.parents[1]
MAX_CHILDREN = 4096


def make(*arguments: str) -> None:
    made = subprocess.run(
        ["make", "-C", str(NATIVE), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    require(os.geteuid() == 0, "distro-init mounts devtmpfs, which takes root")
    launcher = Launcher(find_binary(), find_busybox(), tmp_path)
    yield launcher
    launcher.end_all()


@pytest.mark.timeout(600)
def test_the_unit_tests_pass_with_sanitizers(tmp_path: Path) -> None:
    """Every test of tests/unit/native against a build with ASan and UBSan."""
    make("sanitize", f"BUILD={tmp_path}")
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/native"]
    environment = {**os.environ, "ISTHMUS_DISTRO_INIT": str(tmp_path / "sanitize" / "distro-init")}
    done = subprocess.run(
        tests, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout


def test_the_build_is_reproducible_static_and_small(tmp_path: Path) -> None:
    builds = []
    for name in ("one", "another/deeper"):
        make(f"BUILD={tmp_path / name}")
        builds.append((tmp_path / name / "distro-init").read_bytes())
    assert builds[0] == builds[1]
    assert str(tmp_path).encode() not in builds[0]
    assert len(builds[0]) < 100 * 1024


def test_too_many_processes(launcher: Launcher) -> None:
    """The bound on children is an error reply, and all of them are hung up with the connection."""
    init = launcher.start()
    client = init.connect()
    # The smallest that waits: cat on a pipe that nobody writes to.
    read, write = os.pipe()
    cat = Spawn((b"cat",), (PATH,), b"cat")
    started = 0
    while started < MAX_CHILDREN:
        count = min(200, MAX_CHILDREN - started)  # below the bound on pending requests
        tokens = [client.send(cat, (read, write, write)) for _ in range(count)]
        replies = [client.reply(token) for token in tokens]
        assert {reply.error for reply in replies} == {0}  # type: ignore[union-attr]
        started += count
    refused = client.spawn(cat, (read, write, write))
    assert (refused.error, refused.stage) == (errno.EAGAIN, SpawnStage.FORK)
    other = init.connect()
    assert other.spawn(cat, (read, write, write)).error == errno.EAGAIN
    client.close()
    os.close(read)
    os.close(write)
    wait_until(lambda: other.sh("true").status == 0, "there is room again")
    wait_until(lambda: not process_states(init), "all have ended")
