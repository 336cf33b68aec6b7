"""Disks of distributions: imported and exported as images, moved, resized, fixed or sparse."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.cli_harness import BOOT_TIMEOUT_S, Isthmus, require, wait_until

pytestmark = pytest.mark.vm

MIB = 2**20
DISK = "ext4.qcow2"


@pytest.fixture(scope="module")
def raw_image(tiny_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ext4 file system made on this host, as others make them for WSL."""
    mkfs = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    require(mkfs is not None, "e2fsprogs is needed for a disk image")
    assert mkfs is not None
    directory = tmp_path_factory.mktemp("images")
    (directory / "root").mkdir()
    subprocess.run(["tar", "-xf", str(tiny_tar), "-C", str(directory / "root")], check=True)
    (directory / "root" / "etc" / "made-by").write_text("mkfs.ext4\n")
    path = directory / "root.img"
    argv = [mkfs, "-q", "-d", str(directory / "root"), str(path), "64M"]
    subprocess.run(argv, check=True, timeout=60)
    return path


def convert(source: Path, target: Path, format: str) -> Path:
    argv = ["qemu-img", "convert", "-q", "-O", format, str(source), str(target)]
    subprocess.run(argv, check=True, timeout=60)
    return target


def taken(path: Path) -> int:
    """What a file takes of its file system, in bytes."""
    return path.stat().st_blocks * 512


@pytest.mark.parametrize(
    ("suffix", "format"), [("img", "raw"), ("vhdx", "vhdx"), ("vhd", "vpc"), ("qcow2", "qcow2")]
)
def test_images_are_imported_as_copies(
    cli: Isthmus, raw_image: Path, tmp_path: Path, suffix: str, format: str
) -> None:
    image = convert(raw_image, tmp_path / f"disk.{suffix}", format)
    before = image.read_bytes()
    done = cli.run("--import", "image", str(tmp_path / "place"), str(image), "--vhd")
    assert done.returncode == 0, done
    try:
        assert cli.text("-d", "image", "cat /etc/made-by; echo x > /etc/made-by") == "mkfs.ext4"
        assert image.read_bytes() == before
        assert [path.name for path in (tmp_path / "place").iterdir()] == [DISK]
    finally:
        cli.run("--unregister", "image")
    assert not (tmp_path / "place").exists()


def test_an_image_is_used_in_place(cli: Isthmus, raw_image: Path, tmp_path: Path) -> None:
    image = convert(raw_image, tmp_path / "mine.qcow2", "qcow2")
    done = cli.run("--import-in-place", "inplace", str(image))
    assert done.returncode == 0, done
    cli.ok("-d", "inplace", "echo kept > /root/kept")
    cli.ok("--unregister", "inplace")
    assert not image.exists()  # as wsl.exe does: it was the distribution's disk


@pytest.mark.parametrize("suffix", ["vhdx", "img", "qcow2"])
def test_what_is_exported_as_an_image_comes_back(
    cli: Isthmus, tiny_tar: Path, tmp_path: Path, suffix: str
) -> None:
    image = tmp_path / f"out.{suffix}"
    with cli.having("source", tiny_tar):
        cli.ok("-d", "source", f"echo {suffix} > /root/mark")
        way = ["--vhd"] if suffix == "vhdx" else ["--format", "vhd"]
        done = cli.run("--export", "source", str(image), *way)
        assert done.returncode == 0, done
        assert cli.text("-d", "source", "cat /root/mark") == suffix
    assert taken(image) < 200 * MIB
    done = cli.run("--import", "target", str(tmp_path / "place"), str(image), "--vhd")
    assert done.returncode == 0, done
    try:
        assert cli.text("-d", "target", "cat /root/mark") == suffix
    finally:
        cli.run("--unregister", "target")


def test_what_is_no_image_is_refused_in_wsls_words(cli: Isthmus, tmp_path: Path) -> None:
    place, text = str(tmp_path / "place"), tmp_path / "x.txt"
    text.write_text("no disk")
    empty = tmp_path / "empty.img"
    empty.touch()
    os.truncate(empty, MIB)
    tiny = cli.registered()[0]
    for arguments, code in (
        (
            ["--import", "a", place, str(text), "--vhd"],
            "Service/RegisterDistro/WSL_E_IMPORT_FAILED",
        ),
        (["--export", tiny, str(tmp_path / "y.txt"), "--vhd"], "Service/WSL_E_EXPORT_FAILED"),
        (["--import", "a", place, str(tmp_path / "nothing")], "ERROR_FILE_NOT_FOUND"),
        (["--import", "a", place, str(tmp_path / "no.img"), "--vhd"], "ERROR_FILE_NOT_FOUND"),
        (["--import-in-place", "a", str(text)], "Service/RegisterDistro/WSL_E_IMPORT_FAILED"),
    ):
        done = cli.run(*arguments)
        assert done.returncode == 255, arguments
        assert f"Error code: Wsl/{code}" in done.stderr.decode().splitlines(), done
    done = cli.run("--import", "a", place, str(empty), "--vhd")
    assert done.returncode == 255
    assert "a" not in cli.registered()
    assert not (tmp_path / "place").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.img", "x.txt"]


def test_a_disk_is_moved(cli: Isthmus, tiny_tar: Path, tmp_path: Path) -> None:
    """Within a file system, and to another one."""
    with cli.having("mover", tiny_tar) as first:
        cli.ok("-d", "mover", "echo moved > /root/mark")
        second = tmp_path / "second"
        cli.ok("--manage", "mover", "--move", str(second))
        assert not first.exists()
        assert cli.text("-d", "mover", "cat /root/mark") == "moved"
        third = Path("/dev/shm") / f"isthmus-test-{os.getpid()}"
        require(third.parent.stat().st_dev != tmp_path.stat().st_dev, "/dev/shm is needed")
        cli.ok("--manage", "mover", "-m", str(third))
        try:
            assert not second.exists() and (third / DISK).is_file()
            assert cli.text("-d", "mover", "cat /root/mark") == "moved"
            refused = cli.run("--manage", "mover", "--move", str(third))
            assert refused.returncode == 255
            assert cli.text("-d", "mover", "cat /root/mark") == "moved"
            # A place where nothing can be made: the distribution stays where it is.
            refused = cli.run("--manage", "mover", "--move", "/proc/no")
            assert refused.returncode == 255
            assert b"is where it was" in refused.stderr
            assert cli.text("-d", "mover", "cat /root/mark") == "moved"
        finally:
            cli.run("--unregister", "mover")
        assert not third.exists()


def test_a_disk_grows(cli: Isthmus, tiny_tar: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    arguments = ["--install", "--from-file", str(tiny_tar), "--name", "grower", "--no-launch"]
    done = cli.run(*arguments, "--location", str(place), "--vhd-size", "200MB")
    assert done.returncode == 0, done
    try:
        assert (place / DISK).is_file()
        assert _blocks_mib(cli, "grower") in range(150, 200)
        cli.ok("-d", "grower", "echo here > /root/mark")
        cli.run("--manage", "grower", "--resize", "400MB")
        assert _blocks_mib(cli, "grower") in range(330, 400)
        assert cli.text("-d", "grower", "cat /root/mark") == "here"
        smaller = cli.run("--manage", "grower", "-r", "100MB")
        assert smaller.returncode == 255
        assert b"can only grow" in smaller.stderr
        impossible = cli.run("--manage", "grower", "-r", "100TB")
        assert impossible.returncode == 255
        assert b"a disk of 109951162777600 bytes is not possible" in impossible.stderr
        assert cli.text("-d", "grower", "cat /root/mark") == "here"
    finally:
        cli.run("--unregister", "grower")


def test_a_disk_that_cannot_be_is_refused(cli: Isthmus, tiny_tar: Path, tmp_path: Path) -> None:
    before = cli.registered()
    for size in ("12B", "100TB", "2MB"):  # the last can be made, but nothing fits into it
        place = tmp_path / size
        arguments = ["--install", "-f", str(tiny_tar), "--name", "odd", "-l", str(place)]
        done = cli.run(*arguments, "--vhd-size", size)
        assert done.returncode == 255
        assert b"bug" not in done.stderr and b"Error code: Wsl/InstallDistro/" in done.stderr
        assert not place.exists()
    assert cli.registered() == before


def test_a_fixed_disk_keeps_its_space_until_it_is_made_sparse(
    cli: Isthmus, tiny_tar: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    disk = place / DISK
    arguments = ["--install", "-f", str(tiny_tar), "--name", "fixed", "-n", "-l", str(place)]
    done = cli.run(*arguments, "--vhd-size", "96MB", "--fixed-vhd", timeout=BOOT_TIMEOUT_S)
    assert done.returncode == 0, done
    # Of the programs that make 40 MB of other than zeros, cat costs the emulator least.
    make = "for i in $(seq 40); do head -c 1000000 /bin/busybox; done > /root/big"
    write_and_free = f"{make}; sync; rm /root/big; fstrim /"
    try:
        assert taken(disk) >= 96 * MIB
        cli.ok("-d", "fixed", write_and_free)
        assert taken(disk) >= 96 * MIB
        cli.ok("--manage", "fixed", "--set-sparse", "true", "--allow-unsafe")
        cli.ok("-d", "fixed", write_and_free)
        wait_until(lambda: taken(disk) < 60 * MIB, "space to go back to the host", 20)
        cli.ok("--manage", "fixed", "-s", "0")
        cli.ok("-d", "fixed", write_and_free)
        assert taken(disk) > 38 * MIB
    finally:
        cli.run("--unregister", "fixed")


def _blocks_mib(cli: Isthmus, name: str) -> int:
    """The size of a distribution's file system, in MiB."""
    return int(cli.text("-d", name, "df -m / | awk 'END { print $2 }'"))
