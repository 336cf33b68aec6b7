"""Distributions side by side: what each has of its own, what they share, and Debian itself."""

from __future__ import annotations

import contextlib

import pytest

from tests.integration.cli_harness import TINY, Isthmus

pytestmark = pytest.mark.vm

OWN = ("cgroup", "ipc", "mnt", "pid", "uts")
SHARED = ("net", "user")


def test_namespaces(cli: Isthmus, other: str) -> None:
    script = f"for n in {' '.join(OWN + SHARED)}; do readlink /proc/self/ns/$n; done"
    places = (["-d", TINY], ["-d", other], ["--system"])
    seen = [cli.text(*place, "-e", "sh", "-c", script).split() for place in places]
    by_name = dict(zip(OWN + SHARED, zip(*seen, strict=True), strict=True))
    assert {name: len(set(by_name[name])) for name in OWN} == dict.fromkeys(OWN, 3)
    assert {name: len(set(by_name[name])) for name in SHARED} == dict.fromkeys(SHARED, 1)


def test_two_commands_are_in_the_same_namespaces(cli: Isthmus) -> None:
    script = "readlink /proc/self/ns/mnt; readlink /proc/self/ns/pid"
    assert cli.text(script) == cli.text("-u", "ada", script)


def test_cgroups(cli: Isthmus, other: str) -> None:
    """Each distribution's processes are in a group of their own, and none sees above it."""
    with contextlib.ExitStack() as stack:
        for name in (TINY, other):
            stack.enter_context(cli.started("-d", name, "-e", "sleep", "4711"))
        script = """
            for pid in $(pidof sleep); do
                grep -q 4711 /proc/$pid/cmdline && cat /proc/$pid/cgroup
            done
            true
        """
        groups: list[str] = []
        while len(groups) < 2:
            groups = cli.text("--system", "-e", "sh", "-c", script).split()
    assert len(set(groups)) == 2
    assert all(group.startswith("0::/distributions/") for group in groups)
    assert cli.text("-e", "cat", "/proc/self/cgroup") == "0::/"


def test_a_distribution_sees_its_own_processes_only(cli: Isthmus, other: str) -> None:
    with cli.started("-d", other, "-e", "sh", "-c", "echo ready; exec sleep 4712") as command:
        assert command.stdout.readline() == b"ready\n"
        assert "4712" in cli.text("-d", other, "ps")
        assert "4712" not in cli.text("-d", TINY, "ps")
        assert cli.run("-d", TINY, "-e", "killall", "sleep").returncode == 1
        assert command.process.poll() is None


def test_files_are_apart_but_for_the_shared_directory(cli: Isthmus, other: str) -> None:
    cli.ok("-d", TINY, "echo mine > /tmp/file; echo ours > /mnt/wsl/file")
    assert cli.run("-d", other, "-e", "cat", "/tmp/file").returncode == 1
    assert cli.text("-d", other, "cat /mnt/wsl/file; rm /mnt/wsl/file") == "ours"
    cli.ok("rm /tmp/file")


def test_the_network_is_one(cli: Isthmus, other: str) -> None:
    """A server in one distribution is at localhost in the other, as with WSL."""
    with cli.started("-d", other, "-e", "nc", "-l", "-p", "4713", "-e", "echo", "hello"):
        script = "until nc 127.0.0.1 4713 </dev/null 2>/dev/null; do sleep 0.05; done"
        assert cli.text("-d", TINY, script, timeout=120) == "hello"


def test_the_agents_files_cannot_be_changed_from_inside(cli: Isthmus) -> None:
    done = cli.run("touch /run/isthmus/x; echo x > /run/isthmus/distro-init")
    assert done.returncode == 1
    assert done.stderr.count(b"Read-only file system") == 2


def test_what_a_command_leaves_stays(cli: Isthmus) -> None:
    """Mounts and background processes belong to the distribution, not to the session."""
    cli.ok("mkdir /tmp/m; mount -t tmpfs none /tmp/m; echo x > /tmp/m/y")
    assert cli.text("-e", "cat", "/tmp/m/y") == "x"
    cli.ok("umount /tmp/m; rmdir /tmp/m")


@pytest.mark.network
@pytest.mark.timeout(600)
def test_debian_installs_packages(cli: Isthmus, debian: str) -> None:
    """Name resolution, the network, apt, dpkg and its maintainer scripts, all for real."""
    release = cli.text("-d", debian, "-e", "cat", "/etc/os-release")
    assert "ID=debian" in release.splitlines()
    update = cli.run("-d", debian, "-e", "apt-get", "-q", "update", timeout=300)
    assert (update.returncode, update.stderr) == (0, b""), update
    install = cli.run("-d", debian, "-e", "apt-get", "-qy", "install", "hello", timeout=200)
    assert install.returncode == 0, install
    assert cli.text("-d", debian, "hello") == "Hello, world!"
    row = next(row for row in cli.json("--list", "--json") if row["name"] == debian)
    assert (row["state"], row["flavor"]) == ("Running", "debian")


@pytest.mark.network
@pytest.mark.timeout(400)
def test_debians_login_shell_is_bash(cli: Isthmus, debian: str) -> None:
    assert cli.ok("-d", debian, input=b"echo $0 $BASH\n") == b"-bash /bin/bash\n"
    assert cli.text("-d", debian, "locale 2>&1 | head -1") == "LANG=C.UTF-8"
