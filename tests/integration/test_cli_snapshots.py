"""Instant start: machines that go on from a snapshot, and snapshots that must not be used."""

from __future__ import annotations

import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli_harness import (
    BOOT_TIMEOUT_S,
    TINY,
    WAKEFUL,
    Isthmus,
    kill_and_wait,
    wait_until,
)
from tests.integration.test_cli_ports import ask, boot_id, server
from vm.image.cache import MANIFEST, VERIFIED, Cache, cache_directory, write_manifest

pytestmark = pytest.mark.vm

MAKING_TIMEOUT_S = 280.0
"""A snapshot is made with what others leave of the processors."""


class Starter(Isthmus):
    """An Isthmus whose log says how its machine was started."""

    def said(self, pattern: str) -> list[str]:
        text = (self.home / "logs" / "service.log").read_text()
        return re.findall(pattern, text)

    def woken(self) -> int:
        """How often its machine has gone on from a snapshot."""
        return len(self.said("goes on from"))

    def snapshot(self) -> Path:
        """The snapshot's directory; waits until one has been made."""
        pattern = r"(?:goes on from|INFO service\.snapshots:) (snapshot-[0-9a-f]+)"
        wait_until(lambda: self.said(pattern), "a snapshot", MAKING_TIMEOUT_S)
        directory = cache_directory() / "entries" / self.said(pattern)[-1]
        wait_until(directory.is_dir, f"{directory}", MAKING_TIMEOUT_S)
        return directory

    def put_back(self, kept: Path) -> None:
        """Have the snapshot again as it was: making another one takes long."""
        directory = cache_directory() / "entries" / kept.name
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(kept, directory)

    def make_anew(self, snapshot: Path) -> None:
        """Have a machine booted to be saved. One may have been saved for a test before this."""

        def is_booted() -> bool:
            if snapshot.exists():
                Cache().remove(snapshot.name)
                self.restart()
            return bool(self.seeds())

        wait_until(is_booted, "the QEMU of the machine that is to be saved")

    def restart(self) -> None:
        self.ok("--shutdown")
        self.ok("-e", "true", timeout=BOOT_TIMEOUT_S)


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory, tiny_tar: Path) -> Iterator[Starter]:
    """One whose machine differs from every other test's, with its snapshot made."""
    directory = tmp_path_factory.mktemp("starter")
    wslconfig = directory / "wslconfig"
    wslconfig.write_text(f"{WAKEFUL}memory=397MB\nswap=0\n")
    starter = Starter(directory / "home", ISTHMUS_WSLCONFIG=str(wslconfig))
    try:
        starter.make(TINY, tiny_tar)
        starter.snapshot()
        yield starter
    finally:
        starter.end()


@pytest.fixture
def damageable(starter: Starter, tmp_path: Path) -> Iterator[Path]:
    """The snapshot's directory, for a test to spoil. None is being made when the test begins."""
    directory = starter.snapshot()
    kept = tmp_path / directory.name
    shutil.copytree(directory, kept)
    yield directory
    starter.end()
    starter.put_back(kept)


@pytest.fixture
def awake(starter: Starter) -> Starter:
    """Its machine goes on from the snapshot."""
    starter.snapshot()
    before = starter.woken()
    starter.restart()
    assert starter.woken() == before + 1, starter.logs()
    return starter


def test_two_machines_from_one_snapshot_differ(awake: Starter) -> None:
    """Each has a boot id and random numbers of its own, in a distribution's processes too."""
    line = "cat /proc/sys/kernel/random/boot_id; head -c 64 /dev/urandom | sha256sum"
    first = [awake.text(line), awake.text("--system", line)]
    uptime_s = float(awake.text("--system", "-e", "cat", "/proc/uptime").split()[0])
    awake.restart()
    second = [awake.text(line), awake.text("--system", line)]
    texts = [text.splitlines() for text in (*first, *second)]
    assert texts[0][0] == texts[1][0] != texts[2][0] == texts[3][0], "boot ids"
    assert len({lines[1] for lines in texts}) == 4, "random numbers"
    assert uptime_s > 0


def test_the_clock_is_right_at_once(awake: Starter) -> None:
    """The snapshot's own clock stood still when it was made, minutes or weeks ago."""
    asking = time.time_ns()
    guest = int(awake.text("--system", "-e", "python3", "-c", "import time;print(time.time_ns())"))
    assert asking - 10_000_000 < guest < time.time_ns() + 10_000_000


def test_the_network_lives(awake: Starter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nfrom the host\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        assert awake.text(f"wget -q -O - http://10.0.2.2:{port}/") == "from the host"
        thread.join(10)


def test_what_linux_serves_is_at_localhost(awake: Starter) -> None:
    """The watch over ports was not running when the machine was saved."""
    expected = boot_id(awake)
    with server(awake, "127.0.0.1") as port:
        wait_until(lambda: ask(port) == expected, "an answer")


def test_nobody_else_can_read_a_snapshot(starter: Starter) -> None:
    directory = starter.snapshot()
    modes = {path.name: path.stat().st_mode & 0o777 for path in (directory, *directory.iterdir())}
    assert modes.pop(directory.name) == 0o700
    assert set(modes.values()) == {0o600}, modes


@pytest.mark.parametrize(("name", "damage"), [("memory", "flipped"), ("state", "truncated")])
def test_a_damaged_snapshot_is_refused(
    starter: Starter, damageable: Path, name: str, damage: str
) -> None:
    path = damageable / name
    before = starter.woken()
    with path.open("r+b") as file:
        middle = path.stat().st_size // 2
        if damage == "truncated":
            file.truncate(middle)
        else:
            file.seek(middle)
            byte = file.read(1)
            file.seek(middle)
            file.write(bytes([byte[0] ^ 4]))
    starter.restart()
    assert starter.woken() == before
    assert starter.said(f"{damageable.name} is damaged, and not used: {name}")


def test_one_that_qemu_does_not_take_is_replaced_by_a_boot(
    starter: Starter, damageable: Path
) -> None:
    """Its digests are right, what it says is not: as after an update that nobody noticed."""
    before = starter.woken()
    state = (damageable / "state").read_bytes()
    (damageable / "state").write_bytes(state[: len(state) // 2])
    assert Cache().named(damageable.name) is None, "the digest is checked"
    for name in (MANIFEST, VERIFIED):
        (damageable / name).unlink()
    write_manifest(damageable, {})
    starter.restart()
    assert starter.woken() == before
    assert starter.said(f"{damageable.name} does not work, booting instead")
    assert not damageable.exists()
    assert len(starter.qemus()) == 1, "nothing is left of the first attempt"


def test_a_service_killed_while_it_saves_leaves_nothing(starter: Starter, damageable: Path) -> None:
    """Neither a machine nor half a snapshot, and the next start works."""
    starter.make_anew(damageable)
    kill_and_wait(starter.service())
    wait_until(lambda: not starter.qemus() + starter.seeds(), "the end of both machines")
    assert not damageable.exists()
    assert starter.text("echo alive", timeout=BOOT_TIMEOUT_S) == "alive"


def test_a_machine_that_dies_while_it_is_to_be_saved_is_given_up(
    starter: Starter, damageable: Path
) -> None:
    """At once: as long as one is being made, no other is."""
    starter.make_anew(damageable)
    (seed,) = starter.seeds()
    console = starter.home / "logs" / "snapshot.log"
    wait_until(lambda: console.stat().st_size > 0, "it to boot")
    given_up = len(starter.said("no snapshot was made"))
    kill_and_wait(seed)
    wait_until(lambda: len(starter.said("no snapshot was made")) > given_up, starter.logs)
    starter.restart()
    wait_until(starter.seeds, "another one")


def starts_of_qemu(starter: Starter) -> int:
    """How often the service, once it served, has started QEMU for the user's machine."""
    return len(starter.said(r"starting: \S*qemu-system.*serial\.log"))


def test_a_new_service_finds_qemu_started(awake: Starter) -> None:
    """It starts before the service has even read its settings, and is the one that is used."""
    wait_until((awake.home / "ahead.json").exists, "the record of how")
    awake.end()
    starts, woken = starts_of_qemu(awake), awake.woken()
    assert awake.text("echo alive", timeout=BOOT_TIMEOUT_S) == "alive"
    assert (starts_of_qemu(awake), awake.woken()) == (starts, woken + 1), awake.logs()
    assert awake.qemu().ppid() == awake.service().pid


def test_qemu_is_started_again_when_another_one_is_wanted(awake: Starter) -> None:
    wait_until((awake.home / "ahead.json").exists, "the record of how")
    awake.end()
    wslconfig = Path(awake.environment["ISTHMUS_WSLCONFIG"])
    text = wslconfig.read_text()
    wslconfig.write_text(text.replace("memory=397MB", "memory=399MB"))
    try:
        assert awake.text("echo alive", timeout=BOOT_TIMEOUT_S) == "alive"
        assert "399M" in awake.qemu().cmdline()
    finally:
        awake.end()
        wslconfig.write_text(text)


def test_who_wants_no_machine_gets_none(awake: Starter) -> None:
    awake.end()
    assert awake.registered() == [TINY]
    awake.ok("--list")
    assert awake.qemus() == []


def test_instant_start_can_be_switched_off(starter: Starter) -> None:
    starter.snapshot()
    wslconfig = Path(starter.environment["ISTHMUS_WSLCONFIG"])
    before = starter.woken()
    text = wslconfig.read_text()
    wslconfig.write_text(text.replace("[general]", "[general]\ninstantStart=false"))
    try:
        starter.restart()
        assert starter.woken() == before
    finally:
        wslconfig.write_text(text)
