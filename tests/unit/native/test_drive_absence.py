"""A name that is known to be absent is looked up once: drive-pump on this host's kernel.

open(2) with O_EXCL has the kernel look it up again, whatever it knows.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from interop.drives import replies
from interop.drives.constants import ROOT_ID
from tests.unit.native.test_drive_ahead import CONTENT, FILE, LONG_S, Server, read, server
from tests.unit.native.test_drive_pump import Drive, drive, pump_program

__all__ = ["drive", "pump_program", "server"]  # fixtures

NAME, OTHER = b"absent", b"another"


def make(path: Path) -> None:
    """What unpacking an archive does for each file; the server by hand lets nobody make one."""
    assert not os.path.lexists(path)
    make_only(path)


def make_only(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


@pytest.fixture
def absent(drive: Drive, server: Server) -> Path:
    os.stat(drive.mnt / "file")
    server.looked_up.clear()
    server.absent = {NAME: LONG_S, OTHER: LONG_S}
    return drive.mnt / os.fsdecode(NAME)


def test_a_name_is_looked_up_once(absent: Path, server: Server) -> None:
    make(absent)
    assert server.looked_up == [NAME]


def test_only_the_last_one_is_known(absent: Path, server: Server) -> None:
    assert not os.path.lexists(absent)
    make(absent.with_name(os.fsdecode(OTHER)))
    make_only(absent)
    assert server.looked_up == [NAME, OTHER, NAME]


@pytest.mark.parametrize(
    "change",
    [
        lambda server, path: server.notify(replies.invalidate_entry(ROOT_ID, NAME)),
        lambda server, path: server.notify(replies.invalidate_inode(FILE)),
        lambda server, path: os.utime(path.with_name("file"), (1, 1)),
    ],
    ids=["it is there now", "something else", "this system changes something"],
)
def test_what_may_have_changed_it_makes_it_unknown(
    drive: Drive, absent: Path, server: Server, change: Callable[[Server, Path], None]
) -> None:
    assert not os.path.lexists(absent)
    change(server, absent)
    assert read(drive) == CONTENT  # the answer comes behind what was told
    make_only(absent)
    assert server.looked_up.count(NAME) == 2


def test_reading_something_else_changes_nothing(drive: Drive, absent: Path, server: Server) -> None:
    assert not os.path.lexists(absent)
    assert read(drive) == CONTENT
    make_only(absent)
    assert server.looked_up.count(NAME) == 1


def test_another_process_asks_for_itself(absent: Path, server: Server) -> None:
    assert not os.path.lexists(absent)
    program = "import os, sys; os.close(os.open(sys.argv[1], os.O_CREAT | os.O_EXCL))"
    subprocess.run([sys.executable, "-c", program, absent], stderr=subprocess.DEVNULL, timeout=60)
    assert server.looked_up == [NAME, NAME]


def test_what_the_kernel_may_not_keep_is_asked_for_again(absent: Path, server: Server) -> None:
    server.absent = {NAME: 0.5}
    make(absent)
    assert server.looked_up == [NAME, NAME]
