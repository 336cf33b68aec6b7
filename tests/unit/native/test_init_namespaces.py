"""What a distribution is: its namespaces, mounts, limits, and its pid 1."""

from __future__ import annotations

import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from guest.initclient import Bind
from tests.unit.native.harness import Client, Init, Launcher, namespaces, pids_cgroup, shell

assert sys.platform != "win32"

CAP_SYS_RESOURCE = 1 << 24  # linux/capability.h


def may_raise_limits() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff"))
    return bool(int(effective.split()[1], 16) & CAP_SYS_RESOURCE)


def mounts_of(pid: int) -> dict[str, tuple[str, set[str]]]:
    """Type and options by mount point, as the process sees them."""
    lines = Path(f"/proc/{pid}/mounts").read_text().splitlines()
    return {
        point: (kind, set(options.split(",")))
        for _, point, kind, options, *_ in map(str.split, lines)
    }


def test_namespaces_are_its_own_but_for_the_network(init: Init) -> None:
    mine, theirs = namespaces("self"), namespaces(init.pid)
    shared = {kind for kind, name in mine.items() if theirs[kind] == name}
    assert shared == {"net", "user"}


def test_processes_are_below_pid_1_and_see_only_themselves(client: Client) -> None:
    result = client.sh("cat /proc/1/comm; echo $PPID $$; ls -d /proc/[0-9]*")
    name, parent, pid, *processes = result.stdout.decode().split()
    assert (name, parent, pid) == ("distro-init", "1", str(result.reply.pid))
    assert len(processes) <= 3  # and ls, unless the shell has become it
    assert {"/proc/1", f"/proc/{pid}"} <= set(processes)


def test_host_name(client: Client) -> None:
    assert client.sh("hostname").stdout == b"isthmus-test\n"
    assert os.uname().nodename != "isthmus-test"


def test_mounts(init: Init) -> None:
    mounts = mounts_of(init.pid)
    kinds = {point: kind for point, (kind, _) in mounts.items() if point != "/"}
    assert kinds.pop("/proc/sys/fs/binfmt_misc", "binfmt_misc") == "binfmt_misc"
    assert kinds == {
        "/proc": "proc",
        "/sys": "sysfs",
        "/sys/fs/cgroup": "cgroup2",
        "/dev": "devtmpfs",
        "/dev/pts": "devpts",
        "/dev/ptmx": "devpts",
        "/dev/shm": "tmpfs",
        "/dev/mqueue": "mqueue",
        "/run": "tmpfs",
    }
    assert {"gid=5", "mode=620", "ptmxmode=666"} <= mounts["/dev/pts"][1]
    assert "mode=755" in mounts["/run"][1]


def test_mounts_are_private_and_the_old_root_is_gone(init: Init, client: Client) -> None:
    lines = Path(f"/proc/{init.pid}/mountinfo").read_text().splitlines()
    assert not [line for line in lines if "shared:" in line or "master:" in line]
    assert not Path(f"/proc/{init.pid}/root/work").exists()
    assert client.sh("ls -a /").stdout.split() == sorted(
        b". .. bin dev etc home proc run sys tmp".split()
    )
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if "native" in line]


def test_mount_points_have_their_modes(client: Client) -> None:
    result = client.sh("stat -c %a /dev/shm /run /dev/pts/ptmx /dev/ptmx; ls /sys/class >/dev/null")
    assert (result.status, result.stdout.split()) == (0, [b"1777", b"755", b"666", b"666"])


def test_standard_device_links(client: Client) -> None:
    script = (
        "for name in fd stdin stdout stderr; do readlink /dev/$name; done; echo x > /dev/stdout"
    )
    expected = b"/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\nx\n"
    assert client.sh(script).stdout == expected


def test_terminals_are_the_distributions_own(init: Init, client: Client) -> None:
    reply = client.open("/dev/ptmx", os.O_RDWR)
    assert reply.error == 0
    devpts = os.stat(f"/proc/{init.pid}/root/dev/pts").st_dev
    assert os.fstat(reply.fd).st_dev == devpts != os.stat("/dev/pts").st_dev
    assert client.sh("ls /dev/pts").stdout.split() == [b"0", b"ptmx"]
    os.close(reply.fd)


def test_a_terminal_whatever_lies_at_its_path(client: Client) -> None:
    assert client.sh("touch /tmp/file && mount -o bind /tmp/file /dev/ptmx").status == 0
    reply = client.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    assert client.sh("umount /dev/ptmx").status == 0
    assert os.isatty(reply.fd)
    os.close(reply.fd)


def test_limits_and_scores(init: Init, client: Client) -> None:
    result = client.sh("ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj; umask")
    soft, hard, score, mask = result.stdout.decode().split()
    assert (soft, score, mask) == ("10240", "0", "0022")
    if may_raise_limits():
        assert hard == "1048576"
        assert Path(f"/proc/{init.pid}/oom_score_adj").read_text() == "-1000\n"
    else:
        assert "RLIMIT_NOFILE" in init.log()
        assert "OOM killer" in init.log()


def test_pid_1_holds_little(init: Init) -> None:
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{init.pid}/status").read_text().splitlines()
    )
    assert status["Threads"] == "1"
    assert Path(f"/proc/{init.pid}/cwd").readlink() == Path(f"/proc/{init.pid}/root").readlink()
    targets = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{init.pid}/fd")]
    kept = {target for target in targets if not target.startswith("socket:")}
    logs = {target for target in kept if target.endswith("/log")}
    assert len(logs) == 1
    assert kept - logs == {*("/dev/null", "/", "/proc", "/dev/pts/ptmx", "anon_inode:[signalfd]")}


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "KILL", "STOP", "SEGV", "CHLD", "USR1"])
def test_pid_1_cannot_be_signalled_from_inside(init: Init, client: Client, name: str) -> None:
    assert client.sh(f"kill -{name} 1").status == 0
    assert client.sh("true").status == 0
    assert init.is_alive()


def test_sigterm_from_outside_does_not_end_pid_1(init: Init, client: Client) -> None:
    os.kill(init.pid, signal.SIGTERM)
    os.kill(init.pid, signal.SIGPIPE)
    assert client.sh("true").status == 0
    assert init.is_alive()


def test_when_pid_1_dies_so_does_everything(launcher: Launcher) -> None:
    init = launcher.start()
    client = init.connect()
    read, write = os.pipe()
    with open(os.devnull, "rb") as null:
        reply = client.spawn(shell("sleep 1000"), (null.fileno(), write, null.fileno()))
    os.close(write)
    assert reply.error == 0
    os.kill(init.pid, signal.SIGKILL)
    assert os.read(read, 1) == b""  # the last writer is gone
    os.close(read)


def test_the_cgroup_is_joined_before_its_namespace_is_made(launcher: Launcher) -> None:
    with pids_cgroup(100) as cgroup:
        init = launcher.start(cgroup=cgroup)
        assert str(init.pid) in Path(cgroup, "cgroup.procs").read_text().split()
        client = init.connect()
        # The cgroup reads as "/" inside.
        assert {
            line.split(":")[2]
            for line in client.sh("cat /proc/self/cgroup").stdout.decode().split()
        } == {"/"}


def test_binds(launcher: Launcher, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "inside").write_text("directory")
    file = tmp_path / "file"
    file.write_text("a file")
    init = launcher.start(
        binds=[
            Bind(str(shared), "/mnt/a/b"),
            Bind(str(shared), "/run/isthmus", read_only=True),
            Bind(str(file), "/opt/program"),
        ]
    )
    client = init.connect()
    assert client.sh("cat /mnt/a/b/inside /run/isthmus/inside /opt/program").stdout == (
        b"directorydirectorya file"
    )
    assert client.sh("echo new > /mnt/a/b/new").status == 0
    assert (shared / "new").read_text() == "new\n"
    assert b"Read-only file system" in client.sh("echo x > /run/isthmus/new").stderr
    # What was made for them is plain, and stays when they are gone.
    assert stat.S_IMODE((init.root / "mnt/a").stat().st_mode) == 0o755
    assert (init.root / "opt/program").read_bytes() == b""


def test_mounts_made_inside_stay_inside(init: Init, client: Client) -> None:
    assert (
        client.sh("mkdir -p /tmp/m && mount -t tmpfs none /tmp/m && echo x > /tmp/m/x").status == 0
    )
    assert not (init.root / "tmp/m/x").exists()
    assert client.sh("umount /tmp/m").status == 0


def test_two_distributions_at_once(launcher: Launcher, init: Init) -> None:
    other = launcher.start(hostname="other")
    mine, theirs = namespaces(init.pid), namespaces(other.pid)
    assert {kind for kind in mine if mine[kind] == theirs[kind]} == {"net", "user"}
    client = other.connect()
    assert client.sh("hostname; touch /dev/shm/x /run/x").stdout == b"other\n"
    assert client.sh("ls /dev/shm /run").stdout.count(b"x") == 2
    assert init.connect().sh("ls /dev/shm /run").stdout.count(b"x") == 0
