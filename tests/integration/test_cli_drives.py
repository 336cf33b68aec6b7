"""The host's drives in distributions, on the real machine: mounted, used, lost, found again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import psutil
import pytest

from tests.integration.cli_harness import (
    TINY,
    Isthmus,
    RootTar,
    kill_and_wait,
    make_tiny,
    wait_until,
)

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module", autouse=True)
def alone(cli: Isthmus) -> None:
    """Servers are counted here: no distribution of other tests may have drives mounted."""
    cli.ok("--shutdown")


def servers(isthmus: Isthmus, directory: Path) -> list[psutil.Process]:
    """The processes that serve `directory` to a distribution."""
    found = []
    for process in isthmus.service().children():
        try:
            arguments = process.cmdline()
        except psutil.Error:  # it is ending
            continue
        if "interop.drives" in arguments and str(directory) in arguments:
            found.append(process)
    return found


def test_drives_are_there(cli: Isthmus) -> None:
    """What the guest makes of it and the host's file system say the same of a new file."""
    (cli.drive_c / "from-host").write_text("host\n")
    assert cli.text("cat /mnt/c/from-host") == "host"
    boot = cli.text("cat /proc/sys/kernel/random/boot_id | tee /mnt/d/from-guest")
    assert (cli.drive_d / "from-guest").read_text() == f"{boot}\n"
    lines = cli.text("grep ' /mnt/[cd] ' /proc/self/mountinfo").splitlines()
    assert sorted(line.split(" - ")[1].split()[:2] for line in lines) == [
        ["fuse.drvfs", "C:\\134"],
        ["fuse.drvfs", "D:\\134"],
    ]
    assert all("noatime" in line for line in lines)
    assert cli.text("stat -c %u:%g:%a /mnt/c/from-host") == "0:0:777"


def test_large_contents_pass_by_a_disk(cli: Isthmus) -> None:
    """Both ways, whole; the file that is the disk has had them in it."""
    data = os.urandom((20 << 20) + 70_000)
    digest = hashlib.sha256(data).hexdigest()
    (cli.drive_c / "large").write_bytes(data)
    assert cli.text("sha256sum < /mnt/c/large").split()[0] == digest

    def bulk() -> list[Path]:
        opened = (Path(file.path) for file in cli.qemu().open_files())
        return [path for path in opened if path.suffix == ".bulk"]

    wait_until(bulk, "a disk for large contents")
    (file,) = bulk()
    assert file.stat().st_mode & 0o077 == 0

    def has_carried() -> bool:
        """O_DIRECT: the kernel has to ask for it again."""
        read = "dd if=/mnt/c/large iflag=direct bs=1M 2>/dev/null | sha256sum"
        assert cli.text(read).split()[0] == digest
        carried = file.read_bytes()[:1000]
        return any(carried) and carried in data

    wait_until(has_carried, "contents to pass by it")
    cli.ok(
        "-e", "sh", "-c", "cp /mnt/c/large /root/copy; cp /root/copy /mnt/c/written; rm /root/copy"
    )
    assert hashlib.sha256((cli.drive_c / "written").read_bytes()).hexdigest() == digest
    for name in ("large", "written"):
        (cli.drive_c / name).unlink()


def test_a_killed_server_is_replaced(cli: Isthmus) -> None:
    """What is open fails at worst; what is asked by its path afterwards is right."""
    directory = cli.drive_d / "killed"
    (directory / "below").mkdir(parents=True)
    (directory / "below" / "file").write_text("1\n")
    wait_until(lambda: servers(cli, cli.drive_d), "the server to run")
    with cli.started("-e", "sh", "-c", "cd /mnt/d/killed/below; cat file; read x; cat file") as it:
        assert it.stdout.readline() == b"1\n"
        (server,) = servers(cli, cli.drive_d)
        kill_and_wait(server)
        (directory / "below" / "file").write_text("2, longer\n")
        path = "/mnt/d/killed/below/file"
        wait_until(lambda: cli.text(f"cat {path}") == "2, longer", "the new content")
        assert servers(cli, cli.drive_d) != [server]
    assert cli.text("echo 3 > /mnt/d/killed/below/file; cat /mnt/c/from-host") == "host"
    assert (directory / "below" / "file").read_text() == "3\n"


def test_a_server_that_hangs(cli: Isthmus) -> None:
    """What waits for it keeps neither the distribution from ending, nor the next start."""
    cli.ok("ls /mnt/d /mnt/c")
    (server,) = servers(cli, cli.drive_d)
    server.suspend()
    try:
        with cli.started("-e", "sh", "-c", "echo asking; cat /mnt/d/not-looked-up") as it:
            assert it.stdout.readline() == b"asking\n"
            cli.ok("--terminate", TINY)
            it.status()
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            server.resume()
    (cli.drive_d / "after").write_text("after\n")
    assert cli.text("cat /mnt/d/after") == "after"


def test_status_shows_every_mount(cli: Isthmus) -> None:
    cli.ok("ls /mnt/c /mnt/d")
    wait_until(
        lambda: (
            {drive["state"] for drive in cli.json("--status", "--json")["drives"]} == {"watching"}
        ),
        "all drives to be watched",
    )
    mine = [row for row in cli.json("--status", "--json")["drives"] if row["distribution"] == TINY]
    assert [(row["source"], row["place"], row["directory"]) for row in mine] == [
        ("C:\\", "/mnt/c", str(cli.drive_c)),
        ("D:\\", "/mnt/d", str(cli.drive_d)),
    ]
    assert "Drive C:\\ at /mnt/c of tiny: watching" in cli.text("--status")


def test_unmounting_ends_the_server(cli: Isthmus, other: str) -> None:
    cli.ok("-d", other, "cat /mnt/c/from-host")
    before = len(servers(cli, cli.drive_c))
    cli.ok("-d", other, "-u", "root", "umount /mnt/c")
    wait_until(lambda: len(servers(cli, cli.drive_c)) == before - 1, "the server to end")
    assert cli.text("cat /mnt/c/from-host") == "host"
    cli.ok("--terminate", other)
    assert cli.text("-d", other, "cat /mnt/c/from-host") == "host"


def test_drives_outlive_the_agent(cli: Isthmus) -> None:
    """Another one finds the pumps that run, and those that ended while there was none."""
    cli.run("--terminate", "other")  # where another test has started it
    (cli.drive_c / "before").write_text("before\n")
    assert cli.text("cat /mnt/c/before /mnt/d/*/none 2>/dev/null; true") == "before"
    script = r"""
        agent=$(pidof python3); kill -STOP $agent
        for pump in $(pidof drive-pump); do
            tr '\0' '\n' < /proc/$pump/cmdline | grep -qx /mnt/d && kill -9 $pump
        done
        kill -9 $agent
    """
    cli.run("--system", "-e", "sh", "-c", script)
    wait_until(lambda: not servers(cli, cli.drive_d), "the end of the server without a pump")
    # A listing may still be in the kernel's memory.
    assert cli.run("echo late > /mnt/d/late").returncode != 0
    assert not (cli.drive_d / "late").exists()
    (server,) = servers(cli, cli.drive_c)
    (cli.drive_c / "before").write_text("meanwhile\n")
    wait_until(lambda: cli.text("cat /mnt/c/before") == "meanwhile", "the other drive to go on")
    kill_and_wait(server)
    wait_until(lambda: cli.run("cat /mnt/c/before").stdout == b"meanwhile\n", "another server")
    cli.ok("-u", "root", "umount /mnt/c /mnt/d")
    wait_until(lambda: not servers(cli, cli.drive_c), "the server to end with its mount")
    cli.ok("--terminate", TINY)
    assert cli.text("cat /mnt/c/before; test -d /mnt/d && echo both") == "meanwhile\nboth"


def test_a_drive_that_is_unplugged(cli: Isthmus) -> None:
    """Its files fail, nothing hangs, and the other drives go on."""
    gone = cli.home / "wine" / "drive_e"
    gone.mkdir()
    (gone / "file").write_text("e\n")
    link = cli.home / "wine" / "dosdevices" / "e:"
    link.symlink_to("../drive_e")
    try:
        cli.ok("--terminate", TINY)
        assert cli.text("cat /mnt/e/file") == "e"
        (gone / "file").unlink()
        gone.rmdir()
        assert cli.run("cat /mnt/e/other").returncode != 0
        assert cli.run("echo x > /mnt/e/new").returncode != 0
        assert cli.text("cat /mnt/c/from-host") == "host"
    finally:
        link.unlink()
        cli.ok("--terminate", TINY)
    assert cli.run("test -d /mnt/e && ls -A /mnt/e").stdout == b""


def test_wsl_conf_decides_how_drives_are_mounted(cli: Isthmus, tmp_path: Path) -> None:
    conf = b"[automount]\nroot = /drives/\noptions = metadata,umask=027\n[user]\ndefault = ada\n"
    with cli.having("conf", make_tiny(tmp_path / "conf.tar", [("./etc/wsl.conf", conf)])):
        seen = cli.text(
            "-d", "conf", "touch /drives/c/made; stat -c %U:%a /drives/c /drives/c/made"
        )
        assert seen == "ada:750\nada:644"
        assert os.getxattr(cli.drive_c / "made", "user.LXUID") == (1000).to_bytes(4, "little")
        assert cli.run("-d", "conf", "test -e /mnt/c").returncode == 1
    conf = b"[automount]\nenabled = false\n"
    with cli.having("conf", make_tiny(tmp_path / "conf.tar", [("./etc/wsl.conf", conf)])):
        assert cli.run("-d", "conf", "grep drvfs /proc/self/mountinfo").stdout == b""
    conf = b"[automount]\noptions = metadata,nonsense=1\n"
    with cli.having("conf", make_tiny(tmp_path / "conf.tar", [("./etc/wsl.conf", conf)])):
        done = cli.run("-d", "conf", "echo started")
        assert done.stdout == b"started\n"
        assert b"drive C: was not mounted: mount option 'nonsense=1'" in done.stderr


def test_fstab_comes_first(cli: Isthmus, tmp_path: Path) -> None:
    """A drive that /etc/fstab mounts is not mounted a second time; others still are."""
    fstab = b"# drives\nC: /srv/c drvfs metadata,uid=1000 0 0\ntmpfs /srv/t tmpfs size=1m 0 0\n"
    tar = RootTar(tmp_path / "fstab.tar").add_system()
    for name in ("./srv", "./srv/c", "./srv/t"):
        tar.directory(name)
    tar.add("./etc/fstab", fstab)
    with cli.having("fstab", tar.close()):
        rows = cli.text("-d", "fstab", "grep -e drvfs -e /srv /proc/self/mounts").splitlines()
        seen = {tuple(row.split()[:3]) for row in rows}
        assert seen == {
            ("C:\\134", "/srv/c", "fuse.drvfs"),
            ("tmpfs", "/srv/t", "tmpfs"),
            ("D:\\134", "/mnt/d", "fuse.drvfs"),
        }
        assert cli.text("-d", "fstab", "cat /srv/c/from-host; stat -c %u /srv/c") == "host\n1000"


def test_mounting_by_hand(cli: Isthmus) -> None:
    """Any drive, any directory of it, several times, with options, as mount(8) does it."""
    root = ("-u", "root", "-e", "sh", "-ec")
    (cli.drive_c / "sub").mkdir(exist_ok=True)
    (cli.drive_c / "sub" / "file").write_text("below\n")
    script = r"""
        mkdir -p /srv/a /srv/b
        mount -t drvfs C: /srv/a -o metadata,uid=1001,fmask=111
        /sbin/mount.drvfs 'C:\sub' /srv/b -o ro
        stat -c %u:%a /srv/a/from-host
        cat /srv/a/sub/file /srv/b/file /mnt/c/sub/file
        touch /srv/b/no 2>/dev/null || echo read-only
        mount -o remount,ro /srv/a
        touch /srv/a/no 2>/dev/null || echo read-only
        mount -o remount,rw /srv/a
        echo again > /srv/a/sub/file
        wslpath -w /srv/b/file
    """
    assert cli.text(*root, script).splitlines() == [
        "1001:666",
        *["below"] * 3,
        "read-only",
        "read-only",
        "C:\\sub\\file",
    ]
    assert not list(cli.drive_c.rglob("no"))
    assert (cli.drive_c / "sub" / "file").read_text() == "again\n"
    wait_until(lambda: cli.text("cat /mnt/c/sub/file") == "again", "the other mount to show it")
    assert cli.text(*root, "umount /srv/a /srv/b; ls -A /srv/a /srv/b") == "/srv/a:\n\n/srv/b:"


def test_mounting_with_debians_own_mount(cli: Isthmus, debian: str) -> None:
    """util-linux passes everything on, and asks its helper to remount."""
    root = ("-d", debian, "-u", "root", "-e", "sh", "-ec")
    script = r"""
        mkdir -p /srv/a
        echo 'C: /srv/a drvfs ro,noexec,metadata,nofail 0 0' >> /etc/fstab
        mount -a
        findmnt -no FSTYPE,SOURCE,OPTIONS /srv/a
        touch /srv/a/no 2>/dev/null || echo read-only
        umount /srv/a; mount C: /srv/a -t drvfs -o uid=7
        stat -c %u /srv/a
        mount -o remount,ro /srv/a
        touch /srv/a/no 2>/dev/null || echo read-only
        umount /srv/a; sed -i /drvfs/d /etc/fstab
    """
    table, *rest = cli.text(*root, script).splitlines()
    kind, source, options = table.split()
    assert (kind, source) == ("fuse.drvfs", "C:\\")
    assert {"ro", "noexec"} <= set(options.split(","))
    assert rest == ["read-only", "7", "read-only"]
    assert not list(cli.drive_c.rglob("no"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("'Q:' /srv/a", "'Q:' is on no drive"),
        ("'C:\\nothing' /srv/a", "is no directory of the host"),
        ("'\\\\server\\share' /srv/a", "is on no drive"),
        ("relative /srv/a", "'relative' is not an absolute Windows path"),
        ("C: /srv/a -o umask=9", "mount option 'umask=9'"),
        ("C: /srv/nowhere", "No such file or directory"),
    ],
)
def test_what_cannot_be_mounted(cli: Isthmus, arguments: str, says: str) -> None:
    script = f"mkdir -p /srv/a; mount -t drvfs {arguments}"
    done = cli.run("-u", "root", "-e", "sh", "-c", script)
    assert done.returncode != 0 and says in done.stderr.decode(), done
    assert cli.run("grep /srv/a /proc/self/mounts").returncode == 1


def test_only_root_mounts(cli: Isthmus) -> None:
    done = cli.run("-u", "ada", "/sbin/mount.drvfs C: /home/ada")
    assert done.returncode == 32 and b"only root" in done.stderr


def test_the_user_decides_which_drives_there_are(fresh: Isthmus, tiny_tar: Path) -> None:
    file = fresh.home / "wslconfig"
    fresh.environment["ISTHMUS_WSLCONFIG"] = str(file)
    file.write_text("[wsl2]\nhostFileSystemAccess = d\n")
    fresh.make(TINY, tiny_tar)
    (fresh.drive_d / "file").write_text("d\n")
    assert fresh.text("cat /mnt/d/file; ls /mnt") == "d\nd\nwsl"
    file.write_text("[wsl2]\nhostFileSystemAccess = false\n")
    fresh.ok("--terminate", TINY)
    assert fresh.text("grep drvfs /proc/self/mountinfo || echo none") == "none"
