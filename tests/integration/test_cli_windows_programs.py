"""Windows programs from Linux, on the real machine and the real Wine."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.cli_harness import TINY, Isthmus, wait_until
from tests.integration.pty_harness import terminal
from tests.wine_harness import compile_probe, end_prefix, make_prefix, make_programs

pytestmark = pytest.mark.vm

PROBE = "/mnt/c/tests/probe.exe"
PROMPT = "Linux>"
WINDOW = "/mnt/c/tests/window.exe"


@pytest.fixture(scope="module")
def windows(cli: Isthmus) -> Iterator[Isthmus]:
    """`cli` with a Wine prefix that runs programs, and the tests' own on its drive C."""
    prefix = cli.drive_c.parent
    make_prefix(prefix)
    try:
        make_programs(cli.drive_c / "tests")
        cli.ok("--terminate", TINY)  # PATH is what Wine says at a session's start
        yield cli
    finally:
        end_prefix(prefix)


def unhex(output: bytes) -> list[str]:
    """What `probe argv` was given."""
    return [bytes.fromhex(line).decode() for line in output.decode().split("\n")[:-1]]


def programs(isthmus: Isthmus) -> list[psutil.Process]:
    """Windows processes that the service has started."""
    found = []
    for process in isthmus.service().children(recursive=True):
        try:
            if any(".exe" in argument for argument in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_programs_are_found_in_path_and_run(windows: Isthmus) -> None:
    """What cmd.exe prints comes from the host, and its status back."""
    done = windows.run("cmd.exe /c 'echo %OS%& exit 7'")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (7, b"Windows_NT", b"")
    # Between Linux programs, by the name that PATH finds. (Wine's findstr.exe is only a stub.)
    piped = windows.text("echo x | hostname.exe | tr -d '\\r' | tr a-z A-Z")
    assert piped == socket.gethostname().upper()


def test_arguments_arrive_as_they_were_given(windows: Isthmus) -> None:
    given = ["a b", "", 'say "hi"', "\\", "a\\\\", 'b\\"c', "ünï", "*", "%PATH%", "c:\\x y\\"]
    name, *arguments = unhex(windows.ok("-e", PROBE, "argv", *given))
    assert arguments == given
    assert name.lower().endswith("probe.exe")


def test_streams_are_separate_and_exact(windows: Isthmus) -> None:
    data = os.urandom(1_000_000) + b"\r\n\x1a\0\n"
    done = windows.run("-e", PROBE, "cat", input=data)
    assert (done.returncode, done.stderr) == (0, b"end\n")
    assert done.stdout == data


def test_the_directory_is_translated(windows: Isthmus) -> None:
    assert windows.text(f"cd /mnt/c/tests; {PROBE} cwd") == "C:\\tests"
    assert windows.text(f"cd /mnt/d; {PROBE} cwd").rstrip("\\") == "D:"
    # A place that Windows cannot open.
    assert windows.text(f"cd /tmp; {PROBE} cwd") == "C:\\"


def test_variables_cross_by_wslenv(windows: Isthmus) -> None:
    script = (
        "export A=/mnt/c/tests:/mnt/d/x B=plain C=hidden D=up WSLENV=A/p:B/w:D/u:E\n"
        f"for name in A B C D E WSLENV; do {PROBE} env $name; done"
    )
    shared = ["C:\\tests;D:\\x", "plain", "unset", "unset", "unset", "A/p:B/w:D/u:E"]
    assert windows.text(script).splitlines() == shared


@pytest.mark.parametrize(
    "script",
    [
        f"env -i {PROBE} exit 5",
        f"unshare -p -f --mount-proc {PROBE} exit 5",
        f"ln -sf {PROBE} /tmp/link.exe; cd /; tmp/link.exe exit 5",
        f"cp {PROBE} '/tmp/a copy.exe'; '/tmp/a copy.exe' exit 5",
        f"{PROBE} exit 261",
        f"WSL_INTEROP=/nowhere {PROBE} exit 5",
        f"su ada -c '{PROBE} exit 5'",
    ],
)
def test_programs_run_from_anywhere(windows: Isthmus, script: str) -> None:
    assert windows.run("-e", "sh", "-c", script).returncode == 5


@pytest.mark.network
@pytest.mark.timeout(600)
def test_programs_run_from_sudo_and_cron(windows: Isthmus, debian: str) -> None:
    """Debian's own, whose environments know nothing of ours."""
    install = "apt-get -qqy install --no-install-recommends sudo cron"
    packages = f"{install} || {{ apt-get -qq update && {install}; }}"
    environment = ("env", "DEBIAN_FRONTEND=noninteractive")
    done = windows.run("-d", debian, "-e", *environment, "sh", "-c", packages, timeout=500)
    assert done.returncode == 0, done
    script = f"""
        useradd -m bob; echo 'bob ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/bob
        su bob -c 'sudo {PROBE} exit 5'; echo $?; sudo -u bob -i {PROBE} exit 6; echo $?
        echo '@reboot root ({PROBE} cwd; {PROBE} exit 7; echo $?) > /tmp/cron 2>&1' > /etc/cron.d/x
        rm -f /run/crond.reboot; cron
    """
    done = windows.run("-d", debian, "-e", "sh", "-c", script)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [b"5", b"6"], b""), done
    wait_until(
        lambda: (
            windows.text("-d", debian, "cat /tmp/cron 2>/dev/null; true").split() == ["C:\\", "7"]
        ),
        "cron's program to end",
    )
    windows.ok("-d", debian, "-e", "sh", "-c", "kill $(cat /run/crond.pid)")


@pytest.mark.parametrize(
    ("command", "status", "complaint"),
    [
        ("nothing.exe", 127, "nothing.exe: not found"),
        ("/mnt/c/tests/nothing.exe", 127, "not found"),
        ("/mnt/c/tests", 126, "Permission denied"),
        ("/mnt/c/tests/data.exe", 1, "/mnt/c/tests/data.exe: Invalid argument\n"),
        (f"{PROBE} argv $(seq 10000)", 1, f"{PROBE}: Argument list too long\n"),
        (f"cp {PROBE} /tmp/x.exe; chmod 644 /tmp/x.exe; /tmp/x.exe", 126, "Permission denied"),
        ("printf MZ > /tmp/x.exe; chmod 755 /tmp/x.exe; /tmp/x.exe", 1, "x.exe: Invalid argument"),
    ],
)
def test_what_cannot_be_run(windows: Isthmus, command: str, status: int, complaint: str) -> None:
    done = windows.run("-e", "sh", "-c", f"{command}; exit $?")
    assert (done.returncode, done.stdout) == (status, b"")
    assert complaint in done.stderr.decode()


def test_early_ends_of_pipes(windows: Isthmus) -> None:
    assert windows.text(f"{PROBE} write 3000000 | head -c 10") == "x" * 10
    assert windows.run(f"yes | {PROBE} exit 6; exit $?").returncode == 6


def test_ctrl_c_without_a_terminal(windows: Isthmus) -> None:
    """A program may handle it; one that does not dies of it, and its launcher by SIGINT."""
    script = f"""
        tell() {{ until grep -q $1 /tmp/out; do sleep 0.1; done; kill -$2 $(cat /tmp/pid); }}
        run() {{ sh -c "echo \\$\\$ > /tmp/pid; exec {PROBE} $1 > /tmp/out"; echo $?; }}
        > /tmp/out; (tell ready INT) & run sleep
        > /tmp/out; (tell ready INT; tell interrupted TERM) & run handled
    """
    done = windows.run("-e", "sh", "-c", script)
    assert [line for line in done.stdout.split() if line.isdigit()] == [b"130", b"143"], done
    wait_until(lambda: not programs(windows), "the programs to end")


def test_a_killed_launcher_takes_its_program_along(windows: Isthmus) -> None:
    script = f"{PROBE} sleep > /tmp/out & until grep -q ready /tmp/out; do sleep 0.1; done; echo up"
    with windows.started("-e", "sh", "-c", f"{script}; kill -9 $!; sleep 300") as command:
        assert command.stdout.readline() == b"up\n"
        wait_until(lambda: not programs(windows), "the program to end")


def test_a_console(windows: Isthmus) -> None:
    """Keys, output, size, Ctrl-C and the terminal's modes, with the three at one terminal."""
    with terminal(windows, "-e", "env", f"PS1={PROMPT}", "sh") as tty:
        tty.expect(PROMPT)
        tty.type(f"{PROBE} size\r")
        tty.expect("size 24 80.")
        tty.resize(30, 100)
        # The console's terminal has it; Wine 8.0 takes no notice before its next program.
        (program,) = [it for it in programs(windows) if it.name() == "probe.exe"]
        wait_until(lambda: console_size(program) == (30, 100), "the console's new size")
        tty.type("\x03")
        tty.expect(f"^C{PROMPT}")
        tty.type(f"stty -a | grep icanon; {PROBE} size\r")
        tty.expect(" icanon")
        tty.expect("size 30 100.")
        tty.clear()
        tty.type("\x03")
        tty.expect(f"^C{PROMPT}")
        tty.type("cmd.exe\r")
        tty.expect("C:\\>")
        tty.type("echo %OS%\rexit 3\r")
        tty.expect("\nWindows_NT")
        tty.expect(f"exit 3\n{PROMPT}")
        tty.type("echo status $?\r")
        tty.expect("status 3")


def console_size(process: psutil.Process) -> tuple[int, int]:
    """The size of the terminal that a process of this host has for its input."""
    fd = os.open(f"/proc/{process.pid}/fd/0", os.O_RDONLY | os.O_NOCTTY)
    try:
        size = os.get_terminal_size(fd)
    finally:
        os.close(fd)
    return size.lines, size.columns


def test_much_output_to_a_terminal(windows: Isthmus) -> None:
    """The agent shows it, and brings more meanwhile: neither may wait for the other."""
    with terminal(windows, "-e", "sh") as tty:
        tty.type(f"{PROBE} write 500000 < /dev/null; echo status $?\r")
        tty.expect("status 0")
        tty.type(f"{PROBE} exit 6 <&- >&- 2>&-; echo status $?\r")
        tty.expect("status 6")


def test_a_console_is_given_back_when_its_launcher_is_killed(windows: Isthmus) -> None:
    with terminal(windows, "-e", "sh") as tty:
        tty.type(f"{PROBE} sleep\r")
        tty.expect("\nready")
        windows.ok("kill -TERM $(pidof probe.exe)")
        tty.type("stty -a | grep icanon\r")
        tty.expect(" icanon")


def test_windows_give_the_prompt_back(windows: Isthmus) -> None:
    """At a prompt; but who runs it as a part of something waits for it."""
    assert windows.run(f"{WINDOW} exit 5; exit $?").returncode == 5
    with terminal(windows, "-e", "sh", "-i") as tty:
        tty.type(f"{WINDOW} sleep; echo prompt is back\r")
        tty.expect("\nprompt is back")
        running = [it for it in programs(windows) if "window.exe" in " ".join(it.cmdline())]
        assert running, "and it runs on"
    for process in running:
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not programs(windows), "the program to end")


def test_interop_can_be_switched_off(windows: Isthmus, tiny_tar: Path) -> None:
    with windows.having("closed", tiny_tar):
        conf = "[interop]\nenabled=false\n"
        windows.ok("-d", "closed", f"printf '{conf}' > /etc/wsl.conf")
        windows.ok("--terminate", "closed")
        assert "/mnt/c" not in windows.text("-d", "closed", "echo $PATH$WSL_INTEROP")
        done = windows.run("-d", "closed", "-e", "sh", "-c", f"{PROBE} exit 0; exit $?")
        assert done.returncode == 1
        assert f"{PROBE}: Exec format error\n" in done.stderr.decode()


def test_the_registration_is_protected(windows: Isthmus, tiny_tar: Path) -> None:
    """From what clears the table, such as systemd-binfmt; unless wsl.conf says otherwise."""
    table = "/proc/sys/fs/binfmt_misc"
    clear = f"echo -1 > {table}/WSLInterop; echo -1 > {table}/status; ls {table}"
    done = windows.run("-e", "sh", "-c", f"{clear}; {PROBE} exit 5")
    assert done.returncode == 5
    assert done.stderr.decode().count("Read-only file system") == 2
    # Other programs than Windows' can be registered.
    own = f"printf ':own:M::OWN!::/bin/echo:F' > {table}/register; printf 'OWN!' > /tmp/own"
    script = f"{own}; chmod +x /tmp/own; /tmp/own runs; echo -1 > {table}/own"
    assert windows.text("-e", "sh", "-c", script) == "/tmp/own runs"
    with windows.having("careless", tiny_tar):
        windows.ok("-d", "careless", "printf '[boot]\\nprotectBinfmt=false\\n' > /etc/wsl.conf")
        windows.ok("--terminate", "careless")
        assert "WSLInterop" not in windows.text("-d", "careless", "-e", "sh", "-c", clear)
    # The next distribution that starts has it registered again.
    windows.ok("--terminate", TINY)
    assert windows.run("-e", PROBE, "exit", "5").returncode == 5


def test_path_can_be_kept_to_linux(windows: Isthmus, tiny_tar: Path) -> None:
    with windows.having("linux", tiny_tar):
        windows.ok("-d", "linux", "printf '[interop]\\nappendWindowsPath=false\\n' > /etc/wsl.conf")
        windows.ok("--terminate", "linux")
        assert "/mnt/c" not in windows.text("-d", "linux", "echo $PATH")
        assert windows.run("-d", "linux", "-e", PROBE, "exit", "4").returncode == 4


def test_commands_start_where_they_were_typed(windows: Isthmus) -> None:
    (windows.drive_c / "Some Where").mkdir()
    done = windows.run("pwd", cwd=windows.drive_c / "Some Where")
    assert (done.stdout, done.stderr) == (b"/mnt/c/Some Where\n", b"")
    lost = windows.run("pwd", cwd=Path("/"))
    assert (lost.stdout, lost.stderr) == (b"/root\n", b"")
    lost = windows.run("--cd", "q:\\x", "pwd")
    assert (lost.stdout, lost.stderr) == (b"/root\n", b"isthmus: Failed to translate 'q:\\x'\n")
    assert windows.run("--cd", "d:\\", "pwd").stdout == b"/mnt/d\n"


def test_variables_come_in_by_wslenv(windows: Isthmus) -> None:
    shared = {
        "WSLENV": "P/p:L/l:U/u:W/w:N",
        "P": str(windows.drive_c / "tests"),
        "L": f"{windows.drive_c}:{windows.drive_d}",
        "U": "up",
        "W": "down",
    }
    done = windows.run("echo $P $L $U ${W-unset} ${N-unset}.", env=shared)
    assert done.stdout == b"/mnt/c/tests /mnt/c/:/mnt/d/ up unset .\n", done


def test_wslvar_and_wslview(windows: Isthmus) -> None:
    assert windows.text("-e", "wslvar", "OS") == "Windows_NT"
    for script, complaint in (
        ("wslvar NOTHING_OF_THE_KIND", "no variable"),
        ("wslvar 'OS% & exit'", "no name"),
        ("wslview /no/such", "/no/such: No such file or directory"),
        ("wslview /etc", "only open what lies on one of its drives"),
    ):
        done = windows.run(f"{script}; exit $?")
        assert (done.returncode, done.stdout) == (1, b""), done
        assert complaint in done.stderr.decode()
    # What Windows has for a program is to run it.
    compile_probe(windows.drive_c / "tests" / "a name.exe")
    assert windows.run("wslview '/mnt/c/tests/a name.exe'; exit $?").returncode == 0


def test_two_hundred_in_a_row_leave_nothing(windows: Isthmus) -> None:
    def held() -> dict[str, int]:
        """Descriptors of the service and of all that is the agent's."""
        agents = "grep -l start[.]pyc /proc/[0-9]*/cmdline 2>/dev/null"
        find = f"for file in $({agents}); do ls ${{file%cmdline}}fd; done | wc -l"
        agent = int(windows.text("--system", find))
        return {"service": windows.service().num_fds(), "agent": agent}

    windows.ok("-e", PROBE, "exit", "0")
    before = held()
    after = dict(before)

    def is_as_before() -> bool:
        """Others come and go (what tests before have stopped), but 200 launches' would show."""
        after.update(held())
        return all(after[who] < before[who] + 20 for who in before)

    script = f"for i in $(seq 150); do {PROBE} exit $((i % 50)) || s=$((s + $?)); done; echo $s"
    assert windows.text(script, timeout=300) == str(3 * sum(range(50)))
    # Programs that end as soon as they have written: all of it arrives.
    script = f"for i in $(seq 50); do {PROBE} write 100000 | wc -c; done"
    assert windows.text(script, timeout=100).split() == ["100000"] * 50
    wait_until(is_as_before, lambda: f"descriptors: {before} before, {after} now", 30)
    assert not programs(windows)
    zombies = [it for it in windows.service().children() if it.status() == psutil.STATUS_ZOMBIE]
    assert not zombies
    assert not list(Path(windows.home).rglob("programs/*"))
