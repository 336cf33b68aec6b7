"""Distributions as things: imported, exported, listed, stopped, forgotten."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import lzma
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli_harness import (
    BOOT_TIMEOUT_S,
    TINY,
    Isthmus,
    RootTar,
    make_tiny,
    require,
    wait_until,
)

pytestmark = pytest.mark.vm

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
"""security.capability of a program with cap_net_raw=ep (linux/capability.h, vfs_cap_data)."""
NAMES = [
    *("plain", "setuid", "nobody-may", "top-ids", "attributes", "hard", "relative", "dangling"),
    *("outside", "null", "loop", "fifo", "sparse", "latin1-\udce4"),
]
LONG = "a-rather-long-name-" * 12


# -- round trip ------------------------------------------------------------------------------------


def make_rich(path: Path) -> Path:
    """A root with one of everything that a tar can carry, below /data."""
    tar = RootTar(path).add_system()
    tar.directory("./data", 0o2750, 1000)
    tar.add("./data/plain", b"content", uid=12345, gid=54321, mode=0o640, mtime=1_000_000_000)
    tar.add("./data/setuid", b"#!", mode=0o6755)
    tar.add("./data/nobody-may", b"", mode=0)
    tar.add("./data/top-ids", b"", uid=4294967294, gid=4294967294)
    tar.add(f"./data/{LONG}", b"long")
    tar.add("./data/latin1-\udce4", b"not UTF-8")
    tar.add("./data/new\nline and blank", b"")
    tar.add(
        "./data/attributes",
        b"",
        pax_headers={
            "SCHILY.xattr.user.note": "ünïcode",
            "LIBARCHIVE.xattr.security.capability": base64.b64encode(CAPABILITY).decode(),
        },
    )
    tar.link("./data/hard", "./data/plain", hard=True)
    tar.link("./data/relative", "plain")
    tar.link("./data/dangling", "/no/such/place")
    tar.link("./data/outside", "../../../../etc/passwd")
    tar.add("./data/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    tar.add("./data/loop", type=tarfile.BLKTYPE, devmajor=7, devminor=0, mode=0o660, gid=6)
    tar.add("./data/fifo", type=tarfile.FIFOTYPE, mode=0o600)
    return tar.close()


Member = tuple[bytes, int, int, int, int, str, int, int, str, str]


def members(archive: bytes) -> dict[str, Member]:
    """What an exported tar says of everything below /data."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*", encoding="utf-8") as tar:
        for info in tar:
            if not info.name.startswith("./data"):
                continue
            file = tar.extractfile(info) if info.isreg() and not info.sparse else None
            found[info.name] = (
                info.type,
                info.mode,
                info.uid,
                info.gid,
                int(info.mtime),
                info.linkname,
                info.devmajor,
                info.devminor,
                info.pax_headers.get("SCHILY.xattr.user.note", ""),
                file.read().decode() if file else "",
            )
    # Which name of a file comes first, and so holds its content, is the directory's own affair.
    for name, link in list(found.items()):
        if link[0] == tarfile.LNKTYPE:
            whole = found[link[5]]
            first, second = sorted((name, link[5]))
            found[first], found[second] = whole, (*link[:5], first, *link[6:])
    return found


_MAGIC = (("tar", 257, b"ustar"), ("tar.gz", 0, b"\x1f\x8b"), ("tar.xz", 0, b"\xfd7zXZ"))


def test_what_goes_in_comes_out(cli: Isthmus, tmp_path: Path) -> None:
    """Import, look at it from inside, export in every form, import that, export again."""
    with cli.having("rich", make_rich(tmp_path / "rich.tar")):
        _check_inside(cli)
        cli.ok("-d", "rich", "truncate -s 1G /data/sparse; printf end >> /data/sparse")
        first = cli.ok("--export", "rich", "-")
        for format, at, magic in _MAGIC:
            path = tmp_path / f"out.{format}"
            done = cli.run("--export", "rich", str(path), "--format", format)
            assert done.returncode == 0, done
            archive = path.read_bytes()
            assert archive.startswith(magic, at)
            assert members(archive) == members(first), format
    before = members(first)
    assert set(before) == {
        "./data",
        f"./data/{LONG}",
        "./data/new\nline and blank",
        *(f"./data/{name}" for name in NAMES),
    }
    assert before["./data/attributes"][-2] == "ünïcode"
    assert len(first) < 16 * 2**20  # the sparse file's gigabyte is not in it
    again = cli.run("--import", "again", str(tmp_path / "again"), "-", input=first)
    assert again.returncode == 0, again
    try:
        assert members(cli.ok("--export", "again", "-")) == before
        assert cli.text("-d", "again", "-e", "stat", "-c", "%s", "/data/sparse") == str(2**30 + 3)
        assert int(cli.text("-d", "again", "-e", "stat", "-c", "%b", "/data/sparse")) < 100
    finally:
        cli.run("--unregister", "again")


def _check_inside(cli: Isthmus) -> None:
    format = "%n %A %u:%g %t,%T %h %Y"
    names = ["plain", "setuid", "nobody-may", "top-ids", "null", "loop", "fifo", "."]
    lines = cli.text("-d", "rich", "--cd", "/data", "-e", "stat", "-c", format, *names).splitlines()
    seen = {line.split()[0]: line.split()[1:] for line in lines}
    assert seen["plain"] == ["-rw-r-----", "12345:54321", "0,0", "2", "1000000000"]
    assert seen["setuid"][0] == "-rwsr-sr-x"
    assert seen["nobody-may"][0] == "----------"
    assert seen["top-ids"][1] == "4294967294:4294967294"
    assert seen["null"][:3] == ["crw-rw-rw-", "0:0", "1,3"]
    assert seen["loop"][:3] == ["brw-rw----", "0:6", "7,0"]
    assert seen["fifo"][0] == "prw-------"
    assert seen["."][:2] == ["drwxr-s---", "1000:1000"]
    links = cli.text(
        "-d", "rich", "cd /data; for l in relative dangling outside; do readlink $l; done; cat hard"
    )
    assert links == "plain\n/no/such/place\n../../../../etc/passwd\ncontent"
    assert cli.ok("-d", "rich", "printf %s /data/latin1-*") == b"/data/latin1-\xe4"


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_archives(
    cli: Isthmus, tiny_tar: Path, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    """Told by what is inside, whatever the file is called; several members make one archive."""
    data = tiny_tar.read_bytes()
    packed = tmp_path / "root.whatever"
    packed.write_bytes(compress(data[: len(data) // 2]) + compress(data[len(data) // 2 :]))
    with cli.having("packed", packed):
        assert cli.text("-d", "packed", "-e", "echo", "runs") == "runs"


def test_other_archives_that_bsdtar_reads(cli: Isthmus, tmp_path: Path) -> None:
    """A cpio archive, of little more than a shell."""
    bsdtar, busybox = shutil.which("bsdtar"), shutil.which("busybox")
    require(bsdtar is not None and busybox is not None, "bsdtar and busybox-static are needed")
    assert bsdtar is not None
    assert busybox is not None
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "etc").mkdir()
    shutil.copy(busybox, root / "bin" / "sh")
    archive = tmp_path / "root.cpio"
    argv = [bsdtar, "-c", "--format", "newc", "-f", str(archive), "-C", str(root), "."]
    subprocess.run(argv, check=True, timeout=60)
    with cli.having("cpio", archive):
        assert cli.text("-d", "cpio", "echo runs") == "runs"


def test_export_of_a_running_distribution_leaves_it_usable(cli: Isthmus, other: str) -> None:
    cli.ok("-d", other, "echo fresh > /root/fresh")
    archive = cli.ok("--export", other, "-")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile("./root/fresh")
        assert file is not None
        assert file.read() == b"fresh\n"
    assert cli.text("-d", other, "cat /root/fresh; rm /root/fresh") == "fresh"


def test_a_reader_of_an_export_that_has_enough(cli: Isthmus) -> None:
    """`lx --export X - | head -c 1` ends, and the distribution is free again."""
    with cli.started("--export", TINY, "-") as command:
        assert len(command.stdout.read(1)) == 1
        command.stdout.close()
        assert command.status() == 128 + 13
        assert command.stderr.read() == b""
    assert cli.text("-e", "echo", "free") == "free"


# -- listing ---------------------------------------------------------------------------------------


def test_lists(cli: Isthmus, other: str) -> None:
    cli.ok("-d", TINY, "true")
    cli.ok("--terminate", other)
    assert cli.text("--list").splitlines()[:2] == ["Isthmus Distributions:", f"{TINY} (Default)"]
    assert other in cli.text("-l", "-q").splitlines()
    assert cli.text("--list", "--running", "--quiet").splitlines() == [TINY]
    rows = [line.split() for line in cli.text("-l", "-v").splitlines()]
    assert rows[0] == ["NAME", "STATE", "VERSION"]
    assert rows[1] == ["*", TINY, "Running", "2"]
    assert [other, "Stopped", "2"] in rows
    assert cli.text("--list", "--online").splitlines()[2].split() == ["NAME", "FRIENDLY", "NAME"]
    by_name = {row["name"]: row for row in cli.json("--list", "--json")}
    assert by_name[TINY]["default"] is True
    assert by_name[TINY]["os_version"] == "1.0"
    assert by_name[other]["state"] == "Stopped"
    assert 0 < by_name[other]["disk_bytes"] < 100 * 2**20


def test_lists_of_nothing(fresh: Isthmus) -> None:
    done = fresh.run("--list")
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"no installed distributions" in done.stderr
    assert fresh.run("--list", "--quiet").returncode == 0
    assert fresh.json("--list", "--json") == []
    running = fresh.run("--list", "--running")
    assert (running.returncode, running.stderr) == (255, b"There are no running distributions.\n")
    command = fresh.run("-e", "true")
    assert command.returncode == 255
    assert b"No distribution is installed" in command.stderr
    assert b"Error code" not in command.stderr  # wsl.exe shows none here
    assert not fresh.qemus()


def test_default_distribution(cli: Isthmus, other: str) -> None:
    cli.ok("--set-default", other.upper())
    try:
        assert cli.text("echo $WSL_DISTRO_NAME") == other
        assert cli.text("--list").splitlines()[1] == f"{other} (Default)"
    finally:
        cli.ok("-s", TINY)
    assert cli.text("echo $WSL_DISTRO_NAME") == TINY


# -- ends ------------------------------------------------------------------------------------------


def test_terminate(cli: Isthmus, other: str) -> None:
    """What runs inside is asked to end; the other distribution does not notice."""
    script = (
        "trap 'echo asked > /root/asked; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    )
    with (
        cli.started("-d", other, "-e", "sh", "-c", script) as command,
        cli.started("-d", TINY, "-e", "cat", stdin=subprocess.PIPE) as bystander,
    ):
        assert command.stdout.readline() == b"ready\n"
        cli.ok("--terminate", other)
        assert command.status() == 0
        bystander.stdin.write(b"alive\n")
        bystander.stdin.flush()
        assert bystander.stdout.readline() == b"alive\n"
    assert cli.text("-d", other, "cat /root/asked; rm /root/asked") == "asked"


def test_terminate_kills_what_does_not_listen(cli: Isthmus, other: str) -> None:
    script = "trap '' TERM HUP INT; echo ready; while :; do sleep 0.05; done"
    with cli.started("-d", other, "-e", "sh", "-c", script) as command:
        assert command.stdout.readline() == b"ready\n"
        cli.ok("-t", other)
        assert command.status() == 128 + 9


def test_unregister(cli: Isthmus, tiny_tar: Path) -> None:
    """While it runs: its command ends, its disk goes, its name is free."""
    place = cli.make("doomed", tiny_tar)
    assert list(place.iterdir())
    with cli.started("-d", "doomed", "-e", "sleep", "300") as command:
        wait_until(lambda: cli.run("-d", "doomed", "-e", "pidof", "sleep").stdout, "sleep to run")
        cli.ok("--unregister", "doomed")
        assert command.status() == 128 + 9
    assert not place.exists()
    assert "doomed" not in cli.registered()
    assert cli.run("-d", "doomed", "-e", "true").returncode == 255


@pytest.mark.parametrize("option", ["--terminate", "--unregister", "--set-default"])
def test_unknown_names(cli: Isthmus, option: str) -> None:
    done = cli.run(option, "DoesNotExist")
    assert done.returncode == 255
    assert b"Error code: Wsl/Service/WSL_E_DISTRO_NOT_FOUND" in done.stderr.splitlines()


def test_export_of_an_unknown_name_makes_no_file(cli: Isthmus, tmp_path: Path) -> None:
    done = cli.run("--export", "DoesNotExist", str(tmp_path / "out.tar"))
    assert done.returncode == 255
    assert b"Error code: Wsl/Service/WSL_E_DISTRO_NOT_FOUND" in done.stderr.splitlines()
    assert list(tmp_path.iterdir()) == []


def test_install_of_an_unknown_name(cli: Isthmus) -> None:
    done = cli.run("--install", "DoesNotExist")
    assert done.returncode == 255
    assert b"Error code: Wsl/InstallDistro/WSL_E_DISTRO_NOT_FOUND" in done.stderr.splitlines()


def test_install_from_a_file(cli: Isthmus, tmp_path: Path) -> None:
    """It is called as its file; without a place of its own its disk is in the state directory."""
    tar = make_tiny(tmp_path / "mine.tar", [("./etc/wsl.conf", b"[user]\ndefault = ada\n")])
    done = cli.run("--install", "--from-file", str(tar), "--no-launch", timeout=BOOT_TIMEOUT_S)
    try:
        assert done.returncode == 0, done
        assert b"isthmus -d mine" in done.stdout
        assert cli.text("-d", "mine", "-e", "id", "-un") == "ada"
        assert cli.text("-d", "mine", "-u", "root", "-e", "id", "-un") == "root"
        assert len(list((cli.home / "disks").rglob("*.qcow2"))) == 1
    finally:
        cli.run("--unregister", "mine")
    assert list((cli.home / "disks").iterdir()) == []


def test_default_user(cli: Isthmus, other: str) -> None:
    cli.ok("--manage", other, "--set-default-user", "ada")
    try:
        assert cli.text("-d", other, "-e", "sh", "-c", "id -un; pwd") == "ada\n/home/ada"
        assert cli.text("-d", other, "-u", "root", "-e", "id", "-un") == "root"
        assert cli.run("--manage", other, "--set-default-user", "nobody-here").returncode == 255
    finally:
        cli.ok("--manage", other, "--set-default-user", "root")
    assert cli.text("-d", other, "-e", "id", "-un") == "root"


# -- the machine -----------------------------------------------------------------------------------


def test_status_version_help(cli: Isthmus) -> None:
    status = cli.json("--status", "--json")
    assert status["default_distribution"] == TINY
    assert status["machine_state"] == "running"
    assert status["service_pid"] == cli.service().pid
    assert status["qemu_pid"] == cli.qemu().pid
    assert status["directory"] == str(cli.home)
    assert f"Default Distribution: {TINY}" in cli.text("--status").splitlines()
    assert cli.text("--version").startswith(f"Isthmus version: {status['version']}\n")
    assert cli.text("--help").startswith("Usage: isthmus ")


def test_version_and_help_start_nothing(fresh: Isthmus) -> None:
    before = set(fresh.home.rglob("*"))
    assert fresh.text("--version").startswith("Isthmus version: ")
    assert "--import" in fresh.text("--help")
    assert fresh.ok("--shutdown") == b""
    assert not fresh.services()
    assert set(fresh.home.rglob("*")) == before
