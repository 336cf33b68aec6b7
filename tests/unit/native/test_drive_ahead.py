"""Answers before they are asked for: drive-pump on this host's kernel, and servers at its port."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import struct
import threading
from collections.abc import Iterator

import pytest

from interop.drives import replies
from interop.drives.ahead import CODE, entry
from interop.drives.constants import ROOT_ID, Opcode
from tests.unit.native.test_drive_pump import (
    DEADLINE_S,
    IN_HEADER,
    OUT_HEADER,
    Drive,
    drive,
    greet_by_hand,
    pump_program,
    wait_for,
)

__all__ = ["drive", "pump_program"]  # fixtures

LONG_S = 3600.0
FILE = 20
CONTENT = b"from the server\n"


def _attributes(number: int, mode: int) -> replies.Attributes:
    return replies.Attributes(number, len(CONTENT), 8, 0, 0, 0, mode, 1, 0, 0, 0)


FILE_IS = _attributes(FILE, stat.S_IFREG | 0o644)
ANSWERS = {
    Opcode.GETATTR: replies.attributes_out(_attributes(ROOT_ID, stat.S_IFDIR | 0o755), LONG_S),
    Opcode.LOOKUP: replies.entry(FILE, FILE_IS, LONG_S, LONG_S),
    Opcode.SETATTR: replies.attributes_out(FILE_IS, LONG_S),
    Opcode.READ: CONTENT,
}


class Server:
    """One by hand, of a root with one file in it. What it was asked is in `asked`."""

    def __init__(self, drive: Drive) -> None:
        self._port = drive.port
        self.asked: list[int] = []
        self.held: list[int] = []
        """Numbers of SETATTR requests that wait for answer(), if `holds` is set."""
        self.holds = False
        self.looked_up: list[bytes] = []
        self.absent: dict[bytes, float] = {}
        """Names that there are none of, and for how many seconds the kernel may go by that."""
        self._is_over = False
        greet_by_hand(drive, b"a" * 16)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._is_over:
            if not select.select([self._port], [], [], 0.02)[0]:
                continue
            try:
                header = IN_HEADER.unpack(self._port.recv(IN_HEADER.size, socket.MSG_WAITALL))
                body = b""
                if header[0] > IN_HEADER.size:
                    body = self._port.recv(header[0] - IN_HEADER.size, socket.MSG_WAITALL)
            except (OSError, struct.error):  # the pump has ended
                return
            opcode, unique, node = header[1:4]
            self.asked.append(opcode)
            name = body.rstrip(b"\0")
            if opcode == Opcode.LOOKUP:
                self.looked_up.append(name)
            if opcode == Opcode.SETATTR and self.holds:
                self.held.append(unique)
            elif opcode == Opcode.LOOKUP and name in self.absent:
                nothing = replies.no_such_entry(self.absent[name])
                self._port.sendall(replies.header(unique, len(nothing), 0) + nothing)
            elif opcode not in (CODE, Opcode.FORGET, Opcode.INTERRUPT):
                self.answer(opcode, unique, node)

    def answer(self, opcode: int, unique: int, node: int = FILE) -> None:
        body = ANSWERS.get(Opcode(opcode))
        if opcode == Opcode.GETATTR and node == FILE:
            body = ANSWERS[Opcode.SETATTR]
        error = errno.ENOSYS if body is None else 0
        self._port.sendall(replies.header(unique, len(body or b""), error) + (body or b""))

    def send_ahead(self, *entries: bytes) -> None:
        body = b"".join(entries)
        self._port.sendall(OUT_HEADER.pack(OUT_HEADER.size + len(body), CODE, 0) + body)

    def notify(self, message: bytes) -> None:
        self._port.sendall(message)

    def end(self) -> None:
        self._is_over = True
        self._thread.join(DEADLINE_S)


@pytest.fixture
def server(drive: Drive) -> Iterator[Server]:
    it = Server(drive)
    yield it
    it.end()


def read(drive: Drive) -> bytes:
    """The file's content, as the kernel is told it now: nothing of it is in its memory."""
    fd = os.open(drive.mnt / "file", os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.read(fd, 100)
    finally:
        os.close(fd)


SENT = b"sent before it."
assert len(SENT) == len(CONTENT) - 1


def test_a_file_that_was_sent_is_not_asked_for(drive: Drive, server: Server) -> None:
    os.stat(drive.mnt / "file")
    server.send_ahead(entry(FILE, 0, Opcode.READ, SENT + b"\n"))
    assert read(drive) == SENT + b"\n"
    assert Opcode.READ not in server.asked
    assert read(drive) == CONTENT  # once: the kernel had it
    assert server.asked[-2:] == [CODE, Opcode.READ]  # the server has heard that it was used


def test_attributes_that_were_sent_are_not_asked_for(drive: Drive, server: Server) -> None:
    """Reading makes the kernel ask for the time of access."""
    assert read(drive) == CONTENT
    server.send_ahead(entry(FILE, 0, Opcode.GETATTR, replies.attributes_out(FILE_IS, LONG_S)))
    before = server.asked.count(Opcode.GETATTR)
    assert os.stat(drive.mnt / "file").st_size == len(CONTENT)
    assert server.asked.count(Opcode.GETATTR) == before


@pytest.mark.parametrize(
    "notification",
    [replies.invalidate_inode(FILE), replies.invalidate_inode(FILE, -1)],
    ids=["all", "attributes"],
)
def test_a_file_that_was_changed_is_asked_for(
    drive: Drive, server: Server, notification: bytes
) -> None:
    os.stat(drive.mnt / "file")
    server.send_ahead(entry(FILE, 0, Opcode.READ, SENT + b"\n"))
    server.notify(notification)
    assert read(drive) == CONTENT


def test_what_the_guest_changes_makes_all_untrue(drive: Drive, server: Server) -> None:
    os.stat(drive.mnt / "file")
    server.send_ahead(entry(FILE, 0, Opcode.READ, SENT + b"\n"))
    os.utime(drive.mnt / "file", (1, 1))
    assert read(drive) == CONTENT


def test_what_was_sent_while_the_guest_changes_something_is_left_out(
    drive: Drive, server: Server
) -> None:
    """The server had not seen the change then."""
    os.stat(drive.mnt / "file")
    server.holds = True
    changing = threading.Thread(target=os.utime, args=(drive.mnt / "file", (1, 1)))
    changing.start()
    wait_for(lambda: server.held, "the change to be on its way")
    server.send_ahead(entry(FILE, 0, Opcode.READ, SENT + b"\n"))
    server.answer(Opcode.SETATTR, server.held[0])
    changing.join(DEADLINE_S)
    assert read(drive) == CONTENT
    server.send_ahead(entry(FILE, 0, Opcode.READ, SENT + b"\n"))
    assert read(drive) == SENT + b"\n"


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 23,
        entry(FILE, 0, Opcode.READ, SENT)[:-1],
        entry(FILE, 0, Opcode.WRITE, SENT),
        entry(FILE, 0, Opcode.READ)[:-4] + b"\xff" * 4,
    ],
    ids=["short", "cut", "opcode", "length"],
)
def test_a_malformed_message_ends_the_mount(drive: Drive, server: Server, body: bytes) -> None:
    server.send_ahead(body)
    assert drive.process.wait(DEADLINE_S) == 3


def test_a_real_server_sends_nothing_stale(drive: Drive) -> None:
    """What the host changes after it was sent, and before it is read, is seen."""
    directory = drive.root / "directory"
    directory.mkdir()
    names = [f"file{number}" for number in range(40)]
    for name in names:
        (directory / name).write_text(f"first {name}")
    drive.serve(b"a" * 16)
    there = drive.mnt / "directory"
    listed = os.listdir(there)
    assert sorted(listed) == sorted(names)
    for name in listed[:3]:
        assert (there / name).read_text() == f"first {name}"
    for name in names:
        (directory / name).write_text(f"second {name}, longer")
    wait_for(
        lambda: all((there / name).read_text() == f"second {name}, longer" for name in names),
        "all that is new",
    )
    (there / names[0]).write_text("the guest's")
    assert (directory / names[0]).read_text() == "the guest's"
    (directory / names[1]).unlink()
    wait_for(lambda: names[1] not in os.listdir(there), "the file to be gone")
