"""The main job on a real Windows: what tests/wine shows under Wine, and what Wine cannot show."""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.windows.installed import TIMEOUT_S, Installed
from tests.windows.programs import REASON, SIZE

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason=REASON)

PIPE_BYTES = 20_000_000
CMD = "/root/cmd.exe"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Isthmus with `tiny` and Windows' cmd.exe in it, below a directory of a difficult name."""
    isthmus = Installed(tmp_path_factory.mktemp("Žofia Ünal "))
    try:
        isthmus.install()
        data = Path(os.environ["COMSPEC"]).read_bytes()
        isthmus.ok("-e", "sh", "-c", f"cat > {CMD}; chmod +x {CMD}", input=data)
        yield isthmus
    finally:
        isthmus.run("--shutdown")
        print(isthmus.log())
        subprocess.run(["taskkill", "/f", "/pid", isthmus.service_pid()], check=True)


def test_the_status_names_the_accelerator_or_what_it_lacks(installed: Installed) -> None:
    status = installed.ok("--status").decode()
    print(status)
    assert "whpx" in status.lower() or "Windows Hypervisor Platform" in status


def test_commands_statuses_and_pipes(installed: Installed) -> None:
    assert installed.run("-e", "sh", "-c", "exit 42").returncode == 42
    data = random.Random(1).randbytes(PIPE_BYTES)
    assert installed.ok("-e", "cat", input=data) == data
    digest = installed.ok("-e", "sha256sum", input=data).split()[0].decode()
    assert digest == hashlib.sha256(data).hexdigest()


def test_windows_programs_run_from_linux(installed: Installed) -> None:
    done = installed.run("-e", CMD, "/c", "echo %OS%& exit 7")
    assert (done.returncode, done.stdout.strip()) == (7, b"Windows_NT")


def test_a_directory_of_a_windows_drive_is_used_from_linux(installed: Installed) -> None:
    directory = installed.directory / "drive"
    directory.mkdir()

    def sh(line: str) -> bytes:
        return installed.ok("--cd", str(directory), "-e", "sh", "-ec", line)

    (directory / "From Windows.txt").write_bytes(b"kept\n")
    assert sh("cat 'from windows.TXT'") == b"kept\n"
    sh("printf written > file; mv file 'a:b'; printf ' more' >> 'a:b'")
    assert (directory / "a\uf03ab").read_bytes() == b"written more"
    line = "exec 5<'a:b'; rm 'a:b'; cat <&5; ln -s From* link; cat link"
    assert sh(line) == b"written morekept\n"
    assert not (directory / "a\uf03ab").exists()
    deadline = time.monotonic() + 10
    while directory.exists():  # nothing in it is kept open for long
        try:
            os.rename(directory, directory.with_name("renamed"))
        except PermissionError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_what_was_written_survives_a_killed_service(installed: Installed) -> None:
    installed.ok("-e", "sh", "-c", "echo kept > /root/kept; sync")
    subprocess.run(["taskkill", "/f", "/pid", installed.service_pid()], check=True)
    assert installed.ok("-e", "cat", "/root/kept") == b"kept\n"


def test_an_export_is_written(installed: Installed) -> None:
    installed.ok("--export", "tiny", str(installed.directory / "out.tar"))
    assert (installed.directory / "out.tar").stat().st_size > 1_000_000


def test_the_users_console_is_linuxs_while_a_command_runs(installed: Installed) -> None:
    """Keys, size, changes of it, Ctrl-C and a Windows program on a console within the console."""
    import winpty

    environment = "".join(f"{name}={value}\0" for name, value in installed.environment.items())
    pty = winpty.PTY(SIZE.columns, SIZE.rows, backend=winpty.Backend.ConPTY)
    pty.spawn(f'"{installed.program}"', cmdline="-e sh", env=environment + "\0")
    seen = ""

    def expect(pattern: str) -> None:
        nonlocal seen
        deadline = time.monotonic() + TIMEOUT_S
        while not re.search(pattern, seen):
            assert time.monotonic() < deadline, (pattern, seen)
            seen += pty.read(blocking=False)
            time.sleep(0.02)
        seen = ""

    expect("#")
    pty.write("stty size\r")
    expect(f"{SIZE.rows} {SIZE.columns}")
    pty.set_size(80, 24)
    time.sleep(1)  # a console is asked for its size four times a second
    pty.write("stty size\r")
    expect("24 80")
    pty.write("cat\r")
    pty.write("žluť\r")
    expect("žluť[^#]*žluť")
    pty.write("\x03")
    expect("#")
    pty.write(f"{CMD}\r")
    expect("[A-Z]:.*>")
    pty.write("echo %OS%\r")
    expect("Windows_NT")
    pty.write("exit 3\r")
    expect("#")
    pty.write("exit 5\r")
    deadline = time.monotonic() + TIMEOUT_S
    while pty.isalive():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert pty.get_exitstatus() == 5


def test_only_its_user_can_enter_the_run_directory(installed: Installed) -> None:
    installed.ok("--status")
    for path in (installed.home / "run", installed.home / "run" / "service"):
        listed = subprocess.run(
            ["icacls", str(path)], capture_output=True, text=True, errors="replace", check=True
        ).stdout
        entries = [line for line in listed.replace(str(path), "").splitlines() if ":(" in line]
        assert len(entries) == 3, listed  # this user, the system and the administrators
        assert not any("Everyone" in line or "\\Users:" in line for line in entries), listed


def test_what_belongs_to_another_user_is_not_believed(installed: Installed) -> None:
    """A file with a port that somebody else has left is not asked; the runner is elevated."""
    installed.ok("--status")
    endpoint = installed.home / "run" / "service"
    subprocess.run(["icacls", str(endpoint), "/setowner", "Guest"], check=True)
    try:
        done = installed.run("--status")
        assert done.returncode != 0
        assert b"belongs to another user" in done.stderr
    finally:
        user = os.environ["USERNAME"]
        subprocess.run(["icacls", str(endpoint), "/setowner", user], check=True)
    installed.ok("--status")
