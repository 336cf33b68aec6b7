"""Pid 1 as a server: reaping, bounds, hung file systems, connections that go."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from guest.initclient import (
    InitClosedError,
    Kill,
    Open,
    OpenReply,
    Spawn,
    SpawnReply,
    SpawnStage,
    Stop,
)
from tests.unit.native.harness import (
    DEADLINE_S,
    NOBODY,
    PATH,
    Client,
    Init,
    Launcher,
    pids_cgroup,
    process_states,
    read_to_end,
    require,
    shell,
    wait_until,
)

assert sys.platform != "win32"

MAX_PENDING = 256
MAX_CONNECTIONS = 8
SLEEP = Spawn((b"sleep", b"1000"), (PATH,), b"sleep")


class HungFileSystem:
    """A FUSE mount, inside the distribution only, whose server never answers.

    It is made from outside, so that this needs nothing of the init.
    """

    def __init__(self, init: Init) -> None:
        require(os.path.exists("/dev/fuse"), "this kernel has no FUSE to hang a process on")
        self.path = "/tmp/hung"
        self.program = Spawn((b"x",), (), b"/tmp/hung/program")
        self._busybox = ["nsenter", "--mount", f"--target={init.pid}", "/bin/busybox"]
        self._server = open("/dev/fuse", "r+b", buffering=0)  # noqa: SIM115 - closed in end()
        (init.root / "tmp/hung").mkdir(exist_ok=True)
        options = "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other"
        mount = [*self._busybox, "mount", "-i", "-t", "fuse", "-o", options, "none", self.path]
        subprocess.run(mount, stdin=self._server, check=True, timeout=DEADLINE_S)

    def end(self) -> None:
        """End the server: whatever waits for it, or asks it later, fails with ENOTCONN."""
        self._server.close()

    def unmount(self) -> None:
        self.end()
        unmount = [*self._busybox, "umount", "-l", self.path]
        subprocess.run(unmount, check=True, timeout=DEADLINE_S)


@contextmanager
def hung_file_system(init: Init) -> Iterator[HungFileSystem]:
    hung = HungFileSystem(init)
    try:
        yield hung
    finally:
        hung.unmount()


def test_orphans_are_reaped(init: Init, client: Client) -> None:
    script = "i=0; while [ $i -lt 500 ]; do (: &); i=$((i+1)); done; echo forked"
    assert client.sh(script).stdout == b"forked\n"
    wait_until(lambda: not process_states(init), "every orphan is reaped")


def test_a_fork_storm_is_an_error_and_passes(launcher: Launcher) -> None:
    with pids_cgroup(12) as cgroup:
        init = launcher.start(cgroup=cgroup)
        client = init.connect()
        with open(os.devnull, "r+b") as null:
            tokens = [client.send(SLEEP, [null.fileno()] * 3) for _ in range(20)]
        replies = [client.reply(token) for token in tokens]
        running = [r.pid for r in replies if isinstance(r, SpawnReply) and not r.error]
        refused = [r for r in replies if isinstance(r, SpawnReply) and r.error]
        assert (len(running), len(refused)) == (11, 9)
        assert {(r.error, r.stage, r.pid) for r in refused} == {(errno.EAGAIN, SpawnStage.FORK, 0)}
        assert client.open("/etc").error == errno.EAGAIN
        for pid in running:
            assert client.call(Kill(pid, signal.SIGKILL)) == 0
        for pid in running:
            assert client.wait_exit(pid).status == signal.SIGKILL
        assert client.sh("echo again").stdout == b"again\n"
        # A storm of the distribution's own making, orphans and all.
        assert client.sh("f() { f | f & }; f >/dev/null 2>&1; exit 5").status == 5
        reply = client.reply(client.send(Stop()))
        assert reply.error == 0  # type: ignore[union-attr]


def test_a_hung_program_holds_up_nobody(init: Init, client: Client) -> None:
    with hung_file_system(init) as hung, open(os.devnull, "r+b") as null:
        fds = [null.fileno()] * 3
        directory = os.fsencode(hung.path)
        tokens = [
            client.send(hung.program, fds),
            client.send(shell("true")._replace(directories=(directory + b"/x",)), fds),
            client.send(Open(directory + b"/x")),
        ]
        assert client.sh("echo others run").stdout == b"others run\n"
        assert init.connect().sh("echo others run").stdout == b"others run\n"
        assert not client.raw.on_readable()
        hung.end()
        answers = [client.reply(token) for token in tokens]
    assert [(a.error, getattr(a, "stage", None)) for a in answers] == [  # type: ignore[union-attr]
        (errno.ENOTCONN, SpawnStage.EXEC),
        (errno.ENOTCONN, SpawnStage.CWD),
        (errno.ENOTCONN, None),
    ]
    wait_until(lambda: not process_states(init), "no process is left")


def test_what_hangs_keeps_nothing_of_pid_1_open(init: Init, client: Client) -> None:
    """Else a client would not see its connection close."""
    with hung_file_system(init) as hung, open(os.devnull, "r+b") as null:
        client.send(hung.program, [null.fileno()] * 3)
        client.send(Open(os.fsencode(hung.path) + b"/file"))

        def descriptors() -> list[list[str]]:
            children = [f"/proc/{init.pid}/root/proc/{pid}/fd" for pid in process_states(init)]
            try:
                found = [[os.readlink(f"{p}/{fd}") for fd in os.listdir(p)] for p in children]
            except FileNotFoundError:
                return []  # closed while we looked
            return sorted(sorted(name.split(":")[0] for name in names) for names in found)

        log = os.readlink(f"/proc/{init.pid}/fd/2")
        wait_until(
            lambda: descriptors() == [["/", log, "socket"], ["/dev/null"] * 3 + ["pipe"]],
            "only what they need is open",
        )


def test_what_hangs_too_long_is_killed(launcher: Launcher) -> None:
    init = launcher.start(extra=["--exec-timeout-ms", "50", "--request-timeout-ms", "50"])
    client = init.connect()
    with hung_file_system(init) as hung, open(os.devnull, "r+b") as null:
        reply = client.spawn(hung.program, [null.fileno()] * 3)
        assert (reply.error, reply.stage) == (errno.ETIMEDOUT, SpawnStage.EXEC)
        assert client.open(f"{hung.path}/file").error == errno.ETIMEDOUT
        wait_until(lambda: not process_states(init), "no process is left")


def test_a_fifo_does_not_hold_up_pid_1(launcher: Launcher) -> None:
    init = launcher.start(extra=["--request-timeout-ms", "50"])
    client = init.connect()
    os.mkfifo(init.root / "fifo")
    assert client.open("/fifo").error == errno.ETIMEDOUT
    wait_until(lambda: not process_states(init), "the helper is gone")


def test_a_fifo_opens_when_its_other_end_does(init: Init, client: Client) -> None:
    os.mkfifo(init.root / "fifo")
    token = client.send(Open(b"/fifo"))
    assert client.sh("echo through > /fifo").status == 0
    reply = client.reply(token)
    assert isinstance(reply, OpenReply)
    assert read_to_end(reply.fd) == b"through\n"
    os.close(reply.fd)


def test_too_many_pending_requests(init: Init) -> None:
    client = init.connect()
    with hung_file_system(init) as hung, open(os.devnull, "r+b") as null:
        tokens = [client.send(hung.program, [null.fileno()] * 3) for _ in range(MAX_PENDING)]
        reply = client.spawn(hung.program, [null.fileno()] * 3)
        assert (reply.error, reply.stage) == (errno.EAGAIN, SpawnStage.FORK)
        assert client.open("/etc").error == errno.EAGAIN
        hung.end()
        errors = {client.reply(token).error for token in tokens}  # type: ignore[union-attr]
    assert errors == {errno.ENOTCONN}
    assert client.sh("echo room").stdout == b"room\n"
    client.close()


def test_the_end_of_a_connection_drops_what_hangs(init: Init) -> None:
    client = init.connect()
    with hung_file_system(init) as hung, open(os.devnull, "r+b") as null:
        for _ in range(3):
            client.send(hung.program, [null.fileno()] * 3)
            client.send(Open(os.fsencode(hung.path) + b"/file"))
        wait_until(lambda: len(process_states(init)) == 6, "six hang")
        client.close()
        wait_until(lambda: not process_states(init), "none is left")


def test_closing_a_connection_hangs_up_its_processes(init: Init, client: Client) -> None:
    other = init.connect()
    read, write = os.pipe()
    # The inner shell says that it has begun, so that it has the signal's default action by then.
    script = shell("trap 'echo hup; exit' HUP; sh -c 'echo begun; exec sleep 1000' & wait")
    with open(os.devnull, "rb") as null:
        other.spawn(script, (null.fileno(), write, null.fileno()))
    os.close(write)
    assert os.read(read, 100) == b"begun\n"
    survivor = client.start(SLEEP)
    other.close()
    assert read_to_end(read) == b"hup\n"  # and the sleep in its group has let go of the pipe
    os.close(read)
    assert client.call(Kill(survivor, signal.SIGKILL)) == 0
    assert client.wait_exit(survivor).status == signal.SIGKILL


def test_closing_a_connection_wakes_its_stopped_processes(init: Init) -> None:
    client = init.connect()
    pid = client.start(SLEEP)
    assert client.call(Kill(pid, signal.SIGSTOP)) == 0
    wait_until(lambda: process_states(init)[str(pid)] == "T", "stopped")
    client.close()
    wait_until(lambda: not process_states(init), "it has ended")


def test_what_ignores_the_hangup_lives_on_and_is_reaped(init: Init, client: Client) -> None:
    other = init.connect()
    pid = other.start(shell("trap '' HUP; touch /tmp/trapped; exec sleep 1000"))
    wait_until((init.root / "tmp/trapped").exists, "the shell ignores SIGHUP")
    other.close()
    assert client.call(Kill(pid, signal.SIGKILL)) == errno.ESRCH  # nobody's any more
    assert client.sh(f"kill -0 {pid} && kill {pid}").status == 0
    wait_until(lambda: not process_states(init), "it is reaped")


def test_many_connections_one_after_another(init: Init) -> None:
    for _ in range(100):
        client = init.connect()
        assert client.call(Kill(1, 0)) == errno.ESRCH
        client.close()
    assert len(os.listdir(f"/proc/{init.pid}/fd")) < 20


def test_too_many_connections(launcher: Launcher) -> None:
    init = launcher.start()
    clients = [init.connect() for _ in range(MAX_CONNECTIONS)]
    assert [client.call(Kill(1, 0)) for client in clients] == [errno.ESRCH] * MAX_CONNECTIONS
    with pytest.raises(InitClosedError):
        init.connect().call(Kill(1, 0))
    assert "connection 9 refused: there are 8 already" in init.log()
    clients[3].close()
    assert clients[0].sh("true").status == 0  # by now the end of the other one is noticed
    assert init.connect().call(Kill(1, 0)) == errno.ESRCH


CONNECT = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)"


def test_a_process_of_the_distribution_is_not_served(init: Init) -> None:
    inside = ["nsenter", "--pid", f"--target={init.pid}", sys.executable, "-Sc", CONNECT, init.path]
    assert subprocess.run(inside, timeout=20, check=False).returncode == 0  # refused: it ended
    assert "the peer is not the agent" in init.log()


def test_another_user_is_not_served(launcher: Launcher) -> None:
    init = launcher.start()
    os.chmod(init.path, 0o777)
    directory = os.open(os.path.dirname(init.path), os.O_PATH)
    os.chmod(os.path.dirname(init.path), 0o755)
    path = f"/proc/self/fd/{directory}/socket"
    connect = [sys.executable, "-Sc", CONNECT, path]
    done = subprocess.run(connect, timeout=20, user=NOBODY, pass_fds=[directory], check=False)
    os.close(directory)
    assert done.returncode == 0
    assert "the peer is not the agent" in init.log()


def test_a_client_that_does_not_read_holds_up_only_itself(init: Init, client: Client) -> None:
    lazy = init.connect()
    tokens = [lazy.send(Kill(1, 0)) for _ in range(2000)]
    # Each round trip lets pid 1 take one more request of the other connection, if it does.
    for _ in tokens:
        assert client.call(Kill(1, 0)) == errno.ESRCH
        lazy.raw.on_writable()
    assert lazy.raw.wants_write  # its requests are not read any more
    assert {lazy.reply(token).error for token in tokens} == {errno.ESRCH}  # type: ignore[union-attr]
    lazy.close()


def test_stop(launcher: Launcher) -> None:
    init = launcher.start()
    client, other = init.connect(), init.connect()
    first = client.start(SLEEP)
    stopped = other.start(SLEEP)
    assert other.call(Kill(stopped, signal.SIGSTOP)) == 0
    stubborn = client.start(shell("trap '' TERM; touch /tmp/trapped; exec sleep 1000"))
    wait_until((init.root / "tmp/trapped").exists, "the shell ignores SIGTERM")
    assert client.call(Stop()) == 0
    assert client.wait_exit(first).status == signal.SIGTERM
    assert other.wait_exit(stopped).status == signal.SIGTERM
    wait_until(lambda: process_states(init).keys() == {str(stubborn)}, "only one is left")
    assert client.call(Stop()) == 0
    assert client.sh("echo alive").stdout == b"alive\n"


def test_stop_of_nothing(launcher: Launcher) -> None:
    assert launcher.start().connect().call(Stop()) == 0


def test_open(init: Init, client: Client) -> None:
    (init.root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (init.root / "etc/link").symlink_to("/etc/passwd")
    (init.root / "etc/out").symlink_to("/../../../../etc/../etc/passwd")
    for path in ("/etc/passwd", "etc/passwd", "/etc/link", "/etc/out", "/../etc/passwd"):
        reply = client.open(path)
        with open(reply.fd) as file:
            assert file.read() == "root:x:0:0::/root:/bin/sh\n"
    assert not os.get_inheritable(client.open("/dev/null").fd)


def test_open_to_write(init: Init, client: Client) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    reply = client.open("/etc/made", flags, 0o666)
    with open(reply.fd, "wb") as file:
        file.write(b"text")
    made = init.root / "etc/made"
    assert (made.read_bytes(), made.stat().st_mode & 0o7777) == (b"text", 0o644)
    assert client.open("/etc/made", flags, 0o666).error == errno.EEXIST
    made.unlink()


OPEN_ERRORS = [
    ("/none", os.O_RDONLY, 0, errno.ENOENT),
    ("", os.O_RDONLY, 0, errno.ENOENT),
    ("/bin/sh/x", os.O_RDONLY, 0, errno.ENOTDIR),
    ("/bin", os.O_WRONLY, 0, errno.EISDIR),
    ("/bin/sh", os.O_RDONLY, 0o600, errno.EINVAL),
    ("/bin/sh", 0xFFFFFFFF, 0, errno.EINVAL),
    ("/proc/self/root/etc", os.O_RDONLY, 0, errno.ELOOP),
    ("/proc/1/fd/2", os.O_WRONLY, 0, errno.ELOOP),
    ("/" + "x" * 5000, os.O_RDONLY, 0, errno.ENAMETOOLONG),
]


@pytest.mark.parametrize(("path", "flags", "mode", "error"), OPEN_ERRORS)
def test_open_errors(client: Client, path: str, flags: int, mode: int, error: int) -> None:
    assert client.open(path, flags, mode)[1:] == (error, -1)
