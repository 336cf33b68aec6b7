"""The terminal: a login shell that feels local, and settings that always come back."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import psutil
import pytest

from tests.integration.cli_harness import TINY, Isthmus, wait_until
from tests.integration.pty_harness import Tty, client_of, shell, terminal

pytestmark = pytest.mark.vm

PROMPT = "tiny#"


# -- a shell ---------------------------------------------------------------------------------------


def test_login_shell(cli: Isthmus) -> None:
    with terminal(cli) as tty:
        tty.expect(PROMPT)
        assert tty.is_raw
        tty.type("echo $0; tty; stty size\r")
        tty.expect("-sh\n/dev/pts/0\n24 80\n" + PROMPT)
        tty.type("exit 3\r")
        assert tty.expect_end() == 3


def test_debug_shell(cli: Isthmus) -> None:
    """Root's shell in the machine itself, where distributions are only mounted disks."""
    with terminal(cli, "--debug-shell") as tty:
        tty.expect("#")
        tty.type("id -u; hostname; stty size; ls /run/disks | wc -w\r")
        tty.expect("0\nisthmus\n24 80\n")
        tty.type("ls /usr/libexec/isthmus\r")
        tty.expect("distro-init")
        tty.type("exit 4\r")
        assert tty.expect_end() == 4


def test_an_installed_distribution_is_started(cli: Isthmus, tiny_tar: Path) -> None:
    """At a terminal, and only there."""
    arguments = ("--install", "--from-file", str(tiny_tar), "--name", "launched")
    try:
        with terminal(cli, *arguments) as tty:
            tty.expect("Launching launched")
            tty.expect(PROMPT)
            tty.clear()
            tty.type("echo in $WSL_DISTRO_NAME\r")
            tty.expect("in launched")
            tty.type("exit 6\r")
            assert tty.expect_end() == 6
    finally:
        cli.run("--unregister", "launched")
    try:
        done = cli.run(*arguments)
        assert (done.returncode, b"Launching" in done.stdout) == (0, False)
    finally:
        cli.run("--unregister", "launched")


def test_end_of_input_ends_the_shell(cli: Isthmus) -> None:
    with terminal(cli, "-u", "ada") as tty:
        tty.expect(PROMPT)
        tty.type("\x04")
        assert tty.expect_end() == 0


def test_interrupt(cli: Isthmus) -> None:
    """Ctrl-C is the Linux foreground job's, neither the client's nor the shell's."""
    with terminal(cli) as tty:
        tty.expect(PROMPT)
        tty.type("sleep 300\r")
        _wait_runs(cli, "sleep 300")
        tty.type("\x03")
        tty.expect(f"\n{PROMPT}")
        tty.type("echo status $?\r")
        tty.expect("status 130")


def test_quit(cli: Isthmus) -> None:
    with terminal(cli, "-e", "sh", "-c", "ulimit -c 0; exec sleep 301") as tty:
        _wait_runs(cli, "sleep 301")
        tty.type("\x1c")
        assert tty.expect_end() == 128 + signal.SIGQUIT


def test_job_control(cli: Isthmus) -> None:
    with terminal(cli) as tty:
        tty.expect(PROMPT)
        tty.type("cat\r")
        _wait_runs(cli, "cat")
        tty.type("\x1a")
        tty.expect("Stopped")
        tty.type("jobs; fg\r")
        tty.expect("[1]+")
        _wait_state(cli, "cat", "S")
        tty.type("still there\r")
        tty.expect("still there\nstill there")
        tty.type("\x04")
        tty.expect(f"still there\n{PROMPT}")


def test_the_stop_key_does_not_stop_the_client(cli: Isthmus) -> None:
    """Ctrl-Z belongs to Linux, and a lone program cannot be stopped there (an orphaned group)."""
    with shell(cli) as tty:
        tty.type("lx -e sh -c 'echo ready; cat'\r")
        tty.expect("\nready")
        tty.type("\x1astill there\r")
        tty.expect("still there\nstill there")
        assert client_of(tty).status() != psutil.STATUS_STOPPED


# -- size ------------------------------------------------------------------------------------------


def test_size(cli: Isthmus) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    with terminal(cli, "-e", "sh", "-c", script) as tty:
        tty.expect("ready")
        tty.resize(40, 132)
        tty.expect("40 132")


def test_a_size_that_changes_before_the_shell_runs(cli: Isthmus, other: str) -> None:
    """A window made larger while the machine, or as here a distribution, is only starting."""
    cli.ok("--terminate", other)
    with terminal(cli, "-d", other) as tty:
        tty.pump(0.15)
        assert not tty.is_raw
        tty.resize(30, 90)
        tty.expect(PROMPT)
        tty.type("stty size\r")
        tty.expect("30 90")


def test_many_sizes_at_once(cli: Isthmus) -> None:
    """A dragged corner: signals faster than they can be handled; the last size wins."""
    with terminal(cli) as tty:
        tty.expect(PROMPT)
        for number in range(2000):
            tty.set_size(20 + number % 50, 100)
        tty.resize(33, 101)
        tty.clear()
        wait_until(lambda: _size(tty) == "33 101", "the last size")


def _size(tty: Tty) -> str:
    tty.type("stty size; echo don''e\r")
    tty.expect("done")
    found = re.findall(r"^\d+ \d+$", tty.text(), re.MULTILINE)
    tty.clear()
    return found[-1] if found else ""


# -- characters ------------------------------------------------------------------------------------


def test_utf8(cli: Isthmus) -> None:
    """Typed, erased by whole characters, shown."""
    with terminal(cli, "-e", "sh", "-c", "echo ready; cat") as tty:
        tty.expect("ready")
        wait_until(lambda: tty.is_raw, "raw mode")
        tty.type("größe €𝄞\x7f\x7f!\r")
        tty.expect("größe !\ngröße !")


def test_every_key_arrives(cli: Isthmus) -> None:
    """All 256 bytes: no key is kept for the client, flow control included."""
    script = "stty raw -echo; echo ready; head -c 256 | sha256sum"
    with terminal(cli, "-e", "sh", "-c", script) as tty:
        tty.expect("ready")
        tty.type(bytes(range(256)))
        tty.expect("40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880")


def test_bracketed_paste_passes(cli: Isthmus) -> None:
    """The mode is switched by Linux, the paste comes from the terminal: nothing touches either."""
    with terminal(cli, "-e", "sh", "-c", "stty -echo; printf '\\033[?2004h'; cat -v") as tty:
        wait_until(lambda: tty.pump(0.1) and b"\x1b[?2004h" in tty.raw, "the mode")
        tty.type("\x1b[200~echo hi\r\x1b[201~\r")
        tty.expect("^[[200~echo hi\n^[[201~")


def test_ten_megabytes(cli: Isthmus) -> None:
    """Not a byte is lost, added or reordered, and the end is there before the command's end."""
    count = 10 * 2**20
    script = f"stty raw; yes 0123456789abcde | head -c {count}"
    with terminal(cli, "-e", "sh", "-c", script) as tty:
        tty._stream.feed = lambda data: None  # type: ignore[method-assign]
        assert tty.expect_end(60) == 0
        assert len(tty.raw) == count
        assert tty.raw == b"0123456789abcde\n" * (count // 16)


def test_editor(cli: Isthmus) -> None:
    """busybox vi: a whole screen, cursor keys, the alternate screen, a file in the end."""
    with terminal(cli, "-e", "vi", "/root/edited") as tty:
        tty.expect("~\n~")
        tty.expect("/root/edited")
        tty.type("ione\rthree\x1b")
        tty.expect("one\nthree\n~")
        tty.type("\x1b[A")
        tty.type("otwo\x1b")
        tty.expect("one\ntwo\nthree\n~")
        tty.type(":wq\r")
        assert tty.expect_end() == 0
    assert cli.text("cat /root/edited; rm /root/edited") == "one\ntwo\nthree"


# -- which streams are the terminal ----------------------------------------------------------------


def test_redirected_streams_stay_files(cli: Isthmus) -> None:
    """As with a local command: [ -t ] tells the truth for each of the three."""
    for redirection, answer in (
        ("", "=012"),
        ("2>/dev/null", "=01"),
        ("</dev/null", "=12"),
        ("| cat", "="),
    ):
        tests = " ".join(f"test -t {n} && a=${{a}}{n};" for n in range(3))
        with shell(cli) as tty:
            tty.type(f"lx -e sh -c '{tests} echo =$a > /tmp/probe' {redirection}; echo ov''er\r")
            tty.expect("over")
        assert cli.text("-e", "cat", "/tmp/probe") == answer, redirection


def test_input_from_a_pipe_with_a_terminal_for_output(cli: Isthmus) -> None:
    with shell(cli) as tty:
        tty.type("echo from the pipe | lx -e sh -c 'cat; stty size <&1'\r")
        tty.expect("\nfrom the pipe\n24 80")


def test_no_terminal_for_pipelines(cli: Isthmus) -> None:
    """`lx … | less` must leave the keys to less."""
    with shell(cli) as tty:
        before = tty.settings()
        tty.type("lx -e sh -c 'tty; echo $(tty)' | cat\r")
        tty.expect("not a tty")
        assert tty.settings()[3] == before[3]


# -- afterwards ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "status"), [("true", 0), ("exit 7", 7), ("kill -9 $$", 137), ("stty raw -echo", 0)]
)
def test_settings_come_back(cli: Isthmus, command: str, status: int) -> None:
    with shell(cli) as tty:
        before = tty.settings()
        tty.type(f"lx -e sh -c '{command}'; echo status $?\r")
        tty.expect(f"status {status}\n")
        assert tty.settings() == before


def test_settings_come_back_when_nothing_can_be_run(cli: Isthmus) -> None:
    with shell(cli) as tty:
        before = tty.settings()
        tty.type("lx -e no-such-program; echo status $?\r")
        tty.expect("status 127\n")
        assert "no-such-program: command not found" in tty.text()
        assert tty.settings() == before


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "KILL"])
@pytest.mark.parametrize("program", ["sh", "bash"])
def test_settings_come_back_when_the_client_is_killed(
    cli: Isthmus, name: str, program: str
) -> None:
    """Even by SIGKILL, and even where the user's shell does not see to that itself (dash)."""
    with shell(cli, program) as tty:
        before = tty.settings()
        tty.type("lx -e sh -c 'echo ready; exec sleep 302'\r")
        tty.expect("\nready")
        wait_until(lambda: tty.is_raw, "raw mode")
        tty.clear()
        client_of(tty).send_signal(getattr(signal, f"SIG{name}"))
        tty.expect("host$")
        if program == "sh":  # bash has settings of its own while it reads a line
            # What does this outlives the client; the prompt may be there a moment before.
            wait_until(lambda: tty.settings() == before, "the settings to come back")
        tty.clear()
        tty.type("echo sa''ne\r")
        tty.expect("echo sa''ne\nsane\nhost$")  # echoed, with line ends that return
    _wait_gone(cli, "sleep 302")


def test_a_closed_window_ends_what_ran_in_it(cli: Isthmus) -> None:
    """The shell, its foreground job, and the client."""
    with terminal(cli) as tty:
        tty.expect(PROMPT)
        tty.type("sleep 303\r")
        _wait_runs(cli, "sleep 303")
        tty.hang_up()
        assert tty.process.wait(30) == -signal.SIGHUP
    _wait_gone(cli, "sleep 303")
    _wait_gone(cli, "-sh")


def test_a_closed_window_is_told_by_signal(cli: Isthmus) -> None:
    script = "trap 'echo hup > /root/hup; exit' HUP; echo ready; while :; do sleep 0.05; done"
    with terminal(cli, "-e", "sh", "-c", script) as tty:
        tty.expect("ready")
        tty.hang_up()
    wait_until(lambda: cli.run("grep hup /root/hup && rm /root/hup").stdout, "SIGHUP to arrive")


def test_interrupt_before_the_command_runs(fresh: Isthmus) -> None:
    """While the machine boots there is no Linux process yet that could take a Ctrl-C."""
    with shell(fresh) as tty:
        tty.type("lx --system -e true; echo status $?\r")
        wait_until(lambda: fresh.qemus(), "QEMU to start", 200)
        tty.type("\x03")
        tty.expect("status 130", 5)
    assert fresh.text("--system", "-e", "echo", "works", timeout=120) == "works"


# -- helpers ---------------------------------------------------------------------------------------


def _arguments(cli: Isthmus) -> list[str]:
    """Command lines of all processes of the distribution."""
    return [line.strip() for line in cli.text("-d", TINY, "ps -o args").splitlines()]


def _wait_runs(cli: Isthmus, arguments: str) -> None:
    wait_until(lambda: arguments in _arguments(cli), f"{arguments} to run")


def _wait_gone(cli: Isthmus, arguments: str) -> None:
    wait_until(lambda: arguments not in _arguments(cli), f"{arguments} to be gone")


def _wait_state(cli: Isthmus, name: str, state: str) -> None:
    script = f"ps -o stat,comm | grep -q '^{state}.* {name}$'"
    wait_until(lambda: cli.run(script).returncode == 0, f"{name} to be in state {state}")
