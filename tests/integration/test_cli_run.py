"""Commands: what is run, as whom, where, and what comes back."""

from __future__ import annotations

import os
import signal

import pytest

from tests.integration.cli_harness import TINY, Isthmus
from wire.network import PROXY_VARIABLES

pytestmark = pytest.mark.vm


# -- line, --exec, -- ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "output"),
    [
        (["echo", "$HOME"], "/root"),
        (["echo $HOME | tr a-z A-Z"], "/ROOT"),
        (["--", "echo", "$HOME"], "/root"),
        (["--exec", "echo", "$HOME"], "$HOME"),
        (["-e", "echo", "a  b", "", "c"], "a  b  c"),
        (["echo", "a  b", "", "c"], "a  b  c"),
        (["sh", "-c", "echo $0; echo '$1' \"x\" `echo y`"], "sh\n$1 x y"),
        (["echo", "it's", "\\back", 'dou"ble'], "it's \\back dou\"ble"),
        (["echo one; echo two"], "one\ntwo"),
        (["-e", "printf", "%s\n", "--exec", "-d", "--"], "--exec\n-d\n--"),
        (["--shell-type", "none", "echo", "$HOME"], "$HOME"),
    ],
)
def test_what_reaches_the_program(cli: Isthmus, args: list[str], output: str) -> None:
    assert cli.text(*args) == output


def test_bytes_that_are_no_utf8_reach_the_program_unchanged(cli: Isthmus) -> None:
    argument = bytes(range(1, 256))
    assert cli.ok("-e", "printf", "%s", argument) == argument
    assert cli.ok("printf %s '" + "ü€𝄞".encode().decode() + "'") == "ü€𝄞".encode()
    assert cli.ok(b"printf %s '\xff\xfe'") == b"\xff\xfe"


def test_arguments_as_long_as_linux_takes_them(cli: Isthmus) -> None:
    argument = "x" * 131071  # MAX_ARG_STRLEN less its NUL (binfmts.h)
    args = [argument] * 6
    script = 'for a; do echo "${#a}"; done'
    assert cli.text("-e", "sh", "-c", script, "-", *args) == "\n".join(["131071"] * 6)


# -- exit status -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1, 3, 67, 87, 254, 255])
def test_exit_status_passes_through(cli: Isthmus, status: int) -> None:
    done = cli.run("-e", "sh", "-c", f"exit {status}")
    assert (done.returncode, done.stdout, done.stderr) == (status, b"", b"")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_death_by_signal_is_128_and_its_number(cli: Isthmus, number: int) -> None:
    done = cli.run("-e", "sh", "-c", f"kill -{int(number)} $$")
    assert done.returncode == 128 + number


def test_a_program_that_is_not_there(cli: Isthmus) -> None:
    done = cli.run("-e", "no-such-program")
    assert done.returncode == 127
    assert b"no-such-program: command not found" in done.stderr
    assert b"Error code: Wsl/Service/CreateInstance/CreateLxProcess/" in done.stderr
    line = cli.run("no-such-program")
    assert line.returncode == 127
    assert b"no-such-program" in line.stderr  # the Linux shell's own words
    assert b"Error code" not in line.stderr


def test_a_file_that_is_no_program(cli: Isthmus) -> None:
    done = cli.run("-e", "/etc/passwd")
    assert done.returncode == 126
    assert b"/etc/passwd: Permission denied" in done.stderr
    directory = cli.run("-e", "/etc")
    assert directory.returncode == 126


# -- who and where ---------------------------------------------------------------------------------


def test_user(cli: Isthmus) -> None:
    assert cli.text("-u", "ada", "-e", "id") == (
        "uid=1000(ada) gid=1000(ada) groups=1000(ada),2000(lovelace)"
    )
    assert cli.text("-u", "1000", "-e", "id", "-un") == "ada"
    assert cli.text("-e", "id", "-u") == "0"
    done = cli.run("-u", "nobody-here", "-e", "true")
    assert done.returncode == 255
    assert b'user "nobody-here"' in done.stderr
    assert b"Error code: Wsl/WSL_E_USER_NOT_FOUND" in done.stderr.splitlines()


def test_directory(cli: Isthmus) -> None:
    assert cli.text("--cd", "/etc", "-e", "pwd") == "/etc"
    assert cli.text("--cd", "~", "-u", "ada", "-e", "pwd") == "/home/ada"
    assert cli.text("~", "-u", "ada", "-e", "pwd") == "/home/ada"
    assert cli.text("--cd", "~/..", "-u", "ada", "-e", "pwd") == "/home"


def test_a_directory_that_cannot_be_entered_is_said_and_not_fatal(cli: Isthmus) -> None:
    done = cli.run("--cd", "/no/such", "-u", "ada", "-e", "pwd")
    assert (done.returncode, done.stdout) == (0, b"/home/ada\n")
    assert b"/no/such" in done.stderr
    private = cli.run("--cd", "/root", "-u", "ada", "-e", "pwd")
    assert (private.returncode, private.stdout) == (0, b"/home/ada\n")
    assert cli.run("-u", "homeless", "-e", "pwd").stdout == b"/\n"


def test_unknown_distribution(cli: Isthmus) -> None:
    done = cli.run("-d", "DoesNotExist", "-e", "true")
    assert done.returncode == 255
    assert b"There is no distribution with the supplied name" in done.stderr
    assert b"Error code: Wsl/Service/WSL_E_DISTRO_NOT_FOUND" in done.stderr.splitlines()
    by_id = cli.run("--distribution-id", "{00000000-0000-0000-0000-000000000000}", "-e", "true")
    assert by_id.returncode == 255
    assert (
        b"Error code: Wsl/Service/CreateInstance/ReadDistroConfig/WSL_E_DISTRO_NOT_FOUND"
        in by_id.stderr.splitlines()
    )


def test_distribution_by_name_and_by_id(cli: Isthmus) -> None:
    identity = next(row["id"] for row in cli.json("--list", "--json") if row["name"] == TINY)
    for args in (
        ["-d", TINY],
        ["-d", TINY.upper()],
        ["--distribution-id", "{" + identity + "}"],
        ["--distribution-id", identity.upper()],
        ["{" + identity + "}"],
    ):
        assert cli.text(*args, "echo $WSL_DISTRO_NAME") == TINY


# -- what a program finds --------------------------------------------------------------------------


def test_environment(cli: Isthmus) -> None:
    proxies = [name for name in os.environ if name.lower() in PROXY_VARIABLES]
    host = {"TERM": "vt220", "COLORTERM": "", "FOREIGN": "x", **dict.fromkeys(proxies, "")}
    done = cli.run("-u", "ada", "-e", "env", env=host)
    variables = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    assert variables == {
        "COLORTERM": "",
        "HOME": "/home/ada",
        "HOSTTYPE": "x86_64",
        "LANG": "C.UTF-8",
        "LOGNAME": "ada",
        "NAME": TINY,
        "PATH": variables["PATH"],
        "SHELL": "/bin/sh",
        "TERM": "vt220",
        "USER": "ada",
        "WSL_DISTRO_NAME": TINY,
        "ISTHMUS_PATH": variables["ISTHMUS_PATH"],
        "WSL_INTEROP": "/run/WSL/1_interop",
    }
    assert variables["PATH"].endswith(":" + variables["ISTHMUS_PATH"])
    assert {"/usr/local/sbin", "/usr/bin", "/bin", "/sbin"} <= set(variables["PATH"].split(":"))


def test_names(cli: Isthmus) -> None:
    host = os.uname().nodename.partition(".")[0]
    assert cli.text("-e", "hostname") == host
    hosts = cli.text("-e", "cat", "/etc/hosts").splitlines()
    assert "127.0.0.1\tlocalhost" in hosts
    assert f"127.0.1.1\t{host}" in hosts
    assert cli.text("-e", "readlink", "/etc/resolv.conf") == "/mnt/wsl/resolv.conf"
    assert "nameserver 10.0.2.3" in cli.text("-e", "cat", "/etc/resolv.conf").splitlines()


def test_descriptors_and_signals_are_those_of_a_fresh_process(cli: Isthmus) -> None:
    listed = cli.text("-e", "ls", "/proc/self/fd").split()
    assert listed == ["0", "1", "2", "3"]  # 3 is the directory that ls reads
    state = cli.text("-e", "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    assert state.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]
    assert cli.text("umask") == "0022"


def test_login_shell(cli: Isthmus) -> None:
    """Without a command, and fed from a pipe, the shell is a login shell that reads the pipe."""
    assert cli.ok(input=b'echo "$0 $PS1"\n') == b"-sh tiny# \n"
    assert cli.run(input=b"exit 5\n").returncode == 5
    assert cli.text("--shell-type", "login", 'echo "$PS1"') == "tiny# "
    assert cli.text('echo "$PS1"') != "tiny# "
