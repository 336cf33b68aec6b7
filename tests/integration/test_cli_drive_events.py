"""What Linux programs on the real machine hear and see of what host programs do on a drive."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli_harness import Isthmus, Started, wait_until
from tests.unit.native.harness import build_native

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def heard(cli: Isthmus) -> Path:
    """A directory of drive C: with two in it, and a program that listens."""
    directory = cli.drive_c / "heard"
    (directory / "one").mkdir(parents=True)
    (directory / "two").mkdir()
    shutil.copy(build_native("build/listen-test"), directory / "listen")
    return directory


@pytest.fixture
def listener(cli: Isthmus, heard: Path) -> Iterator[Started]:
    argv = ["/mnt/c/heard/listen", "/mnt/c/heard/one", "/mnt/c/heard/two"]
    with cli.started("-e", *argv) as started:
        assert started.stdout.readline() == b"listening\n"
        yield started


def lines(listener: Started, count: int) -> list[str]:
    """What it hears next; a write in two steps may be reported in one or in two."""
    heard: list[str] = []
    while len(heard) < count:
        line = listener.stdout.readline().decode().rstrip("\n")
        if not line.startswith("modify") or line not in heard[-1:]:
            heard.append(line)
    return heard


def test_events_cross(cli: Isthmus, heard: Path, listener: Started) -> None:
    one, two = heard / "one", heard / "two"
    (one / "file").write_text("content\n")
    assert lines(listener, 3) == ["create 1 file", "modify 1 file", "close_write 1 file"]
    assert cli.text("cat /mnt/c/heard/one/file") == "content"
    os.rename(one / "file", two / "moved")
    assert lines(listener, 2) == ["moved_from 1 file", "moved_to 2 moved"]
    os.chmod(two / "moved", 0o444)
    assert lines(listener, 1) == ["attrib 2 moved"]
    (two / "moved").unlink()
    (one / "sub").mkdir()
    assert lines(listener, 2) == ["delete 2 moved", "create/ 1 sub"]
    (one / "sub").rmdir()
    assert lines(listener, 1) == ["delete/ 1 sub"]
    cli.ok("echo own > /mnt/c/heard/one/own")
    (one / "mark").mkdir()
    own = ["create 1 own", "modify 1 own", "close_write 1 own", "create/ 1 mark"]
    assert lines(listener, 4) == own


def test_a_storm_crosses(cli: Isthmus, heard: Path, listener: Started) -> None:
    names = [f"{number:04}" for number in range(500)]
    for name in names:
        (heard / "two" / name).write_bytes(b"x")
    created: list[str] = []
    while len(created) < len(names):
        what, _, name = lines(listener, 1)[0].split(" ")
        if what == "create":
            created.append(name)
    assert created == names
    assert cli.text("ls /mnt/c/heard/two | wc -l") == str(len(names))


def test_what_the_host_changes_is_seen_while_it_is_cached(cli: Isthmus, heard: Path) -> None:
    """No lifetime would let a loop in the guest see each of these in time, did nobody tell it."""
    (heard / "counted").write_text("0\n")
    script = (
        "cd /mnt/c/heard; n=0; while [ $n -lt 20 ]; do read -r x < counted;"
        " if [ $x -gt $n ]; then n=$x; echo $n; fi; done"
    )
    with cli.started("-e", "sh", "-c", script) as started:
        began = time.monotonic()
        for number in range(1, 21):
            (heard / "new").write_text(f"{number}\n")
            with (heard / "counted").open("r+") as stream:
                stream.write(f"{number}\n")
            assert started.stdout.readline() == b"%d\n" % number
        assert time.monotonic() - began < 60
    wait_until(lambda: cli.text("cat /mnt/c/heard/new") == "20", "the last content")
