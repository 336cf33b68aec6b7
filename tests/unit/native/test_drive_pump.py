"""drive-pump on this host's kernel: a socket for its port, and real servers at the other end."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import multiprocessing
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

import pytest

from interop.drives import serving_posix
from interop.drives.bulk import SLOT_BYTES, make_file
from interop.drives.metadata import Options
from tests.unit.native.harness import NATIVE, require

assert sys.platform != "win32"

DEADLINE_S = 20.0
OUT_HEADER = struct.Struct("<IiQ")
IN_HEADER = struct.Struct("<IIQQIIII")
FUSE_INIT = 26
FUSE_INTERRUPT = 36


@pytest.fixture(scope="session", params=["build", "build/sanitize"])
def pump_program(request: pytest.FixtureRequest) -> Path:
    require(os.geteuid() == 0 and os.path.exists("/dev/fuse"), "mounting takes root and FUSE")
    goal = "sanitize" if "sanitize" in request.param else "test-programs"
    made = subprocess.run(
        ["make", "-C", str(NATIVE), goal], capture_output=True, text=True, timeout=100, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return NATIVE / str(request.param) / "drive-pump-test"


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.005)


class Drive:
    """A pump that runs: `mnt` is the mount, `port` the host's end of its port."""

    def __init__(self, program: Path, directory: Path, *options: str) -> None:
        self.root, self.mnt = directory / "root", directory / "mnt"
        self.root.mkdir()
        self._address = str(directory / "control")
        self.port, theirs = socket.socketpair()
        control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        control.bind(self._address)
        ready, ready_theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
        fds = (theirs.fileno(), control.fileno(), ready_theirs.fileno(), namespace)
        argv = [str(program), "--port", str(fds[0]), "--control", str(fds[1])]
        argv += ["--ready", str(fds[2]), "--namespace", str(fds[3]), "--init", str(os.getpid())]
        argv += ["--source", "C:\\", "--target", str(self.mnt), "--attributes", "0", *options]
        self._servers: list[multiprocessing.process.BaseProcess] = []
        self.bulk = directory / "bulk"
        with ready:
            self.process = subprocess.Popen(argv, pass_fds=fds, stderr=subprocess.PIPE)
            for ours in (theirs, control, ready_theirs):
                ours.close()
            os.close(namespace)
            assert select.select([ready], [], [], DEADLINE_S)[0]
            self.said = ready.recv(256)

    def tell(self, text: str) -> None:
        """A datagram, as the agent sends them."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(text.encode(), self._address)

    def serve(self, nonce: bytes) -> None:
        """Announce a real server, and start it."""
        number = len(self._servers)
        arguments = Namespace(
            fd=self.port.fileno(),
            root=str(self.root),
            nonce=nonce.hex(),
            first_node=(number << 40) + 2,
            recovering=number > 0,
            bulk=str(self.bulk) if self.bulk.exists() else None,
        )
        self.tell(f"sync {nonce.hex()}")
        server = multiprocessing.get_context("fork").Process(
            target=serving_posix.serve, args=(arguments, Options())
        )
        server.start()
        self._servers.append(server)

    def kill_server(self) -> None:
        """SIGKILL to the server, without a word to the pump."""
        self._servers[-1].kill()
        self._servers[-1].join()

    def end(self) -> str:
        """Unmount; returns what the pump said on standard error."""
        for server in self._servers:
            server.kill()  # it may have inherited files that are open on the mount
            server.join()
        subprocess.run(["umount", "-l", str(self.mnt)], check=False, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(DEADLINE_S)
        self.process.kill()
        self.port.close()
        return self.process.communicate()[1].decode()


@contextlib.contextmanager
def running(program: Path, directory: Path, *options: str) -> Iterator[Drive]:
    drive = Drive(program, directory, *options)
    try:
        assert drive.said == b"mounted\n", drive.said
        yield drive
    finally:
        said = drive.end()
    assert "Sanitizer" not in said, said


@pytest.fixture
def drive(pump_program: Path, tmp_path: Path) -> Iterator[Drive]:
    with running(pump_program, tmp_path) as it:
        yield it


def apart(work: Callable[[], object]) -> int:
    """The errno that `work` fails with in a process of its own, 0 if it does not.

    This process must not wait for the mount while it holds what the server needs.
    """

    def body() -> None:
        try:
            work()
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=body)
    process.start()
    process.join(DEADLINE_S)
    if process.exitcode is None:
        process.kill()
        process.join()
        pytest.fail("it hangs")
    return int(process.exitcode)


def test_files_cross_both_ways(drive: Drive) -> None:
    drive.serve(b"a" * 16)
    data = os.urandom(5 * 1024 * 1024 + 17)
    (drive.root / "large").write_bytes(data)
    digest = hashlib.sha256(data).digest()
    assert hashlib.sha256((drive.mnt / "large").read_bytes()).digest() == digest
    (drive.mnt / "copy").write_bytes(data)
    assert (drive.root / "copy").read_bytes() == data
    for number in range(200):
        (drive.mnt / f"file{number}").write_text(str(number))
    assert len(os.listdir(drive.mnt)) == 202
    with open("/proc/self/mountinfo") as file:
        line = next(line for line in file if f" {drive.mnt} " in line)
    assert " - fuse.drvfs C:\\134 rw," in line


def drop_cache(drive: Drive) -> None:
    """Have the kernel ask for contents again."""
    for path in drive.mnt.iterdir():
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def test_large_contents_cross_by_the_bulk_file(drive: Drive) -> None:
    """Whole, and past the port: the slots have them afterwards."""
    make_file(drive.bulk)
    drive.serve(b"a" * 16)
    data = os.urandom(9 * SLOT_BYTES + 70_017)
    (drive.root / "large").write_bytes(data)
    assert (drive.mnt / "large").read_bytes() == data
    assert not any(drive.bulk.read_bytes())
    drive.tell(f"bulk {drive.bulk}")
    drop_cache(drive)
    assert (drive.mnt / "large").read_bytes() == data
    slot = drive.bulk.read_bytes()[:100]
    assert slot in data and any(slot)
    (drive.mnt / "copy").write_bytes(data[::-1])
    assert (drive.root / "copy").read_bytes() == data[::-1]
    assert drive.bulk.read_bytes()[:100] in data[::-1]
    with (drive.mnt / "copy").open("r+b") as file:  # beyond the end, and over what is there
        file.seek(len(data) - 100_000)
        file.write(data[:200_000])
    assert (drive.root / "copy").read_bytes() == data[::-1][:-100_000] + data[:200_000]


def test_many_use_the_bulk_file_at_once(drive: Drive) -> None:
    """More of them than it has slots."""
    make_file(drive.bulk)
    drive.serve(b"a" * 16)
    drive.tell(f"bulk {drive.bulk}")
    contents = [os.urandom(SLOT_BYTES + number) for number in range(24)]
    for number, content in enumerate(contents):
        (drive.root / f"file{number}").write_bytes(content)

    def copy(number: int) -> int:
        read = (drive.mnt / f"file{number}").read_bytes()
        return (drive.mnt / f"copy{number}").write_bytes(read)

    with futures.ThreadPoolExecutor(len(contents)) as threads:
        list(threads.map(copy, range(len(contents))))
    assert [(drive.root / f"copy{number}").read_bytes() for number in range(24)] == contents


def test_the_next_server_uses_the_bulk_file_once_it_is_announced(drive: Drive) -> None:
    make_file(drive.bulk)
    drive.serve(b"a" * 16)
    drive.tell(f"bulk {drive.bulk}")
    data = os.urandom(4 * SLOT_BYTES)
    (drive.mnt / "file").write_bytes(data)
    drive.kill_server()
    make_file(drive.bulk)
    drive.serve(b"b" * 16)
    wait_for(lambda: apart(lambda: os.stat(drive.mnt / "file")) == 0, "the file to be there")
    drop_cache(drive)
    assert (drive.mnt / "file").read_bytes() == data
    assert not any(drive.bulk.read_bytes())
    drive.tell(f"bulk {drive.bulk}")
    drop_cache(drive)
    assert (drive.mnt / "file").read_bytes() == data
    assert any(drive.bulk.read_bytes())


@pytest.mark.parametrize("size", [None, 100])
def test_a_bulk_file_that_cannot_be_used_is_done_without(drive: Drive, size: int | None) -> None:
    if size is not None:
        drive.bulk.write_bytes(bytes(size))
    drive.serve(b"a" * 16)
    drive.tell(f"bulk {drive.bulk}")
    data = os.urandom(2 * SLOT_BYTES)
    (drive.mnt / "file").write_bytes(data)
    assert (drive.root / "file").read_bytes() == data
    assert drive.process.poll() is None


@pytest.mark.parametrize("is_open, length", [(False, 4), (True, SLOT_BYTES + 1)])
def test_an_answer_in_a_slot_that_is_none_ends_the_mount(
    drive: Drive, is_open: bool, length: int
) -> None:
    greet_by_hand(drive, b"a" * 16)
    if is_open:
        make_file(drive.bulk)
        drive.tell(f"bulk {drive.bulk}")
    asking = stat_apart(drive)
    _, number, _ = read_request(drive.port)
    drive.port.sendall(OUT_HEADER.pack(20, 1, number) + struct.pack("<I", length))
    assert drive.process.wait(DEADLINE_S) == 3
    asking.join(DEADLINE_S)
    assert asking.exitcode in (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED)


def test_unmounting_ends_the_pump(drive: Drive) -> None:
    drive.serve(b"a" * 16)
    os.listdir(drive.mnt)
    subprocess.run(["umount", str(drive.mnt)], check=True)
    assert drive.process.wait(DEADLINE_S) == 0


def test_what_an_earlier_server_left_in_the_port_is_dropped(drive: Drive) -> None:
    drive.port.sendall(b"\0isthmus-sync\0\xff\n" + b"x" * 16 + b"\x11" * 100_000)
    drive.serve(b"b" * 16)
    (drive.root / "file").write_text("here")
    assert (drive.mnt / "file").read_text() == "here"


def test_another_server_takes_over(drive: Drive) -> None:
    drive.serve(b"a" * 16)
    (drive.root / "d").mkdir()
    (drive.root / "d" / "file").write_text("1")
    assert (drive.mnt / "d" / "file").read_text() == "1"
    fd = os.open(drive.mnt / "d" / "file", os.O_RDONLY)
    drive.kill_server()
    (drive.root / "d" / "file").write_text("two")
    drive.serve(b"b" * 16)
    wait_for(lambda: (drive.mnt / "d" / "file").read_text() == "two", "the new content")
    (drive.mnt / "d" / "new").write_text("new")
    assert (drive.root / "d" / "new").read_text() == "new"
    failed = apart(lambda: os.pread(fd, 10, 0))
    assert failed in (0, errno.EIO, errno.ESTALE)
    os.close(fd)


def read_request(port: socket.socket) -> tuple[int, int, bytes]:
    """Opcode, number and body of the next request."""
    port.settimeout(DEADLINE_S)
    data = port.recv(IN_HEADER.size, socket.MSG_WAITALL)
    rest = int.from_bytes(data[:4], "little") - len(data)
    data += port.recv(rest, socket.MSG_WAITALL) if rest else b""
    header = IN_HEADER.unpack_from(data)
    return header[1], header[2], data[IN_HEADER.size :]


def greet_by_hand(drive: Drive, nonce: bytes) -> None:
    """Be the server, up to its agreement with the kernel."""
    drive.tell(f"sync {nonce.hex()}")
    drive.port.sendall(b"\0isthmus-sync\0\xff\n" + nonce)
    drive.port.settimeout(DEADLINE_S)
    assert drive.port.recv(32, socket.MSG_WAITALL) == b"\0isthmus-here\0\xff\n" + nonce
    opcode, number, body = read_request(drive.port)
    assert opcode == FUSE_INIT
    minor = min(38, struct.unpack_from("<I", body, 4)[0])
    answer = struct.pack("<IIIIHHIIHHI28x", 7, minor, 0, 0, 12, 9, 1 << 20, 1, 0, 0, 0)
    drive.port.sendall(OUT_HEADER.pack(16 + len(answer), 0, number) + answer)


def stat_apart(drive: Drive) -> multiprocessing.process.BaseProcess:
    """Ask for a file, in a process whose exit status is the errno."""

    def body() -> None:
        try:
            os.stat(drive.mnt / "file")
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=body)
    process.start()
    return process


def test_what_is_under_way_fails_when_the_server_is_gone(drive: Drive) -> None:
    greet_by_hand(drive, b"a" * 16)
    asking = stat_apart(drive)
    read_request(drive.port)
    drive.tell("lost")
    asking.join(DEADLINE_S)
    assert asking.exitcode == errno.EIO
    assert drive.process.poll() is None
    drive.serve(b"b" * 16)  # which is sent INIT once more
    (drive.root / "file").write_text("x")
    wait_for(lambda: apart(lambda: os.stat(drive.mnt / "file")) == 0, "the file to be there")


@pytest.mark.parametrize(
    "message",
    [
        struct.pack("<IiQ", 3, 0, 2),
        struct.pack("<IiQ", 1 << 30, 0, 2),
        b"\xff" * 64,
    ],
)
def test_a_malformed_answer_ends_the_mount(drive: Drive, message: bytes) -> None:
    greet_by_hand(drive, b"a" * 16)
    asking = stat_apart(drive)
    read_request(drive.port)
    drive.port.sendall(message)
    assert drive.process.wait(DEADLINE_S) == 3
    asking.join(DEADLINE_S)
    assert asking.exitcode in (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED)


def test_a_batch_of_events_that_is_none_is_ignored(drive: Drive) -> None:
    greet_by_hand(drive, b"a" * 16)
    drive.port.sendall(
        struct.pack("<IiQ", 16, 0x1000, 0) + struct.pack("<IiQ", 20, 0x1000, 0) + b"x" * 4
    )
    asking = stat_apart(drive)
    _, number, _ = read_request(drive.port)
    drive.port.sendall(OUT_HEADER.pack(16, -errno.ENOENT, number))
    asking.join(DEADLINE_S)
    assert asking.exitcode == errno.ENOENT
    assert drive.process.poll() is None


def test_an_answer_that_the_kernel_refuses_fails_its_request(drive: Drive) -> None:
    greet_by_hand(drive, b"a" * 16)
    asking = stat_apart(drive)
    _, number, _ = read_request(drive.port)
    drive.port.sendall(OUT_HEADER.pack(24, 0, number) + bytes(8))  # no fuse_entry_out
    asking.join(DEADLINE_S)
    assert asking.exitcode == errno.EIO
    assert drive.process.poll() is None


def test_answers_that_nobody_waits_for_are_dropped(drive: Drive) -> None:
    greet_by_hand(drive, b"a" * 16)
    drive.port.sendall(OUT_HEADER.pack(16, -errno.ENOENT, 4242) * 3)
    asking = stat_apart(drive)
    _, number, _ = read_request(drive.port)
    drive.port.sendall(OUT_HEADER.pack(16, -errno.ENOENT, number))
    asking.join(DEADLINE_S)
    assert asking.exitcode == errno.ENOENT


def test_it_ends_while_the_kernel_handles_a_notification(drive: Drive) -> None:
    """A look-up holds the lock that dropping the name takes: the end must let both go."""
    greet_by_hand(drive, b"a" * 16)
    asking = stat_apart(drive)
    _, number, _ = read_request(drive.port)  # the root's attributes
    drive.port.sendall(
        OUT_HEADER.pack(16 + 104, 0, number)
        + struct.pack(
            "<QI4xQQQQQQIIIIIIIIII", 60, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0o40777, 2, 0, 0, 0, 4096, 0
        )
    )
    read_request(drive.port)  # the look-up, in which the kernel holds the root's lock
    name = b"file"
    body = struct.pack("<QII", 1, len(name), 0) + name + bytes(1)
    drive.port.sendall(OUT_HEADER.pack(16 + len(body), 3, 0) + body)
    drive.tell("end")
    assert drive.process.wait(DEADLINE_S) != 0
    asking.join(DEADLINE_S)
    assert asking.exitcode in (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED)


def test_the_agent_can_end_it(drive: Drive) -> None:
    greet_by_hand(drive, b"a" * 16)
    asking = stat_apart(drive)
    read_request(drive.port)
    drive.tell("end")
    assert drive.process.wait(DEADLINE_S) != 0
    asking.join(DEADLINE_S)
    assert asking.exitcode in (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED)


@pytest.mark.parametrize("text", ["", "sync", "sync 12", "sync " + "g" * 32, "x" * 127])
def test_what_the_agent_never_says_is_ignored(drive: Drive, text: str) -> None:
    drive.serve(b"a" * 16)
    drive.tell(text)
    (drive.root / "file").write_text("here")
    assert (drive.mnt / "file").read_text() == "here"


def test_a_killed_asker_does_not_keep_the_others_waiting(drive: Drive) -> None:
    greet_by_hand(drive, b"a" * 16)
    asking = stat_apart(drive)
    _, number, _ = read_request(drive.port)
    os.kill(asking.pid or 0, signal.SIGKILL)
    drive.port.sendall(OUT_HEADER.pack(16, -errno.ENOENT, number))
    asking.join(DEADLINE_S)
    again = stat_apart(drive)
    while (request := read_request(drive.port))[0] == FUSE_INTERRUPT:
        pass
    drive.port.sendall(OUT_HEADER.pack(16, -errno.ENOENT, request[1]))
    again.join(DEADLINE_S)
    assert again.exitcode == errno.ENOENT


def test_read_only(pump_program: Path, tmp_path: Path) -> None:
    with running(pump_program, tmp_path, "--read-only") as drive:
        drive.serve(b"a" * 16)
        with pytest.raises(OSError, match="Read-only"):
            (drive.mnt / "new").write_text("x")


def test_a_mount_point_behind_a_link_is_refused(pump_program: Path, tmp_path: Path) -> None:
    (tmp_path / "mnt").symlink_to("/tmp")
    drive = Drive(pump_program, tmp_path)
    assert drive.said == f"failed {errno.ELOOP} {tmp_path / 'mnt'}\n".encode()
    assert drive.process.wait(DEADLINE_S) == 1
    drive.end()


def test_a_wrong_command_line(pump_program: Path) -> None:
    done = subprocess.run(
        [pump_program, "--port", "x"], capture_output=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 2 and b"missing" in done.stderr
