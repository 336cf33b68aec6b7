"""The C end of the helper socket (guest/native/helper.c), with the agent's own at the other."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest.agent import distributions
from guest.agent.loop import Loop
from tests.unit.guest.agent_harness import DEADLINE_S, close_loop, run_until
from tests.unit.guest.helper_world import ECHO, PIPE, REFUSE, World
from tests.unit.native.harness import build_native

assert sys.platform != "win32"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(distributions, "RUN_DIRECTORY", str(tmp_path))
    loop = Loop()
    world = World(loop)
    yield world
    world.helpers.forget(world.distribution)
    close_loop(loop)


@pytest.fixture(scope="session")
def program() -> Path:
    return build_native("build/sanitize/helper-test")


def run_program(
    world: World, program: Path, *args: str | bytes
) -> subprocess.CompletedProcess[bytes]:
    """Run the C end beside the loop."""
    done: list[subprocess.CompletedProcess[bytes]] = []

    def run() -> None:
        environment = {"WSL_INTEROP": world.path}
        done.append(
            subprocess.run(
                [program, *args], env=environment, capture_output=True, timeout=DEADLINE_S
            )
        )

    thread = threading.Thread(target=run)
    thread.start()
    run_until(world.loop, lambda: bool(done))
    thread.join()
    return done[0]


def test_the_c_end(world: World, program: Path) -> None:
    echoed = run_program(world, program, str(ECHO), "a b", "", b"\xff")
    assert echoed.stdout == b"138 'a b' '' '\xff'\n", echoed
    piped = run_program(world, program, str(PIPE), "through a pipe")
    assert piped.stdout == b"139 <through a pipe>\n", piped
    refused = run_program(world, program, str(REFUSE))
    assert refused.stdout == f"255 {errno.EIO} 'not today' 'Come tomorrow.'\n".encode(), refused
    closed = run_program(world, program, "99")
    assert (closed.returncode, closed.stdout) == (0, b""), closed


def test_the_c_end_without_an_agent(program: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [program, "1"],
        env={"WSL_INTEROP": str(tmp_path / "nothing")},
        capture_output=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 1
    assert b"No such file or directory" in done.stderr
