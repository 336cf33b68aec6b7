"""Archives and names that are wrong, or hostile: refused, with nothing left behind."""

from __future__ import annotations

import gzip
import lzma
import random
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.cli_harness import PROGRAM, TINY, Isthmus, RootTar, make_tiny

pytestmark = pytest.mark.vm


class Traces:
    """What an import can leave: a registration, a disk on the host, a disk in the machine."""

    def __init__(self, cli: Isthmus, place: Path) -> None:
        self._cli = cli
        self.place = place
        self._before = self._state()

    def _state(self) -> tuple[object, ...]:
        inside = "ls /sys/block /run/disks /tmp; ls -A /; grep -c . /proc/mounts; pidof bsdtar"
        return (
            self._cli.registered(),
            self._cli.disks(),
            self._cli.text("--system", "-e", "sh", "-c", f"{inside}; true"),
        )

    def check_none(self) -> None:
        assert not self.place.exists()
        assert self._state() == self._before


@pytest.fixture
def traces(cli: Isthmus, tmp_path: Path) -> Iterator[Traces]:
    """Compares before and after, and that the others still work."""
    cli.ok("-d", TINY, "-e", "true")
    found = Traces(cli, tmp_path / "place")
    yield found
    found.check_none()
    assert cli.text("-d", TINY, "-e", "echo", "works") == "works"


def refused(cli: Isthmus, traces: Traces, archive: Path, *, name: str = "bad") -> str:
    """Import what must be refused; returns what was said."""
    done = cli.run("--import", name, str(traces.place), str(archive))
    assert done.returncode in (254, 255), done  # by the parser, by the service
    assert done.stdout == b""
    said = done.stderr.decode()
    assert "Traceback" not in said
    assert "bug" not in said
    return said


# -- damaged ---------------------------------------------------------------------------------------


def test_truncated(cli: Isthmus, traces: Traces, tiny_tar: Path, tmp_path: Path) -> None:
    archive = tmp_path / "cut.tar"
    archive.write_bytes(tiny_tar.read_bytes()[:1_000_000])
    said = refused(cli, traces, archive)
    assert "Truncated" in said
    assert "Error code: Wsl/Service/RegisterDistro/WSL_E_IMPORT_FAILED" in said.splitlines()


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_truncated_and_compressed(
    cli: Isthmus,
    traces: Traces,
    tiny_tar: Path,
    tmp_path: Path,
    compress: Callable[[bytes], bytes],
) -> None:
    archive = tmp_path / "cut"
    data = compress(tiny_tar.read_bytes())
    archive.write_bytes(data[: len(data) // 2])
    said = refused(cli, traces, archive)
    assert str(archive) in said
    assert "damaged" in said


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_damaged_and_compressed(
    cli: Isthmus,
    traces: Traces,
    tiny_tar: Path,
    tmp_path: Path,
    compress: Callable[[bytes], bytes],
) -> None:
    archive = tmp_path / "damaged"
    data = bytearray(compress(tiny_tar.read_bytes()))
    middle = len(data) // 2
    data[middle : middle + 4096] = random.Random(1).randbytes(4096)
    archive.write_bytes(data)
    said = refused(cli, traces, archive)
    assert str(archive) in said
    assert "damaged" in said


@pytest.mark.parametrize(
    "content",
    [b"", b"#!/bin/sh\necho no archive\n", random.Random(3).randbytes(100_000)],
    ids=["empty", "text", "noise"],
)
def test_no_archive(cli: Isthmus, traces: Traces, tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "file.tar"
    archive.write_bytes(content)
    refused(cli, traces, archive)


def test_no_root_file_system(cli: Isthmus, traces: Traces, tmp_path: Path) -> None:
    tar = RootTar(tmp_path / "documents.tar")
    tar.directory("./documents")
    tar.add("./documents/letter", b"Dear Ada")
    said = refused(cli, traces, tar.close())
    assert "no Linux root file system" in said
    assert "Error code: Wsl/Service/RegisterDistro/WSL_E_NOT_A_LINUX_DISTRO" in said.splitlines()


def test_missing_archive(cli: Isthmus, traces: Traces, tmp_path: Path) -> None:
    said = refused(cli, traces, tmp_path / "missing.tar")
    assert "Error code: Wsl/ERROR_FILE_NOT_FOUND" in said.splitlines()


def test_a_directory_as_archive(cli: Isthmus, traces: Traces, tmp_path: Path) -> None:
    assert "Is a directory" in refused(cli, traces, tmp_path)


def test_an_archive_that_breaks_off(cli: Isthmus, traces: Traces, tiny_tar: Path) -> None:
    """From a pipe whose writer dies: as truncated as any file."""
    done = cli.run("--import", "bad", str(traces.place), "-", input=tiny_tar.read_bytes()[:70_000])
    assert done.returncode == 255
    assert b"Truncated" in done.stderr


def test_an_archive_from_a_closed_stdin(cli: Isthmus, traces: Traces) -> None:
    script = f'exec "$0" --import bad "{traces.place}" - <&-'
    done = subprocess.run(
        ["bash", "-c", script, PROGRAM],
        env=cli.environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 255
    assert b"Traceback" not in done.stderr


# -- hostile ---------------------------------------------------------------------------------------


def hostile(path: Path, kind: str) -> Path:
    """A root whose further entries try to be elsewhere."""
    tar = RootTar(path).add_system()
    if kind == "dots":
        tar.add("../../../../tmp/escaped", b"x")
        tar.add("./a/../../../../tmp/escaped", b"x")
    elif kind == "absolute":
        tar.add("/tmp/escaped", b"x")
        tar.add("//run/disks/escaped", b"x")
    elif kind == "symlink":
        tar.link("./out", "/")
        tar.add("./out/escaped", b"x")
        tar.link("./up", "../../../..")
        tar.add("./up/tmp/escaped", b"x")
    elif kind == "hard link":
        tar.link("./hard", "/etc/shadow", hard=True)
        tar.link("./hard2", "../../../../etc/shadow", hard=True)
    elif kind == "etc":
        # What the agent writes itself, when the distribution starts.
        tar.directory("./etc")
        tar.link("./etc/hosts", "../../../../tmp/escaped")
        tar.link("./etc/resolv.conf", "/tmp/escaped")
    elif kind == "mount points":
        for name in ("proc", "sys", "dev", "run", "mnt", "tmp"):
            tar.link(f"./{name}", "/tmp/escaped")
    return tar.close()


@pytest.mark.parametrize(
    "kind", ["dots", "absolute", "symlink", "hard link", "etc", "mount points"]
)
def test_escapes(cli: Isthmus, traces: Traces, tmp_path: Path, kind: str) -> None:
    """Refused or confined: either way the utility VM and the other disks stay as they are."""
    archive = hostile(tmp_path / "hostile.tar", kind)
    done = cli.run("--import", "hostile", str(traces.place), str(archive))
    try:
        assert done.returncode in (0, 255), done
        assert b"Traceback" not in done.stderr
        if done.returncode == 0:
            started = cli.run("-d", "hostile", "-e", "/bin/busybox", "id", "-u")
            assert b"bug" not in started.stderr
        script = "ls /escaped /tmp/escaped /run/disks/escaped; ls -d /run/disks/*/escaped"
        outside = cli.run("--system", "-e", "sh", "-c", f"{script} 2>/dev/null")
        confined = f"/run/disks/{_identity(cli, 'hostile')}/escaped\n".encode()
        assert outside.stdout in (b"", confined)
    finally:
        cli.run("--unregister", "hostile")


def _identity(cli: Isthmus, name: str) -> str:
    rows = [row for row in cli.json("--list", "--json") if row["name"] == name]
    return str(rows[0]["id"]).replace("-", "") if rows else ""


def test_a_device_node_is_only_that(cli: Isthmus, traces: Traces, tmp_path: Path) -> None:
    """Root of a distribution may read its own disk by it: it is root of its VM. It is no escape
    from the VM, and the archive is taken."""
    tar = RootTar(tmp_path / "nodes.tar").add_system()
    tar.add("./dev/kmsg", type=tarfile.CHRTYPE, devmajor=1, devminor=11)
    archive = tar.close()
    with cli.having("nodes", archive):
        assert cli.text("-d", "nodes", "-e", "stat", "-c", "%F", "/dev/null").startswith("char")


# -- names and places ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "../a", "a b", "ü", "a\nb", "x" * 257, "Legacy", "$(id)", "\udcff"],
)
def test_names(cli: Isthmus, traces: Traces, tiny_tar: Path, name: str) -> None:
    said = refused(cli, traces, tiny_tar, name=name)
    assert "Error code: Wsl/Service/RegisterDistro/E_INVALIDARG" in said.splitlines()
    assert "\n\n" not in said


def test_a_taken_name(cli: Isthmus, traces: Traces, tiny_tar: Path) -> None:
    said = refused(cli, traces, tiny_tar, name=TINY.upper())
    assert "Error code: Wsl/Service/RegisterDistro/ERROR_ALREADY_EXISTS" in said.splitlines()


def test_one_name_twice_at_once(cli: Isthmus, tiny_tar: Path, tmp_path: Path) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    with (
        cli.started("--import", "twice", str(places[0]), str(tiny_tar)) as one,
        cli.started("--import", "twice", str(places[1]), str(tiny_tar)) as two,
    ):
        assert sorted([one.status(60), two.status(60)]) == [0, 255]
    try:
        assert cli.registered().count("twice") == 1
        assert sum(place.exists() for place in places) == 1
        assert cli.text("-d", "twice", "-e", "echo", "works") == "works"
    finally:
        cli.run("--unregister", "twice")


def test_a_place_that_is_taken(cli: Isthmus, tiny_tar: Path) -> None:
    """A directory with a distribution's disk is not overwritten."""
    (disk,) = (cli.home / "places" / TINY).iterdir()
    before = disk.stat().st_ino
    done = cli.run("--import", "second", str(disk.parent), str(tiny_tar))
    assert done.returncode == 255
    assert b"exists already" in done.stderr
    assert disk.stat().st_ino == before
    assert cli.text("-e", "echo", "works") == "works"


def test_a_place_that_cannot_be(cli: Isthmus, tiny_tar: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"mine")
    done = cli.run("--import", "second", str(file / "place"), str(tiny_tar))
    assert done.returncode == 255
    assert b"Not a directory" in done.stderr
    assert file.read_bytes() == b"mine"
    assert "second" not in cli.registered()


def test_a_users_own_directory_outlives_the_distribution(cli: Isthmus, tmp_path: Path) -> None:
    """Only the disk in it is ours to delete."""
    place = tmp_path / "mine"
    place.mkdir()
    (place / "letter").write_bytes(b"Dear Ada")
    tar = make_tiny(tmp_path / "tiny.tar")
    assert cli.run("--import", "guest", str(place), str(tar)).returncode == 0
    cli.ok("--unregister", "guest")
    assert [path.name for path in place.iterdir()] == ["letter"]
