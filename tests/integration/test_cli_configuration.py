""".wslconfig, wsl.conf, lists of distributions and first runs, on the real machine."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli_harness import BOOT_TIMEOUT_S, Isthmus, make_tiny, wait_until
from tests.integration.pty_harness import terminal

pytestmark = pytest.mark.vm

OOBE = b"""#!/bin/sh
id -u > /etc/oobe-ran-as
echo "Welcome. Who are you?"
read name
test "$name" = ada
"""
DISTRIBUTION_CONF = b"""[oobe]
command = sh /etc/oobe.sh
defaultUid = 1000
defaultName = selfnamed
"""
WSL_CONF = b"""[user]
default = ada
[network]
hostname = _my_box
generateHosts = false
[filesystem]
umask = 027
[boot]
command = touch /booted; false
systemd = true
[time]
useWindowsTimezone = false
[unknown]
key = 1
"""
TOKYO = "/usr/share/zoneinfo/Asia/Tokyo"
_HEADER = struct.pack(">4sc15x6L", b"TZif", b"2", 0, 0, 0, 0, 1, 4)
_TYPE = struct.pack(">lBB", 9 * 3600, 0, 0) + b"JST\0"
ZONE = 2 * (_HEADER + _TYPE) + b"\nJST-9\n"
"""A time zone (RFC 8536): always nine hours ahead of UTC."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .wsl file: a compressed root that brings a first run with it."""
    directory = tmp_path_factory.mktemp("wsl")
    tar = make_tiny(
        directory / "tiny.tar",
        [("./etc/oobe.sh", OOBE), ("./etc/wsl-distribution.conf", DISTRIBUTION_CONF)],
    )
    path = directory / "tiny.wsl"
    path.write_bytes(gzip.compress(tar.read_bytes(), 1))
    return path


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Iterator[Isthmus]:
    """An Isthmus with a .wslconfig and a list of distributions, its machine not started."""
    home = tmp_path_factory.mktemp("configured")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    good = {"Url": archive.as_uri(), "Sha256": f"0x{digest}"}
    items = [
        {"Name": "Tiny-1", "FriendlyName": "Tiny 1.0", "Default": True, "Amd64Url": good},
        {"Name": "Tiny-Bad", "FriendlyName": "B", "Amd64Url": {**good, "Sha256": "00" * 32}},
    ]
    listing = home / "list.json"
    listing.write_text(json.dumps({"ModernDistributions": {"Tiny": items}}))
    wslconfig = home / "wslconfig"
    wslconfig.write_text(
        "[wsl2]\nmemory=600MB\nprocessors=1\nkernelCommandLine=isthmus.test=1\n"
        "defaultVhdSize=8GB\nnonsense=1\nkernelDebugPort=99\nvmIdleTimeout=-1\n"
        "[general]\ninstanceIdleTimeout=-1\n"
        f"distributionListUrl={listing.as_uri()}\n"
    )
    isthmus = Isthmus(home / "home", ISTHMUS_WSLCONFIG=str(wslconfig), TZ="Asia/Tokyo")
    try:
        yield isthmus
    finally:
        isthmus.end()


def test_the_list_is_shown_after_what_is_built_in(configured: Isthmus) -> None:
    names = configured.text("--list", "--online", "--quiet").split("\n")
    assert names == ["Debian", "Tiny-1", "Tiny-Bad"]


def test_wslconfig_decides_what_is_booted(configured: Isthmus) -> None:
    script = "cat /proc/cmdline; nproc; awk '/^MemTotal/ { print $2 }' /proc/meminfo"
    done = configured.run("--system", "--", script, timeout=BOOT_TIMEOUT_S)
    cmdline, processors, memory_kib = done.stdout.decode().split("\n")[:3]
    assert "isthmus.test=1" in cmdline.split()
    assert processors == "1"
    assert 400 * 1024 < int(memory_kib) < 600 * 1024
    file = configured.environment["ISTHMUS_WSLCONFIG"]
    assert f"isthmus: Unknown key 'wsl2.nonsense' in {file}:6" in done.stderr.decode()
    not_yet = f"isthmus: Key 'wsl2.kernelDebugPort' is not honoured yet in {file}:7"
    assert not_yet in done.stderr.decode()
    again = configured.run("--system", "--", "true")
    assert (again.returncode, again.stderr) == (0, b"")
    status = configured.json("--status", "--json")
    assert (status["memory_mib"], status["processors"]) == (600, 1)
    assert any("nonsense" in warning for warning in status["warnings"])


def test_a_wrong_digest_is_refused(configured: Isthmus) -> None:
    done = configured.run("--install", "Tiny-Bad", "--no-launch", timeout=BOOT_TIMEOUT_S)
    assert done.returncode == 255
    lines = done.stderr.decode().splitlines()
    assert "Error code: Wsl/InstallDistro/VerifyChecksum/TRUST_E_BAD_DIGEST" in lines
    assert configured.registered() == [] and configured.disks() == []


def test_wsl_conf_is_honoured(configured: Isthmus, tmp_path: Path) -> None:
    files = [("./etc/wsl.conf", WSL_CONF), (f".{TOKYO}", ZONE)]
    with configured.having("conf", make_tiny(tmp_path / "conf.tar", files)):
        script = "id -un; hostname; umask; ls /etc/hosts 2>/dev/null"
        done = configured.run("-d", "conf", "--", script)
        assert done.stdout.decode().split("\n") == ["ada", "mybox", "0027", ""]
        assert done.stderr.decode().split("\n") == [
            "isthmus: Key 'boot.systemd' is not honoured yet in /etc/wsl.conf:10",
            "isthmus: Unknown key 'unknown.key' in /etc/wsl.conf:14",
            "",
        ]
        wait_until(
            lambda: configured.run("-d", "conf", "-e", "test", "-e", "/booted").returncode == 0,
            "the boot command",
        )
        assert configured.run("-d", "conf", "-e", "test", "-e", "/etc/localtime").returncode == 1
        owner = configured.text("-d", "conf", "-e", "stat", "-c", "%u", "/booted")
        assert owner == "0"
        size = configured.text("-d", "conf", "--", "df -k / | awk 'END { print $2 }'")
        assert 7 * 2**20 < int(size) < 8 * 2**20


def test_the_time_zone_is_the_hosts(configured: Isthmus, tmp_path: Path) -> None:
    """In a distribution that knows it, and read by the C library there."""
    with configured.having("zoned", make_tiny(tmp_path / "zoned.tar", [(f".{TOKYO}", ZONE)])):
        script = "date -d @0 +%H:%M%Z; readlink /etc/localtime; cat /etc/timezone"
        assert configured.text("-d", "zoned", script) == f"09:00JST\n{TOKYO}\nAsia/Tokyo"


def test_an_installed_distribution_is_set_up_before_its_first_shell(configured: Isthmus) -> None:
    done = configured.run("--install", "tiny", "--no-launch", timeout=BOOT_TIMEOUT_S)
    assert done.returncode == 0, done
    assert configured.registered() == ["Tiny-1"]
    try:
        # Anything but an interactive shell runs at once, as root.
        assert configured.text("-d", "Tiny-1", "-e", "id", "-u") == "0"
        assert configured.run("-d", "Tiny-1", "-e", "test", "-e", "/etc/oobe-ran-as").returncode
        with terminal(configured) as failed:
            failed.expect("Who are you?")
            failed.type("nobody\r")
            assert failed.expect_end() == 1
            assert 'OOBE command "sh /etc/oobe.sh" failed, exiting' in failed.text()
        with terminal(configured) as shell:
            shell.expect("Who are you?")
            shell.type("ada\r")
            shell.expect("tiny#")
            shell.clear()
            shell.type("id -un; tty; echo ran as $(cat /etc/oobe-ran-as)\r")
            shell.expect("ran as 0")
            assert "\nada\n/dev/pts/" in shell.text()
            shell.type("exit 7\r")
            assert shell.expect_end() == 7
        assert configured.text("-e", "id", "-un") == "ada"
        with terminal(configured) as again:
            again.expect("tiny#")
            assert "Who are you?" not in again.text()
            again.type("exit\r")
            assert again.expect_end() == 0
    finally:
        configured.run("--unregister", "Tiny-1")


def test_a_file_names_itself_unless_told_otherwise(configured: Isthmus, archive: Path) -> None:
    for arguments, name in ((["--name", "mine"], "mine"), ([], "selfnamed")):
        done = configured.run("--install", "--from-file", str(archive), "--no-launch", *arguments)
        assert done.returncode == 0, done
        try:
            assert configured.registered() == [name]
        finally:
            configured.run("--unregister", name)
