"""Windows programs that Linux starts: by CreateProcess, from the service that is one itself."""

from __future__ import annotations

import hashlib

import pytest

from tests.integration.cli_harness import wait_until
from tests.wine.installation import Installation
from tests.wine.test_wine_faults import kill_service, programs
from tests.wine_harness import compile_probe

pytestmark = pytest.mark.wine

PROBE, CMD = "/root/bin/probe.exe", "/root/bin/cmd.exe"
LAUNCHES = 20


@pytest.fixture(scope="module")
def interop(tiny: Installation, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """`tiny` with Windows' cmd.exe and the tests' probe.exe, as a user copies programs there."""
    probe = compile_probe(tmp_path_factory.mktemp("programs") / "probe.exe")
    cmd = tiny.windows.unix_path(r"C:\windows\system32\cmd.exe")
    tiny.ok("-e", "mkdir", "-p", "/root/bin")
    for place, path in ((PROBE, probe), (CMD, cmd)):
        script = f"cat > {place}; chmod +x {place}"
        tiny.ok("-e", "sh", "-c", script, input=path.read_bytes())
    return tiny


def test_cmd_says_what_only_windows_knows_and_its_status_comes_back(interop: Installation) -> None:
    done = interop.run("-e", CMD, "/c", "echo %OS% %SystemDrive%& exit 42")
    assert (done.status, done.text, done.stderr) == (42, "Windows_NT C:\n", b"")


def test_what_a_program_reads_and_writes_is_exact(interop: Installation) -> None:
    data = hashlib.shake_256(b"windows").digest(2_000_000) + b"\r\n\x1a\0\n"
    done = interop.run("-e", PROBE, "cat", input=data)
    assert (done.status, done.stderr) == (0, b"end\n")
    assert done.stdout == data


def test_between_linux_programs(interop: Installation) -> None:
    script = f"echo ünïcode 日本 | {PROBE} cat 2>/dev/null | tr a-z A-Z"
    assert interop.text("-e", "sh", "-c", script) == "üNïCODE 日本"
    assert interop.text("-e", "sh", "-c", f"{PROBE} write 3000000 | head -c 10") == "x" * 10


def test_arguments_and_variables_arrive(interop: Installation) -> None:
    given = ["a b", "", 'say "hi"', "b\\", "日本", "%PATH%"]
    lines = interop.text("-e", PROBE, "argv", *given).split("\n")[1:]
    assert [bytes.fromhex(line).decode() for line in lines] == given
    script = (
        f"export SHARED='ž 日本' HIDDEN=no WSLENV=SHARED; {PROBE} env SHARED; {PROBE} env HIDDEN"
    )
    assert interop.text("-e", "sh", "-c", script).split("\n") == ["ž 日本", "unset"]


def test_a_directory_that_windows_cannot_open_is_left_for_drive_c(interop: Installation) -> None:
    assert interop.text("-e", "sh", "-c", f"cd /tmp; {PROBE} cwd") == "C:\\"


def test_many_in_a_row(interop: Installation) -> None:
    script = f"i=0; while [ $i -lt {LAUNCHES} ]; do i=$((i+1)); {PROBE} exit $i; echo $?; done"
    answered = interop.text("-e", "sh", "-c", script).split()
    assert answered == [str(number) for number in range(1, LAUNCHES + 1)]
    staged = list((interop.home / "run" / "programs").iterdir())
    assert staged == [], "copies that have been run stay behind"


def test_what_cannot_be_run_is_said(interop: Installation) -> None:
    script = "printf 'MZ, and nothing else' > /tmp/data.exe; chmod +x /tmp/data.exe; /tmp/data.exe"
    done = interop.run("-e", "sh", "-c", script)
    assert (done.status, done.stdout) == (1, b"")
    assert "/tmp/data.exe" in done.complaint


def test_ctrl_c_is_heard(interop: Installation) -> None:
    """A program may handle it, and dies of it else."""
    script = f"""
        tell() {{ until grep -q $1 /tmp/out; do sleep 0.1; done; kill -$2 $(cat /tmp/pid); }}
        run() {{ sh -c "echo \\$\\$ > /tmp/pid; exec {PROBE} $1 > /tmp/out"; echo $?; }}
        > /tmp/out; (tell ready INT) & run sleep
        > /tmp/out; (tell ready INT; tell interrupted TERM) & run handled
    """
    done = interop.run("-e", "sh", "-c", script)
    died, ended = (int(line) for line in done.stdout.split() if line.isdigit())
    assert died in (0, 130), done  # by SIGINT, if the status said why, which is 0 in Wine
    assert ended == 143, done


def test_a_killed_launcher_takes_its_program_along(interop: Installation) -> None:
    script = (
        f"{CMD} /c '{windows_probe(interop)} sleep' > /tmp/out & "
        "until grep -q ready /tmp/out; do sleep 0.1; done; kill -9 $!"
    )
    interop.ok("-e", "sh", "-c", script)
    wait_until(lambda: not programs(interop, "probe.exe"), "the program to end")


def windows_probe(interop: Installation) -> str:
    """The probe's place on drive C, for programs that start it."""
    place = interop.windows.drive_c / "probe.exe"
    if not place.exists():
        compile_probe(place)
    return "C:\\probe.exe"


def test_programs_end_with_a_killed_service(interop: Installation) -> None:
    command = interop.windows.popen(
        [interop.isthmus, "-e", CMD, "/c", f"{windows_probe(interop)} sleep"]
    )
    try:
        assert command.stdout is not None
        assert command.stdout.readline().strip() == b"ready"
        assert programs(interop, "probe.exe")
        kill_service(interop)
        wait_until(lambda: not programs(interop, "probe.exe"), "the program to end")
    finally:
        command.kill()
        command.wait()
        for pipe in (command.stdin, command.stdout, command.stderr):
            assert pipe is not None
            pipe.close()
