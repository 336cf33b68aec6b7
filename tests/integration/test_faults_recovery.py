"""Processes that die: client, QEMU, service, agent. The next command works without a hand."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli_harness import (
    BOOT_TIMEOUT_S,
    TINY,
    Isthmus,
    RootTar,
    is_gone,
    kill_and_wait,
    wait_until,
)
from tests.integration.conftest import lifetime
from tests.integration.pty_harness import shell, terminal

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory, tiny_tar: Path) -> Iterator[Isthmus]:
    """An Isthmus whose processes may be killed: each test leaves it able to run commands."""
    for isthmus in lifetime(tmp_path_factory.mktemp("victim")):
        isthmus.make(TINY, tiny_tar)
        yield isthmus


def runs_again(isthmus: Isthmus) -> subprocess.CompletedProcess[bytes]:
    """The next command works; it is returned for what it has said."""
    done = isthmus.run("-e", "echo", "works", timeout=BOOT_TIMEOUT_S)
    assert (done.returncode, done.stdout) == (0, b"works\n"), done
    assert len(isthmus.services()) == 1
    assert len(isthmus.qemus()) == 1
    return done


# -- the client ------------------------------------------------------------------------------------


def test_a_killed_clients_process_is_hung_up(cli: Isthmus) -> None:
    """Its pipes are closed as well: the shell, which tells of its child's death, ignores that."""
    trap = "trap 'echo hup > /root/hup; exit' HUP; trap '' PIPE"
    script = f"{trap}; echo ready; while :; do sleep 0.05; done"
    with cli.started("-e", "sh", "-c", script) as command:
        assert command.stdout.readline() == b"ready\n"
        command.process.kill()
    wait_until(lambda: cli.run("grep hup /root/hup && rm /root/hup").stdout, "SIGHUP to arrive")


def test_clients_killed_while_their_process_starts_leave_none(cli: Isthmus) -> None:
    """At every moment of the start, the terminal's included."""
    for step in range(25):
        with terminal(cli, "-e", "sleep", "9871"), cli.started("-e", "sleep", "9871"):
            time.sleep(step * 0.008)
    script = "ps -o args | grep -c '^sleep 9871'"
    wait_until(lambda: cli.run(script).stdout == b"0\n", "all of them to be gone")


def test_a_client_killed_while_importing(cli: Isthmus, tmp_path: Path) -> None:
    """Half an archive has arrived; nothing of it stays, on the host or in the machine."""
    before = cli.disks(), cli.text("--system", "-e", "ls", "/sys/block")
    tar = RootTar(tmp_path / "large.tar").add_system()
    tar.add("./large", os.urandom(8 * 2**20))
    data = tar.close().read_bytes()
    place = tmp_path / "place"
    with cli.started("--import", "half", str(place), "-", stdin=subprocess.PIPE) as command:
        command.stdin.write(data[: len(data) // 2])
        command.stdin.flush()
        command.process.kill()
    wait_until(lambda: not place.exists(), "the disk to be removed")
    assert "half" not in cli.registered()
    assert (cli.disks(), cli.text("--system", "-e", "ls", "/sys/block")) == before
    assert cli.run("-e", "pidof", "bsdtar").returncode == 1


def test_a_client_killed_while_exporting(cli: Isthmus, tmp_path: Path) -> None:
    target = tmp_path / "out.tar"
    with cli.started("--export", TINY, "-") as command:
        command.stdout.read(1)
        command.process.kill()
    assert cli.text("-e", "echo", "free") == "free"
    assert not target.exists()


# -- QEMU ------------------------------------------------------------------------------------------


def test_qemu_killed_under_a_command(victim: Isthmus) -> None:
    """The command says so, with a status of its own; the next one boots, and says why."""
    with victim.started("-e", "sh", "-c", "echo ready; sleep 300") as command:
        assert command.stdout.readline() == b"ready\n"
        kill_and_wait(victim.qemu())
        assert command.status() == 252
        complaint = command.stderr.read()
    assert b"Error code: Wsl/Service/WSL_E_VM_CRASHED" in complaint.splitlines()
    assert b"virtual machine has ended" in complaint
    notice = runs_again(victim).stderr
    assert b"signal 9" in notice
    assert len(notice.splitlines()) == 1
    assert victim.ok("-e", "true") == b""  # it is said once


def test_qemu_killed_under_a_terminal(victim: Isthmus) -> None:
    runs_again(victim)
    with shell(victim) as tty:
        before = tty.settings()
        tty.type("lx -e sh -c 'echo ready; exec cat'; echo status $?\r")
        tty.expect("\nready")
        wait_until(lambda: tty.is_raw, "raw mode")
        kill_and_wait(victim.qemu())
        tty.expect("status 252\n")
        assert tty.settings() == before
    runs_again(victim)


def test_qemu_killed_while_it_boots(victim: Isthmus) -> None:
    victim.ok("--shutdown", "--force")
    wslconfig = Path(victim.environment["ISTHMUS_WSLCONFIG"])
    before = wslconfig.read_text()
    # Of one that goes on from a snapshot the command would notice nothing: it is booted then.
    wslconfig.write_text(before.replace("[general]\n", "[general]\ninstantStart=false\n"))
    try:
        with victim.started("-e", "echo", "works") as command:
            wait_until(lambda: victim.qemus(), "QEMU to start")
            kill_and_wait(victim.qemu())
            assert command.status() == 255
            assert b"CreateVm/ISTHMUS_E_VM" in command.stderr.read()
        runs_again(victim)
    finally:
        wslconfig.write_text(before)


def test_a_frozen_qemu_can_be_shut_down(victim: Isthmus) -> None:
    """It answers nothing: --shutdown --force ends it, and commands under it."""
    runs_again(victim)
    qemu = victim.qemu()
    with victim.started("-e", "sh", "-c", "echo ready; sleep 300") as command:
        assert command.stdout.readline() == b"ready\n"
        qemu.suspend()
        done = victim.run("--shutdown", "--force", timeout=60)
        assert done.returncode == 0, done
        assert command.status() == 252
    assert not victim.qemus()
    runs_again(victim)


# -- the service -----------------------------------------------------------------------------------


def test_service_killed_under_a_command(victim: Isthmus) -> None:
    """No QEMU is left to hold the disks' locks, and nobody has to clean up."""
    runs_again(victim)
    with victim.started("-e", "sh", "-c", "echo ready; sleep 300") as command:
        assert command.stdout.readline() == b"ready\n"
        qemu = victim.qemu()
        kill_and_wait(victim.service())
        assert command.status() == 253
        assert b"Error code: Wsl/ISTHMUS_E_SERVICE" in command.stderr.read().splitlines()
    runs_again(victim)
    assert is_gone(qemu)


def test_service_killed_under_a_terminal(victim: Isthmus) -> None:
    runs_again(victim)
    with shell(victim) as tty:
        before = tty.settings()
        tty.type("lx -e sh -c 'echo ready; exec cat'; echo status $?\r")
        tty.expect("\nready")
        wait_until(lambda: tty.is_raw, "raw mode")
        kill_and_wait(victim.service())
        tty.expect("status 253\n")
        assert tty.settings() == before
    runs_again(victim)


def test_service_killed_with_a_qemu_that_does_not_listen(victim: Isthmus) -> None:
    """Stopped, it cannot even take the signal that its parent's death sends it."""
    runs_again(victim)
    qemu = victim.qemu()
    qemu.suspend()
    kill_and_wait(victim.service())
    assert not is_gone(qemu)
    runs_again(victim)
    assert is_gone(qemu)


def test_a_command_while_the_service_ends(victim: Isthmus) -> None:
    """SIGTERM: it shuts the machine down first, for seconds, while it serves nobody any more."""
    runs_again(victim)
    service = victim.service()
    service.terminate()
    with victim.started("-e", "echo", "works") as command:
        assert command.status(120) == 0
        assert command.stdout.read() == b"works\n"
    wait_until(lambda: is_gone(service), "the end of the service")
    runs_again(victim)


def test_service_killed_while_it_starts(fresh: Isthmus) -> None:
    for step in range(6):
        with fresh.started("--status") as command:
            time.sleep(0.05 * step)
            for service in fresh.services():
                kill_and_wait(service)
            command.process.wait(30)
    assert fresh.json("--status", "--json")["machine_state"] == "stopped"
    assert len(fresh.services()) == 1


# -- the agent -------------------------------------------------------------------------------------


def test_agent_killed(victim: Isthmus) -> None:
    """Init restarts it; distributions and the machine go on."""
    runs_again(victim)
    qemu = victim.qemu()
    with victim.started("-e", "sh", "-c", "echo ready; sleep 300") as command:
        assert command.stdout.readline() == b"ready\n"
        victim.run("--system", "-e", "sh", "-c", "kill -9 $(pidof python3)")
        assert command.status() == 252
    done = victim.run("-e", "echo", "works")
    assert (done.returncode, done.stdout) == (0, b"works\n"), done
    assert victim.qemu() == qemu


# -- what was left behind --------------------------------------------------------------------------


def test_stale_files(fresh: Isthmus) -> None:
    """A socket nobody listens on, a lock file nobody holds, a pid that is somebody else's now."""
    run = fresh.home / "run"
    run.mkdir(mode=0o700, parents=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(run / "service"))
    (fresh.home / "service.lock").touch()
    with subprocess.Popen(["sleep", "300"]) as innocent:
        identity = {"pid": innocent.pid, "create_time_s": 1.0, "executable": "/usr/bin/qemu"}
        (run / "qemu.json").write_text(json.dumps(identity))
        try:
            assert fresh.json("--status", "--json")["machine_state"] == "stopped"
            assert innocent.poll() is None
        finally:
            innocent.kill()
    assert not (run / "qemu.json").exists()


def test_garbage_in_the_pid_file(fresh: Isthmus) -> None:
    run = fresh.home / "run"
    run.mkdir(mode=0o700, parents=True)
    (run / "qemu.json").write_bytes(b"\0\xff{")
    assert fresh.json("--status", "--json")["machine_state"] == "stopped"


# -- two at once -----------------------------------------------------------------------------------


def test_two_commands_on_a_cold_start(fresh: Isthmus) -> None:
    """One service, one machine; then --status, --shutdown, and a boot after it."""
    with (
        fresh.started("--system", "-e", "cat", "/proc/sys/kernel/random/boot_id") as one,
        fresh.started("--system", "-e", "cat", "/proc/sys/kernel/random/boot_id") as two,
    ):
        assert (one.status(BOOT_TIMEOUT_S), two.status(BOOT_TIMEOUT_S)) == (0, 0)
        boot = one.stdout.read()
        assert boot == two.stdout.read()
    assert len(fresh.services()) == 1
    assert len(fresh.qemus()) == 1
    service, qemu = fresh.service(), fresh.qemu()
    fresh.ok("--shutdown")
    assert is_gone(qemu)
    assert not is_gone(service)
    assert fresh.json("--status", "--json")["machine_state"] == "stopped"
    again = fresh.ok("--system", "-e", "cat", "/proc/sys/kernel/random/boot_id", timeout=120)
    assert again != boot


def test_the_first_of_two_gives_up(fresh: Isthmus) -> None:
    """The command that caused the boot is killed; the machine boots on for the other one."""
    with fresh.started("--system", "-e", "echo", "one") as one:
        wait_until(lambda: fresh.qemus(), "QEMU to start", BOOT_TIMEOUT_S)
        qemu = fresh.qemu()
        with fresh.started("--system", "-e", "echo", "two") as two:
            one.process.kill()
            assert two.status(BOOT_TIMEOUT_S) == 0
            assert two.stdout.read() == b"two\n"
    assert fresh.qemu() == qemu


def test_shutdown_while_the_machine_boots(fresh: Isthmus) -> None:
    """Nobody has to wait for a boot only to end it."""
    with fresh.started("--system", "-e", "true") as command:
        wait_until(lambda: fresh.qemus(), "QEMU to start", BOOT_TIMEOUT_S)
        fresh.ok("--shutdown")
        assert not fresh.qemus()
        assert command.status() == 255
        assert b"being shut down" in command.stderr.read()
