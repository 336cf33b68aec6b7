"""SPAWN: what a process gets, and how a failure is reported."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import pytest

from guest.initclient import Spawn, SpawnStage
from tests.unit.native.harness import NOBODY, PATH, Client, Init, process_states, shell, wait_until

assert sys.platform != "win32"


def write_program(init: Init, path: str, text: str, mode: int = 0o755) -> None:
    file = init.root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def test_three_separate_binary_streams(client: Client) -> None:
    data = bytes(range(256)) * 100
    result = client.run(shell("cat; echo error >&2"), stdin=data)
    assert (result.status, result.stdout, result.stderr) == (0, data, b"error\n")


@pytest.mark.parametrize("status", [0, 1, 127, 255])
def test_exit_status(client: Client, status: int) -> None:
    assert client.sh(f"exit {status}").status == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_death_by_signal(client: Client, number: signal.Signals) -> None:
    assert client.sh(f"kill -{int(number)} $$").status == -number


def test_arguments_and_environment_arrive_exactly(client: Client) -> None:
    argv = (
        b"sh",
        b"-c",
        b'printf "%s|" "$@"; env',
        b"name",
        b"",
        b" ",
        b"\xff\xfe",
        b"a\nb",
        b"$x",
    )
    environment = (PATH, b"EMPTY=", b"BYTES=\xff", b"NAME=a=b", b"no-equals-sign")
    result = client.run(Spawn(argv, environment, b"sh"))
    assert result.stdout.startswith(b"| |\xff\xfe|a\nb|$x|")
    assert {b"EMPTY=", b"BYTES=\xff", b"NAME=a=b", PATH} <= set(
        result.stdout.split(b"|")[-1].split()
    )
    assert b"HOSTNAME" not in result.stdout


def test_argv_0_need_not_be_the_program(client: Client) -> None:
    result = client.run(Spawn((b"-sh", b"-c", b"echo $0"), (PATH,), b"/bin/sh"))
    assert result.stdout == b"-sh\n"


def test_only_three_descriptors(client: Client) -> None:
    result = client.run(Spawn((b"ls", b"/proc/self/fd"), (PATH,), b"ls"))
    assert result.stdout.split() == [b"0", b"1", b"2", b"3"]  # 3 is the directory that ls reads
    assert b"/3: cannot" not in client.sh("ls -l /proc/$$/fd").stdout


def test_signals_are_default_and_unblocked(client: Client) -> None:
    status = client.run(Spawn((b"cat", b"/proc/self/status"), (PATH,), b"cat")).stdout.decode()
    masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig"))
    assert {masks[name] for name in ("SigPnd", "SigBlk", "SigIgn", "SigCgt")} == {"0" * 16}


def test_the_process_leads_a_session_and_its_group(client: Client) -> None:
    result = client.run(Spawn((b"cat", b"/proc/self/stat"), (PATH,), b"cat"))
    pid, _name, _state, parent, group, session, terminal, *_ = result.stdout.split()
    assert (parent, terminal) == (b"1", b"0")
    assert group == session == pid == str(result.reply.pid).encode()


def test_user_group_and_groups(client: Client) -> None:
    result = client.sh("id; cat /proc/self/status", uid=1000, gid=100, groups=(100, 27, 65534))
    assert result.stdout.startswith(b"uid=1000 gid=100 groups=27,100,65534\n")
    assert b"\nUid:\t1000\t1000\t1000\t1000\nGid:\t100\t100\t100\t100\n" in result.stdout
    assert b"\nCapEff:\t0000000000000000\n" in result.stdout


def test_no_groups_are_left_from_pid_1(client: Client) -> None:
    assert client.sh("cat /proc/self/status", uid=1).stdout.count(b"\nGroups:\t \n") == 1


def test_ids_that_cannot_be(client: Client) -> None:
    reply = client.sh("true", uid=0xFFFFFFFF, gid=0xFFFFFFFF, groups=(0xFFFFFFFF,)).reply
    assert (reply.stage, reply.error, reply.pid) == (SpawnStage.IDS, errno.EINVAL, 0)


def test_umask(client: Client) -> None:
    assert client.sh("umask", umask=0o027).stdout == b"0027\n"


def test_the_first_directory_that_the_user_can_enter(init: Init, client: Client) -> None:
    (init.root / "secret").mkdir(mode=0o700, exist_ok=True)
    directories = (b"/missing", b"/secret", b"/bin/sh", b"/home", b"/tmp")
    result = client.sh("pwd", uid=NOBODY, directories=directories)
    assert (result.reply.directory, result.stdout) == (3, b"/home\n")
    result = client.sh("pwd", directories=directories)
    assert (result.reply.directory, result.stdout) == (1, b"/secret\n")


def test_no_directory_means_the_root(client: Client) -> None:
    result = client.sh("pwd")
    assert (result.reply.directory, result.stdout) == (0, b"/\n")


def test_no_directory_can_be_entered(client: Client) -> None:
    reply = client.sh("pwd", directories=(b"/bin/sh", b"/missing")).reply
    assert (reply.stage, reply.error, reply.pid) == (SpawnStage.CWD, errno.ENOTDIR, 0)


def test_the_directory_does_not_lead_out_of_the_root(client: Client) -> None:
    assert client.sh("pwd; ls", directories=(b"/../../..",)).stdout.startswith(b"/\nbin\n")


EXEC_ERRORS = {
    "missing": (b"/bin/none", errno.ENOENT),
    "not in PATH": (b"none", errno.ENOENT),
    "empty": (b"", errno.ENOENT),
    "directory": (b"/bin", errno.EACCES),
    "not executable": (b"/etc/plain", errno.EACCES),
    "below a file": (b"/bin/sh/x", errno.ENOTDIR),
    "interpreter missing": (b"/etc/no-interpreter", errno.ENOENT),
    "too long": (b"/" + b"x" * 5000, errno.ENAMETOOLONG),
    "part too long": (b"/" + b"x" * 300, errno.ENAMETOOLONG),
    "found but not executable": (b"plain", errno.EACCES),
}


@pytest.mark.parametrize(("file", "error"), EXEC_ERRORS.values(), ids=EXEC_ERRORS.keys())
def test_exec_errors(init: Init, client: Client, file: bytes, error: int) -> None:
    write_program(init, "/etc/plain", "echo plain\n", 0o644)
    write_program(init, "/etc/no-interpreter", "#!/none\n")
    result = client.run(Spawn((b"x",), (b"PATH=/none:/bin/sh:/etc:/bin",), file))
    assert result.reply[1:] == (error, SpawnStage.EXEC, 0, 0)
    assert (result.stdout, result.stderr) == (b"", b"")


def test_arguments_that_the_kernel_finds_too_long(client: Client) -> None:
    reply = client.run(Spawn((b"true", b"x" * 200_000), (PATH,), b"true")).reply
    assert (reply.stage, reply.error) == (SpawnStage.EXEC, errno.E2BIG)


def test_one_mebibyte_of_arguments(client: Client) -> None:
    argv = (b"sh", b"-c", b"echo $#", b"sh", *[b"x" * 15] * 65536)
    assert client.run(Spawn(argv, (PATH,), b"sh")).stdout == b"65536\n"


def test_the_path_of_the_request_is_searched_in_order(init: Init, client: Client) -> None:
    write_program(init, "/path/first/program", "", 0o644)
    write_program(init, "/path/second/program", "#!/bin/sh\necho second\n")
    write_program(init, "/path/third/program", "#!/bin/sh\necho third\n")
    write_program(init, "/usr/bin/program", "#!/bin/sh\necho default\n")
    path = b"PATH=/none:/path/first:/path/second:/path/third"
    assert client.run(Spawn((b"p",), (path,), b"program")).stdout == b"second\n"
    assert client.run(Spawn((b"p",), (), b"program")).stdout == b"default\n"
    assert client.run(Spawn((b"p",), (b"PATHS=/path/third",), b"program")).stdout == b"default\n"
    assert client.run(Spawn((b"p",), (b"PATH=",), b"program")).reply.error == errno.ENOENT
    long = b"PATH=" + b"x" * 5000 + b":/path/third"
    assert client.run(Spawn((b"p",), (long,), b"program")).stdout == b"third\n"


@pytest.mark.parametrize("path", [b"PATH=", b"PATH=:/none", b"PATH=/none:", b"PATH=/none::/bin"])
def test_an_empty_part_of_the_path_is_the_working_directory(
    init: Init, client: Client, path: bytes
) -> None:
    write_program(init, "/home/here", "#!/bin/sh\necho here\n")
    spawn = Spawn((b"here",), (path,), b"here", directories=(b"/home",))
    assert client.run(spawn).stdout == b"here\n"


@pytest.mark.parametrize("file", [b"/opt/script", b"script"])
def test_a_script_without_a_first_line_is_run_by_the_shell(
    init: Init, client: Client, file: bytes
) -> None:
    write_program(init, "/opt/script", 'echo "$0" "$@"\n')
    result = client.run(Spawn((b"ignored", b"a b", b"c"), (b"PATH=/opt:/bin",), file))
    assert result.stdout == b"/opt/script a b c\n"
    assert client.run(Spawn((b"only",), (b"PATH=/opt:/bin",), file)).stdout == b"/opt/script\n"


def test_a_failed_spawn_has_no_exit_event_and_leaves_no_zombie(init: Init, client: Client) -> None:
    for _ in range(20):
        assert client.run(Spawn((b"x",), (), b"/none")).reply.error == errno.ENOENT
    wait_until(lambda: not process_states(init), "no zombie is left")
    assert not client.raw.on_readable()


def test_what_a_process_used(client: Client) -> None:
    script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
    ended = client.sh(script).exit
    assert 0 < ended.user_us < 20_000_000
    assert 0 <= ended.system_us < 20_000_000
    assert 100 < ended.maxrss_kib < 100_000


def test_exits_tell_which_process(client: Client) -> None:
    with open(os.devnull, "r+b") as null:
        tokens = [client.send(shell(f"exit {i}"), [null.fileno()] * 3) for i in range(200)]
    replies = [client.reply(token) for token in tokens]
    statuses = [client.wait_exit(reply.pid).status >> 8 for reply in replies]  # type: ignore[union-attr]
    assert statuses == list(range(200))


def test_the_reply_comes_before_the_exit(client: Client) -> None:
    with open(os.devnull, "r+b") as null:
        for _ in range(50):
            token = client.send(Spawn((b"true",), (PATH,), b"true"), [null.fileno()] * 3)
            seen: list[int] = []
            while len(seen) < 2:
                seen += [getattr(event, "token", 0) for event in client.raw.on_readable()]
            assert seen == [token, 0]


def test_the_process_is_not_the_distributions_to_lead_astray(init: Init, client: Client) -> None:
    """A mount over /proc must not catch what pid 1 writes there for each child."""
    fake = init.root / "fake/self"
    fake.mkdir(parents=True, exist_ok=True)
    score = fake / "oom_score_adj"
    if not score.exists():
        os.mkfifo(score)
    assert client.sh("mount -o bind /fake /proc").status == 0
    try:
        assert client.sh("echo runs").stdout == b"runs\n"
    finally:
        assert client.sh("umount /proc").status == 0
    assert Path(f"/proc/{init.pid}/root/proc/1").exists()
