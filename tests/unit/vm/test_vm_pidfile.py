from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vm.pidfile import end_orphan, identify, read_pid_file, write_pid_file

SLEEPER = "import time; print(flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


@pytest.fixture
def start() -> Iterator[object]:
    """Starts an interpreter with a line of code, once it has begun; ends what is left."""
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    identity = identify(os.getpid())
    assert identity is not None
    write_pid_file(tmp_path / "pid", identity)
    assert read_pid_file(tmp_path / "pid") == identity
    found = identity.find()
    assert found is not None
    assert found.pid == os.getpid()


def test_a_later_process_with_the_same_pid_is_not_taken_for_it() -> None:
    identity = identify(os.getpid())
    assert identity is not None
    assert replace(identity, create_time_s=identity.create_time_s - 60).find() is None
    assert replace(identity, executable="/usr/bin/other").find() is None


@settings(max_examples=40)
@given(
    st.binary()
    | st.fixed_dictionaries(
        {},
        optional={
            name: st.none() | st.text() | st.floats() | st.integers()
            for name in ("pid", "create_time_s", "executable")
        },
    ).map(lambda value: json.dumps(value).encode())
)
def test_a_damaged_file_names_nobody(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.pid"
    path.write_bytes(content)
    identity = read_pid_file(path)
    assert identity is None or identity.find() is None


def test_an_orphan_is_ended_and_its_file_removed(tmp_path: Path, start: object) -> None:
    process = start(SLEEPER)  # type: ignore[operator]
    path = tmp_path / "pid"
    identity = identify(process.pid)
    assert identity is not None
    write_pid_file(path, identity)
    assert asyncio.run(end_orphan(path)) is True
    assert not path.exists()
    assert not psutil.pid_exists(process.pid)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to ignore")
def test_an_orphan_that_does_not_listen_is_killed(tmp_path: Path, start: object) -> None:
    process = start(DEAF)  # type: ignore[operator]
    path = tmp_path / "pid"
    identity = identify(process.pid)
    assert identity is not None
    write_pid_file(path, identity)
    assert asyncio.run(end_orphan(path, deadline_s=0.1)) is True
    assert not psutil.pid_exists(process.pid)


def test_a_stranger_is_left_alone(tmp_path: Path, start: object) -> None:
    process = start(SLEEPER)  # type: ignore[operator]
    identity = identify(process.pid)
    assert identity is not None
    earlier = replace(identity, create_time_s=identity.create_time_s - 3600)
    (tmp_path / "pid").write_text(json.dumps(asdict(earlier)), encoding="ascii")
    assert asyncio.run(end_orphan(tmp_path / "pid")) is False
    assert psutil.Process(process.pid).is_running()
    assert not (tmp_path / "pid").exists()


def test_nobody_to_end(tmp_path: Path) -> None:
    assert asyncio.run(end_orphan(tmp_path / "none")) is False
