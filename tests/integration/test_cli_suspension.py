"""Suspend on idle: a machine that is saved with its programs, and when it must not go on."""

from __future__ import annotations

import hashlib
import os
import re
import resource
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.integration.cli_harness import (
    BOOT_TIMEOUT_S,
    TINY,
    Isthmus,
    kill_and_wait,
    wait_until,
)

pytestmark = pytest.mark.vm

WSLCONFIG = """\
[general]
instanceIdleTimeout=500
instantStart=false
[wsl2]
vmIdleTimeout=1000
memory=397MB
swap=64MB
[experimental]
suspendOnIdle=true
"""
PROGRAM = """\
secret=$(head -c 16 /dev/urandom | sha256sum | cut -c1-16)
i=0
while :; do i=$((i+1)); echo "$$ $secret $i" > $0.new; mv $0.new $0; sleep 0.1
done
"""
"""What only it knows is in its memory alone. It says it in the file that is its name."""


class Program(NamedTuple):
    """One that runs in the background."""

    file: str
    pid: str
    secret: str


class Suspender(Isthmus):
    """An Isthmus whose machine is suspended when it is idle."""

    @property
    def saved(self) -> Path:
        return self.home / "suspended"

    def wait_suspended(self) -> None:
        """Wait until the machine has been saved, and QEMU is gone."""
        wait_until(lambda: self.saved.is_dir() and not self.qemus(), "a suspended machine")

    def start_program(self) -> Program:
        """Have PROGRAM run in the background."""
        file = f"/tmp/said-{time.time_ns()}"
        line = f"setsid sh -c '{PROGRAM}' {file} > /dev/null 2>&1 < /dev/null & "
        self.run(line + f"until [ -e {file} ]; do sleep 0.1; done", timeout=BOOT_TIMEOUT_S)
        pid, secret, _ = self.said(file)
        return Program(file, pid, secret)

    def said(self, file: str) -> list[str]:
        """What a program has said last: its process id, its secret, a number that grows."""
        return self.run(f"cat {file}", timeout=BOOT_TIMEOUT_S).stdout.decode().split()

    def logged(self, pattern: str) -> int:
        return len(re.findall(pattern, (self.home / "logs" / "service.log").read_text()))


@pytest.fixture(scope="module")
def suspender(tmp_path_factory: pytest.TempPathFactory, tiny_tar: Path) -> Iterator[Suspender]:
    directory = tmp_path_factory.mktemp("suspender")
    wslconfig = directory / "wslconfig"
    wslconfig.write_text(WSLCONFIG)
    suspender = Suspender(directory / "home", ISTHMUS_WSLCONFIG=str(wslconfig))
    try:
        suspender.make(TINY, tiny_tar)
        yield suspender
    finally:
        suspender.run("--shutdown")
        suspender.end()


def goes_on(suspender: Suspender, program: Program) -> None:
    """The program is the one that was started, and works."""
    pid, secret, number = suspender.said(program.file)
    assert (pid, secret) == (program.pid, program.secret), suspender.logs()
    wait_until(lambda: int(suspender.said(program.file)[2]) > int(number), "a higher number")


def test_programs_drives_ports_and_the_clock_go_on(suspender: Suspender) -> None:
    program = suspender.start_program()
    served = "mkdir -p /tmp/www; echo from linux > /tmp/www/index.html; "
    suspender.ok("-e", "sh", "-c", served + "httpd -p 127.0.0.1:47653 -h /tmp/www")
    # So large that its contents pass by a disk, which is not to be in what is saved.
    large = os.urandom(3 << 20)
    (suspender.drive_c / "large").write_bytes(large)
    digest = hashlib.sha256(large).hexdigest()
    assert suspender.text("sha256sum < /mnt/c/large").split()[0] == digest
    suspender.wait_suspended()
    modes = {path.name: path.stat().st_mode & 0o777 for path in suspender.saved.iterdir()}
    assert suspender.saved.stat().st_mode & 0o777 == 0o700
    assert len(modes) == 4 and set(modes.values()) == {0o600}, modes
    assert "suspended" in suspender.text("--status")
    kill_and_wait(suspender.service())  # what it knew is in the files
    (suspender.drive_c / "meanwhile").write_text("by the host")
    asking = time.time_ns()
    ask = ("--system", "-e", "python3", "-c", "import time;print(time.time_ns())")
    guest = int(suspender.text(*ask))
    assert asking - 10_000_000 < guest < time.time_ns() + 10_000_000
    goes_on(suspender, program)
    assert suspender.text("cat /mnt/c/meanwhile") == "by the host"
    suspender.ok("cp /mnt/c/large /mnt/c/copy")
    assert (suspender.drive_c / "copy").read_bytes() == large
    with urllib.request.urlopen("http://127.0.0.1:47653/", timeout=30) as answer:
        assert answer.read() == b"from linux\n"
    assert not suspender.saved.exists(), "it is used once"
    suspender.wait_suspended()
    goes_on(suspender, program)


def test_a_machine_that_cannot_be_saved_goes_on(suspender: Suspender) -> None:
    """The host refuses to write more than a part of it."""
    program = suspender.start_program()
    service = psutil.Process(suspender.service().pid)
    before = suspender.logged("could not be suspended")
    limits = service.rlimit(resource.RLIMIT_FSIZE)
    service.rlimit(resource.RLIMIT_FSIZE, (8 << 20, limits[1]))
    try:
        wait_until(lambda: suspender.logged("could not be suspended") > before, "a failure")
        qemu = suspender.qemu()
        goes_on(suspender, program)
        assert suspender.text("ls /mnt/c")
        assert suspender.qemu() == qemu
        assert not list(suspender.home.glob("suspended*")), "nothing is left"
    finally:
        service.rlimit(resource.RLIMIT_FSIZE, limits)
    suspender.wait_suspended()
    goes_on(suspender, program)


def truncate(saved: Path, disk: Path) -> None:
    os.truncate(saved / "memory", (saved / "memory").stat().st_size // 2)


def change(saved: Path, disk: Path) -> None:
    os.utime(disk)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(truncate, "memory is damaged"), (change, "has been changed")],
)
def test_one_that_is_not_what_it_was_does_not_go_on(
    suspender: Suspender, damage: Callable[[Path, Path], None], reason: str
) -> None:
    suspender.start_program()
    suspender.ok("-e", "sh", "-c", "date +%s%N > /root/kept; sync")
    kept = suspender.text("cat /root/kept")
    suspender.wait_suspended()
    damage(suspender.saved, suspender.home / "places" / TINY / "ext4.qcow2")
    done = suspender.run("cat /root/kept; pidof sleep", timeout=BOOT_TIMEOUT_S)
    assert done.stdout.decode() == f"{kept}\n", "nothing is lost, and no program runs"
    said = done.stderr.decode()
    assert "could not go on" in said and reason in said


def test_a_service_killed_while_it_saves_loses_nothing(suspender: Suspender) -> None:
    suspender.start_program()
    suspender.ok("-e", "sh", "-c", "date +%s%N > /root/kept; sync")
    kept = suspender.text("cat /root/kept")
    part = suspender.home / "suspended.part"
    wait_until(part.is_dir, "a machine that is being saved")
    kill_and_wait(suspender.service())
    wait_until(lambda: not suspender.qemus(), "the end of QEMU")
    assert not suspender.saved.exists()
    assert suspender.text("cat /root/kept", timeout=BOOT_TIMEOUT_S) == kept


def test_shutdown_drops_it_and_terminate_ends_what_runs_in_it(suspender: Suspender) -> None:
    suspender.start_program()
    suspender.wait_suspended()
    suspender.run("--terminate", TINY, timeout=BOOT_TIMEOUT_S)
    assert suspender.run("pidof sleep").stdout == b""
    suspender.wait_suspended()
    suspender.ok("--shutdown")
    assert not suspender.saved.exists() and not suspender.qemus()
