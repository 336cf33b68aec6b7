"""The programs that people live in, at a terminal: bash, vim, less, htop, tmux.

They are Debian's, unpacked without being installed, which takes seconds instead of minutes.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.rootfs import _sources
from tests.integration.cli_harness import BOOT_TIMEOUT_S, Isthmus, require, wait_until
from tests.integration.pty_harness import Tty, terminal
from vm.image.archive import suites
from vm.image.signature import KEYRING

pytestmark = [pytest.mark.vm, pytest.mark.network]

NAME = "programs"
PACKAGES = (
    *("base-files", "bash", "coreutils", "dash", "grep", "libc-bin", "ncurses-base", "ncurses-bin"),
    *("vim", "less", "htop", "tmux"),
)
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
    "root/.bash_profile": "PS1='bash> '\n",
    "root/.bashrc": "PS1='bash> '\n",
    "root/numbers": "".join(f"line {number}\n" for number in range(1, 1001)),
}


@pytest.fixture(scope="module")
def programs(cli: Isthmus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a distribution that has them."""
    path = make_root(tmp_path_factory.mktemp("programs"))
    done = cli.run("--import", NAME, str(cli.home / NAME), str(path), timeout=BOOT_TIMEOUT_S)
    assert done.returncode == 0, done
    path.unlink()
    yield NAME
    cli.run("--unregister", NAME)


def make_root(directory: Path) -> Path:
    program = shutil.which("mmdebstrap")
    require(program is not None, "mmdebstrap is needed for a root with programs in it")
    assert program is not None
    keyring = Path(shutil.copy(KEYRING, directory / "keyring.gpg"))
    keyring.chmod(0o644)
    wanted = suites()
    path = directory / "root.tar"
    argv = [program, "--quiet", "--variant=extract", "--format=tar"]
    argv += [f"--include={','.join(PACKAGES)}", '--aptopt=APT::Install-Recommends "false"']
    argv += [wanted[0].codename, str(path), *_sources(wanted, str(keyring))]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TMPDIR": str(directory)}
    subprocess.run(argv, check=True, timeout=300, env=environment)
    with tarfile.open(path, "a") as tar:
        for name, text in FILES.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("./usr/bin/vim")
        link.type, link.linkname = tarfile.SYMTYPE, "vim.basic"
        tar.addfile(link)
    return path


def last_line(tty: Tty) -> str:
    return tty.screen.display[-1].rstrip()


# -- bash ------------------------------------------------------------------------------------------


def test_bash_edits_wide_characters(cli: Isthmus, programs: str) -> None:
    """Keys may come in any pieces; one backspace takes one character, two columns wide."""
    with terminal(cli, "-d", programs, "--cd", "~") as tty:
        tty.expect("bash>")
        for byte in "echo 漢字é\r".encode():  # bash shows this badly, as everywhere, but has it
            tty.type(bytes([byte]))
            tty.pump(0.02)
        tty.expect("\n漢字é\nbash>")
        tty.clear()
        tty.type("echo 漢字é")
        tty.expect("echo 漢字é")
        tty.type("\x7f\x7f語\x1b[D\x1b[D本\r")
        tty.expect("echo 本漢語\n本漢語\nbash>")
        assert tty.screen.cursor.x == len("bash> ")
        tty.type("\x04")
        assert tty.expect_end() == 0


def test_bash_does_not_run_what_is_pasted(cli: Isthmus, programs: str) -> None:
    """Bracketed paste: two lines are one text until Enter is pressed."""
    with terminal(cli, "-d", programs) as tty:
        wait_until(lambda: tty.pump(0.1) and b"\x1b[?2004h" in tty.raw, "bracketed paste")
        tty.type("\x1b[200~echo o''ne\necho t''wo\x1b[201~")
        tty.expect("echo t''wo")
        assert "one" not in tty.text()
        tty.type("\r")
        tty.expect("\none\ntwo\n")


def test_bash_controls_jobs(cli: Isthmus, programs: str) -> None:
    with terminal(cli, "-d", programs) as tty:
        tty.expect("bash>")
        tty.type("sleep 500\r")
        wait_until(
            lambda: cli.run("-d", programs, "grep -l sleep.500 /proc/*/cmdline").stdout, "it"
        )
        tty.type("\x1a")
        tty.expect("[1]+  Stopped")
        tty.type("bg; jobs\r")
        tty.expect("[1]+  Running")
        tty.type("fg\r")
        tty.expect("fg\nsleep 500")
        tty.type("\x03")
        tty.type("echo status $?\r")
        tty.expect("status 130")


# -- programs that take the whole screen -----------------------------------------------------------


def test_vim(cli: Isthmus, programs: str) -> None:
    """Typing, splitting, a window that grows, a file in the end."""
    with terminal(cli, "-d", programs, "-e", "vim", "/root/text") as tty:
        tty.expect('"~/text" [New]')
        tty.type("iGrüße 漢字\rsecond\rthird\x1b")
        tty.expect("Grüße 漢字\nsecond\nthird\n~")
        tty.type(":vsplit\r")
        wait_until(lambda: not tty.pump(0.1) and tty.text().count("third") == 2, "two windows")
        tty.resize(40, 120)
        wait_until(lambda: not tty.pump(0.1) and tty.screen.display[37][:1] == "~", "more lines")
        assert tty.screen.display[0].count("Grüße 漢字") == 2
        tty.type(":set columns? lines?\r")
        tty.expect("columns=120")
        tty.expect("lines=40")
        tty.type("\r:wqall\r")
        assert tty.expect_end() == 0
    assert cli.text("-d", programs, "-e", "cat", "/root/text") == "Grüße 漢字\nsecond\nthird"


def test_less(cli: Isthmus, programs: str) -> None:
    with terminal(cli, "-d", programs, "-e", "less", "/root/numbers") as tty:
        tty.expect("line 1\nline 2\n")
        tty.expect("/root/numbers")
        tty.type(" ")
        tty.expect("line 24\n")
        tty.type("/line 500\r")
        wait_until(lambda: not tty.pump(0.1) and tty.text().startswith("line 500"), "500")
        tty.expect("line 500\nline 501")
        tty.type("G")
        tty.expect("line 1000\n(END)")
        tty.resize(10, 40)
        tty.type("gG")
        wait_until(lambda: not tty.pump(0.1) and last_line(tty) == "(END)", "the smaller screen")
        assert tty.screen.display[0].rstrip() == "line 992"
        tty.type("q")
        assert tty.expect_end() == 0


def test_htop(cli: Isthmus, programs: str) -> None:
    with terminal(cli, "-d", programs, "-e", "htop", "--no-colour") as tty:
        tty.expect("Load average:")
        tty.expect("F10Quit")
        assert last_line(tty).startswith("F1Help")
        tty.resize(45, 100)
        wait_until(
            lambda: not tty.pump(0.1) and last_line(tty).startswith("F1Help"), "a new last line"
        )
        tty.type("\x1b[21~")  # F10
        assert tty.expect_end() == 0


def test_tmux(cli: Isthmus, programs: str) -> None:
    """Two panes; the session outlives its client, and is there for the next one."""
    with terminal(cli, "-d", programs, "-e", "tmux", "-u", "new", "-s", "work") as tty:
        tty.expect("[work]")
        tty.expect("bash")
        tty.type("tput cols\r")
        tty.expect("\n80\n")
        tty.type("\x02%")
        tty.expect("│")
        tty.type("tput cols; mark=kept\r")
        tty.expect("39")
        tty.resize(30, 120)
        tty.expect("[work]")
        tty.type("\x02d")
        assert tty.expect_end() == 0
    with terminal(cli, "-d", programs, "-e", "tmux", "-u", "attach") as tty:
        tty.expect("[work]")
        tty.type("clear; echo =$mark=\r")
        tty.expect("=kept=")
        tty.type("tmux kill-server\r")
        assert tty.expect_end() in (0, 1)  # as tmux has it when its server goes
