"""What is sent before it is asked for: which, how much, and how that follows its use."""

from __future__ import annotations

import struct
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from interop.drives.ahead import CODE, Ahead
from interop.drives.backend import Backend, Found
from interop.drives.constants import Opcode
from interop.drives.nodes import Node, NodeTable
from interop.drives.replies import Attributes

_S_IFDIR, _S_IFREG = 0o040000, 0o100000
END = 99
"""Where listings end here."""


class Files:
    """A backend of directories of small files, all known to the kernel; counts what is read."""

    def __init__(self, directories: int, files: int, size: int) -> None:
        self.nodes = NodeTable((1, 1), _S_IFDIR)
        self.size = size
        self.kept = True
        self.read_from: list[int] = []
        self.directories: list[Node] = []
        for number in range(directories):
            node = self.nodes.found(self.nodes.root, b"d%d" % number, (1, 10 + number), _S_IFDIR)
            node.watched = True
            self.directories.append(node)
            for file in range(files):
                identity = (1, 1000 * (number + 1) + file)
                self.nodes.found(node, b"f%d" % file, identity, _S_IFREG)

    def files(self, directory: int) -> list[Node]:
        return list(self.directories[directory].children.values())

    def getattr(self, number: int) -> Found:
        node = self.nodes.get(number)
        assert node is not None
        shown = Attributes(node.identity[1], self.size, 0, 0, 0, 0, node.kind, 1, 0, 0, 0)
        return Found(number, shown, self.kept, self.kept)

    def read(self, number: int, offset: int, size: int) -> memoryview:
        self.read_from.append(number)
        return memoryview(self.content(number))[offset : offset + size]

    def content(self, number: int) -> bytes:
        return number.to_bytes(8, "little") * (self.size // 8)

    def ahead(self, is_told: bool = True) -> Ahead:
        return Ahead(self.nodes, cast(Backend, self), lambda: is_told, lambda found: b"attributes")


class Pump:
    """What it has, by node and opcode; a read that it can answer is not asked for."""

    def __init__(self, files: Files, ahead: Ahead) -> None:
        self._files, self._ahead = files, ahead
        self.has: dict[tuple[int, int], bytes] = {}
        self.used = 0
        self.asked = 0

    def take(self) -> int:
        """Take the message there is; returns its length."""
        message = self._ahead.take()
        if not message:
            return 0
        length: int
        length, code, unique = struct.unpack_from("<IiQ", message)
        assert (length, code, unique) == (len(message), CODE, 0)
        at = 16
        while at < length:
            node, offset, opcode, size = struct.unpack_from("<QQII", message, at)
            at += 24
            self.has[node, opcode] = message[at : at + size]
            at += size + -size % 8
            assert opcode == Opcode.READDIR or not offset
        assert at == length
        return length

    def _say_used(self) -> None:
        if self.used:
            self._ahead.used(memoryview(struct.pack("<II", self.used, 0)))
            self.used = 0

    def list(self, directory: Node) -> None:
        self._say_used()
        self.asked += 1
        self._ahead.listed(directory.id, END)
        self.take()
        assert (directory.id, Opcode.READDIR) in self.has

    def read(self, node: Node) -> None:
        data = self.has.pop((node.id, Opcode.READ), None)
        if data is not None:
            assert data == self._files.content(node.id)
            self.used += 1
            return
        self._say_used()
        self.asked += 1
        self._ahead.read(node.id, 0)
        self.take()


def test_reading_everything_asks_once_for_each_directory_at_last() -> None:
    files = Files(directories=40, files=12, size=4000)
    pump = Pump(files, files.ahead())
    for number, directory in enumerate(files.directories):
        pump.list(directory)
        for node in files.files(number):
            pump.read(node)
    assert pump.asked <= 40 + 2 * 5
    assert len(files.read_from) == len(set(files.read_from))


def test_one_file_of_each_directory_sends_nothing() -> None:
    files = Files(directories=40, files=12, size=4000)
    pump = Pump(files, files.ahead())
    for number in range(40):
        pump.read(files.files(number)[number % 12])
    assert not files.read_from


def test_what_is_not_used_is_not_sent_with_listings_any_more() -> None:
    files = Files(directories=200, files=12, size=4000)
    pump = Pump(files, files.ahead())
    for number in range(50):
        for node in files.files(number):
            pump.read(node)
    for directory in files.directories[50:]:
        pump.list(directory)
    sent = len(files.read_from)
    pump.list(files.directories[-1])
    assert len(files.read_from) == sent
    assert sent < 50 * 12 + 70 * 12


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.booleans()), max_size=60),
    st.integers(0, 5000).map(lambda words: 8 * words),
    st.booleans(),
    st.booleans(),
)
def test_only_what_is_told_of_is_sent_and_not_much(
    steps: list[tuple[int, int, bool]], size: int, is_told: bool, is_kept: bool
) -> None:
    files = Files(directories=4, files=10, size=size)
    files.kept = is_kept
    files.directories[3].watched = False
    ahead = files.ahead(is_told)
    pump = Pump(files, ahead)
    for directory, file, lists in steps:
        if lists:
            ahead.listed(files.directories[directory].id, END)
        else:
            ahead.read(files.files(directory)[file].id, 0)
        assert pump.take() < (256 << 10) + (32 << 10) + 4096
    unwatched = {files.directories[3].id, *(node.id for node in files.files(3))}
    assert not any(node in unwatched for node, _ in pump.has)
    kinds: set[Any] = {opcode for _, opcode in pump.has}
    assert is_told or not kinds
    assert is_kept or kinds <= {Opcode.READDIR}
    for (node, opcode), data in pump.has.items():
        assert opcode != Opcode.READ or (data == files.content(node) and size <= 32 << 10)
