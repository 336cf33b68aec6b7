"""Runs the real distro-init on the host kernel: a root of busybox, a process, a client.

It needs root: devtmpfs can be mounted by nobody else, not even in a user namespace.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from guest import initclient
from guest.initclient import Bind, Event, ExitEvent, Open, OpenReply, Spawn, SpawnReply

NATIVE = Path(__file__).resolve().parents[3] / "guest" / "native"
DEADLINE_S = 20.0
"""For what takes milliseconds: only a hang gets there."""
NOBODY = 65534
PATH = b"PATH=/bin"
APPLETS = (
    *("cat", "echo", "env", "false", "hostname", "id", "kill", "ls", "mkdir", "mount", "printf"),
    *("ps", "pwd", "readlink", "seq", "sh", "sleep", "stat", "stty", "touch", "true", "tty"),
    *("umount", "wc"),
)


def require(condition: bool, reason: str) -> None:
    """Fail for want of what this machine lacks; skip only where skips were asked for."""
    if condition:
        return
    if os.environ.get("ISTHMUS_ALLOW_SKIPS") == "1":
        pytest.skip(reason)
    pytest.fail(f"{reason} (ISTHMUS_ALLOW_SKIPS=1 skips instead)")


def find_binary() -> Path:
    """The distro-init under test: ISTHMUS_DISTRO_INIT if set, else what `make` builds."""
    chosen = os.environ.get("ISTHMUS_DISTRO_INIT")
    if chosen:
        return Path(chosen)
    require(shutil.which("musl-gcc") is not None, "building distro-init needs musl-tools")
    made = subprocess.run(
        ["make", "-C", str(NATIVE)], capture_output=True, text=True, timeout=100, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return NATIVE / "build" / "distro-init"


def find_busybox() -> Path:
    """A busybox that needs no libraries."""
    found = shutil.which("busybox")
    require(found is not None, "the tests' root file system needs busybox-static")
    assert found is not None
    require(not _has_interpreter(Path(found)), "the busybox here needs libraries: busybox-static")
    return Path(found)


def _has_interpreter(program: Path) -> bool:
    """True for an ELF64 program with a dynamic loader, PT_INTERP (elf(5))."""
    data = program.read_bytes()
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    kinds = [struct.unpack_from("<I", data, offset + i * size)[0] for i in range(count)]
    return 3 in kinds


def make_root(directory: Path, busybox: Path) -> Path:
    """Fill `directory` with a root file system of one program."""
    for name in ("bin", "etc", "home", "tmp"):
        (directory / name).mkdir(parents=True)
    os.link(busybox, directory / "bin" / "busybox")
    for name in APPLETS:
        (directory / "bin" / name).symlink_to("busybox")
    (directory / "tmp").chmod(0o1777)
    directory.chmod(0o755)
    return directory


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll a condition that the kernel gives no event for."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.001)


def wait_readable(fd: int) -> None:
    """Block until `fd` is readable or at its end, at most DEADLINE_S."""
    assert select.select([fd], [], [], DEADLINE_S)[0], f"nothing to read from {fd}"


def read_to_end(fd: int) -> bytes:
    """Everything from a pipe until its last writer has closed it."""
    parts: list[bytes] = []
    while True:
        wait_readable(fd)
        part = os.read(fd, 65536)
        if not part:
            return b"".join(parts)
        parts.append(part)


class Result(NamedTuple):
    """What a process has left. `status` is an exit code, or minus a signal's number."""

    status: int
    stdout: bytes
    stderr: bytes
    reply: SpawnReply
    exit: ExitEvent


class Client:
    """A connection to the init, with blocking calls."""

    def __init__(self, path: str) -> None:
        self.raw = initclient.InitClient.connect(path)
        self._events: list[Event] = []

    def _next(self, wanted: Callable[[Event], bool]) -> Event:
        """The first event that is wanted; others are kept for later."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            for index, event in enumerate(self._events):
                if wanted(event):
                    return self._events.pop(index)
            left = max(deadline - time.monotonic(), 0)
            writing = [self.raw] if self.raw.wants_write else []
            _, writable, _ = ready = select.select([self.raw], writing, [], left)
            assert any(ready), "no answer"
            if writable:
                self.raw.on_writable()
            self._events += self.raw.on_readable()

    def send(self, request: initclient.Request, fds: Sequence[int] = ()) -> int:
        return self.raw.request(request, fds)

    def reply(self, token: int) -> Event:
        return self._next(lambda event: not isinstance(event, ExitEvent) and event.token == token)

    def call(self, request: initclient.Request, fds: Sequence[int] = ()) -> int:
        """Carry out a Kill or Stop; gives the errno."""
        reply = self.reply(self.send(request, fds))
        assert isinstance(reply, initclient.Done)
        return reply.error

    def spawn(self, request: Spawn, fds: Sequence[int]) -> SpawnReply:
        reply = self.reply(self.send(request, fds))
        assert isinstance(reply, SpawnReply)
        return reply

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0) -> OpenReply:
        reply = self.reply(self.send(Open(os.fsencode(path), flags, mode)))
        assert isinstance(reply, OpenReply)
        return reply

    def wait_exit(self, pid: int) -> ExitEvent:
        event = self._next(lambda event: isinstance(event, ExitEvent) and event.pid == pid)
        assert isinstance(event, ExitEvent)
        return event

    def start(self, request: Spawn) -> int:
        """Start a process without descriptors of use; gives its pid."""
        with open(os.devnull, "r+b") as null:
            reply = self.spawn(request, [null.fileno()] * 3)
        assert reply.error == 0, reply
        return reply.pid

    def run(self, request: Spawn, stdin: bytes = b"") -> Result:
        """Run a process to its end. `stdin` must fit a pipe."""
        pipes = [os.pipe() for _ in range(3)]
        (in_read, in_write), (out_read, out_write), (err_read, err_write) = pipes
        os.write(in_write, stdin)
        os.close(in_write)
        reply = self.spawn(request, (in_read, out_write, err_write))
        for fd in (in_read, out_write, err_write):
            os.close(fd)
        out, err = _read_both(out_read, err_read)
        if reply.error:
            return Result(-1, out, err, reply, ExitEvent(0, 0, 0, 0, 0))
        ended = self.wait_exit(reply.pid)
        return Result(os.waitstatus_to_exitcode(ended.status), out, err, reply, ended)

    def sh(self, script: str, **changes: object) -> Result:
        """Run a shell script as root in the root directory, or as `changes` of Spawn say."""
        return self.run(shell(script)._replace(**changes))  # type: ignore[arg-type]

    def close(self) -> None:
        self.raw.close()


def _read_both(first: int, second: int) -> tuple[bytes, bytes]:
    parts: list[bytes] = [b"", b""]
    reader = threading.Thread(target=lambda: parts.__setitem__(1, read_to_end(second)))
    reader.start()
    parts[0] = read_to_end(first)
    reader.join()
    os.close(first)
    os.close(second)
    return parts[0], parts[1]


def shell(script: str) -> Spawn:
    return Spawn(argv=(b"sh", b"-c", script.encode()), environment=(PATH,), file=b"sh")


class Init:
    """A distro-init whose pid 1 serves."""

    def __init__(self, pid: int, root: Path, directory: Path) -> None:
        self.pid = pid
        self.root = root
        self.path = str(directory / "socket")
        self._log = directory / "log"
        self._pidfd: int = os.pidfd_open(pid)  # type: ignore[attr-defined,unused-ignore]
        self._clients: list[Client] = []

    def connect(self) -> Client:
        client = Client(self.path)
        self._clients.append(client)
        return client

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def is_alive(self) -> bool:
        return not select.select([self._pidfd], [], [], 0)[0]

    def end(self) -> None:
        """SIGKILL pid 1, and with it all processes of its namespace."""
        for client in self._clients:
            client.close()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(  # type: ignore[attr-defined,unused-ignore]
                self._pidfd,
                signal.SIGKILL,  # type: ignore[attr-defined,unused-ignore]
            )
        wait_readable(self._pidfd)
        os.close(self._pidfd)


class Launcher:
    """Starts distro-init on roots of its own."""

    def __init__(self, binary: Path, busybox: Path, directory: Path) -> None:
        self._binary = binary
        self._busybox = directory / "busybox"
        shutil.copy2(busybox, self._busybox)
        self._directory = directory
        self._stack = ExitStack()

    def make_root(self) -> Path:
        return make_root(Path(tempfile.mkdtemp(dir=self._directory)) / "root", self._busybox)

    def run(
        self, arguments: Callable[[int, int], list[str]], prefix: Sequence[str] = ()
    ) -> tuple[bytes, int, Path]:
        """Run the program with `arguments(listen_fd, ready_fd)`.

        Gives what it wrote to the ready descriptor, its exit status, and the directory that
        holds its socket and log.
        """
        directory = Path(tempfile.mkdtemp(dir=self._directory))
        ready_read, ready_write = os.pipe()
        with (
            socket.socket(socket.AF_UNIX) as listener,  # type: ignore[attr-defined,unused-ignore]
            open(directory / "log", "wb") as log,
        ):
            listener.bind(str(directory / "socket"))
            listener.listen(16)
            listen_fd = listener.fileno()
            process = subprocess.Popen(
                [*prefix, str(self._binary), *arguments(listen_fd, ready_write)],
                pass_fds=(listen_fd, ready_write),
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        os.close(ready_write)
        try:
            return read_to_end(ready_read), process.wait(DEADLINE_S), directory
        finally:
            os.close(ready_read)
            process.kill()
            process.wait()

    def try_start(
        self,
        root: Path,
        *,
        cgroup: str | None = None,
        binds: Sequence[Bind] = (),
        extra: Sequence[str] = (),
        prefix: Sequence[str] = (),
        hostname: str = "isthmus-test",
    ) -> Init:
        """Start it on `root`; InitStartError if it says why it does not start."""

        def arguments(listen_fd: int, ready_fd: int) -> list[str]:
            common = initclient.init_arguments(
                root=str(root),
                hostname=hostname,
                listen_fd=listen_fd,
                ready_fd=ready_fd,
                cgroup=cgroup,
                binds=binds,
            )
            return [*common, *extra]

        line, status, directory = self.run(arguments, prefix)
        pid = initclient.parse_ready(line)
        assert status == 0
        init = Init(pid, root, directory)
        self._stack.callback(init.end)
        return init

    def start(self, **options: object) -> Init:
        """Start it on a new root, with the options of `try_start`."""
        return self.try_start(self.make_root(), **options)  # type: ignore[arg-type]

    def end_all(self) -> None:
        self._stack.close()


@contextmanager
def pids_cgroup(limit: int) -> Iterator[str]:
    """A cgroup of its own that holds at most `limit` processes, of either cgroup version."""
    parent = _pids_controller()
    require(parent is not None, "no pids controller that can be used")
    directory = tempfile.mkdtemp(prefix="isthmus-test-", dir=parent)
    try:
        Path(directory, "pids.max").write_text(str(limit))
        yield directory
    finally:
        wait_until(lambda: _emptied_and_removed(directory), f"{directory} is removed")


def _emptied_and_removed(cgroup: str) -> bool:
    for pid in Path(cgroup, "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)  # type: ignore[attr-defined,unused-ignore]
    try:
        os.rmdir(cgroup)
    except OSError:
        return False  # a process that has ended leaves its cgroup a moment later
    return True


def _pids_controller() -> str | None:
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split() for line in file]
    for fields in mounts:
        kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
        if kind == "cgroup" and "pids" in options:
            return fields[4]
        if kind == "cgroup2":
            try:
                Path(fields[4], "cgroup.subtree_control").write_text("+pids")
            except OSError:
                continue
            return fields[4]
    return None


def namespaces(pid: int | str) -> Mapping[str, str]:
    """The namespaces of a process by kind."""
    return {
        kind: os.readlink(f"/proc/{pid}/ns/{kind}")
        for kind in ("mnt", "pid", "uts", "ipc", "cgroup", "net", "user")
    }


def process_states(init: Init) -> dict[str, str]:
    """State letters (proc(5)) of the distribution's processes but pid 1, by pid."""
    states = {}
    for path in Path(f"/proc/{init.pid}/root/proc").glob("[0-9]*/stat"):
        try:
            states[path.parent.name] = path.read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
    del states["1"]
    return states


def build_native(target: str) -> Path:
    """A program of guest/native, made now if need be."""
    require(shutil.which("musl-gcc") is not None, "building the guest's programs needs musl-tools")
    made = subprocess.run(
        ["make", "-C", str(NATIVE), target],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return NATIVE / target
