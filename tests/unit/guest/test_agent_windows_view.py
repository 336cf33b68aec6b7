"""What a command from Windows starts with, in a distribution's terms."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from guest.agent.binfmt import binds_for, entry_text, register
from guest.agent.distroconf import parse_distro_conf
from guest.agent.environment import STANDARD_PATH
from guest.agent.windowsview import PROFILE_TEXT, MountTable, seen_from
from tests.unit.interop.wslpath_worlds import OURS
from wire.agent import Spawn
from wire.mounts import Mounts

assert sys.platform != "win32"

MOUNTS = Mounts.parse(OURS)
SOCKET = "/run/WSL/1_interop"
WINDOWS_PATH = "C:\\Windows\\system32;C:\\Windows;Q:\\nowhere;relative"


def seen(conf: str = "", **fields: object) -> tuple[Spawn, tuple[str, ...]]:
    spawn = Spawn(session=1, distribution="d", **fields)  # type: ignore[arg-type]
    return seen_from(spawn, MOUNTS, "Debian", parse_distro_conf(conf), SOCKET)


def test_the_directory_comes_first() -> None:
    spawn, warnings = seen(windows_directory="c:\\Users\\me")
    assert (spawn.directories, warnings) == (("/mnt/c/Users/me", "~"), ())


def test_a_directory_that_is_not_there_is_told() -> None:
    spawn, warnings = seen(windows_directory="Q:\\x")
    assert (spawn.directories, warnings) == (("~",), ("Failed to translate 'Q:\\x'",))


def test_path_has_what_can_be_reached_at_its_end() -> None:
    spawn, warnings = seen(windows_path=WINDOWS_PATH)
    added = "/mnt/c/Windows/system32:/mnt/c/Windows"
    assert spawn.environment["PATH"] == f"{STANDARD_PATH}:{added}"
    assert spawn.environment["ISTHMUS_PATH"] == added
    assert spawn.environment["WSL_INTEROP"] == SOCKET
    assert warnings == ()


@pytest.mark.parametrize(
    ("conf", "socket"),
    [("[interop]\nappendWindowsPath=false\n", SOCKET), ("[interop]\nenabled=false\n", None)],
)
def test_what_wsl_conf_switches_off(conf: str, socket: str | None) -> None:
    spawn, _ = seen(conf, windows_path=WINDOWS_PATH)
    assert "PATH" not in spawn.environment
    assert spawn.environment.get("WSL_INTEROP") == socket


def test_variables_of_wslenv_win() -> None:
    windows = {"WSLENV": "A/p:TERM:PATH/l:B/w", "A": "C:\\x", "TERM": "dumb", "PATH": "C:\\y"}
    spawn, _ = seen(
        windows_environment=windows, windows_path=WINDOWS_PATH, environment={"TERM": "xterm"}
    )
    expected = {"A": "/mnt/c/x", "TERM": "dumb", "PATH": "/mnt/c/y", "WSLENV": windows["WSLENV"]}
    assert expected.items() <= spawn.environment.items()
    assert "B" not in spawn.environment


def test_nothing_is_made_up() -> None:
    spawn, warnings = seen("[interop]\nenabled=false\n", environment={"X": "1"})
    assert (spawn.environment, spawn.directories, warnings) == ({"X": "1"}, ("~",), ())


def test_a_mount_table_is_read_again_when_it_changes() -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    script = "mount --make-rprivate / && read x && mount -t tmpfs none /tmp && echo done && read x"
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"done\n"
        table = MountTable(process.pid)
        first = table.mounts()
        assert table.mounts() is first
        at_tmp = first.holding("/tmp/x")
        assert at_tmp is not None
        assert at_tmp.point == "/tmp"
        subprocess.run(
            ["nsenter", "-m", "-t", str(process.pid), "umount", "/tmp"], check=True, timeout=20
        )
        again = table.mounts().holding("/tmp/x")
        assert again is not None
        assert again.identity != at_tmp.identity
        table.close()
        process.stdin.close()


@pytest.mark.parametrize(
    ("path", "added", "result"),
    [("/usr/bin", "/mnt/c", "/usr/bin:/mnt/c"), ("/a:/mnt/c:/b", "/mnt/c", None), ("/a", "", None)],
)
def test_the_profile_brings_path_back(path: str, added: str, result: str | None) -> None:
    done = subprocess.run(
        [
            "/bin/sh",
            "-euc",
            PROFILE_TEXT.replace("$ISTHMUS_PATH", "${ISTHMUS_PATH-}") + 'echo "$PATH"',
        ],
        env={"PATH": path, "ISTHMUS_PATH": added},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout.strip() == (result or path)


def test_windows_programs_are_registered_once(tmp_path: Path) -> None:
    file = tmp_path / "register"
    register(str(tmp_path), "/launcher")
    assert file.read_text() == entry_text("/launcher") == ":WSLInterop:M::MZ::/launcher:FP"
    (tmp_path / "WSLInterop").touch()
    file.unlink()
    register(str(tmp_path))
    assert not file.exists()


def test_the_registration_is_read_only_where_it_is_protected(tmp_path: Path) -> None:
    assert parse_distro_conf("").protect_binfmt
    assert not parse_distro_conf("[boot]\nprotectBinfmt=false").protect_binfmt
    assert binds_for(True, str(tmp_path)) == ()  # a kernel without binfmt_misc
    for name in ("status", "register", "WSLInterop"):
        (tmp_path / name).touch()
    binds = binds_for(True, str(tmp_path))
    files = [f"{tmp_path}/status", f"{tmp_path}/WSLInterop"]
    assert [(bind.source, bind.target, bind.read_only) for bind in binds] == [
        (file, file, True) for file in files
    ]
    assert binds_for(False, str(tmp_path)) == ()
