"""Writing an initial RAM file system: cpio in the "newc" form. Pure.

Source: Documentation/driver-api/early-userspace/buffer-format.rst of the Linux kernel.
"""

from __future__ import annotations

import stat

from vm.image.tree import Directory, File, Link, Node, Tree

MAGIC = b"070701"
TRAILER = "TRAILER!!!"


def _entry(number: int, path: str, mode: int, data: bytes) -> bytes:
    name = path.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    header = MAGIC + b"".join(b"%08x" % value for value in fields) + name
    return _padded(header) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _mode_and_data(node: Node) -> tuple[int, bytes]:
    match node:
        case File(mode, data):
            return stat.S_IFREG | mode, data
        case Link(target):
            return stat.S_IFLNK | 0o777, target.encode()
        case Directory(mode):
            return stat.S_IFDIR | mode, b""


def write_cpio(tree: Tree) -> bytes:
    """`tree` as an uncompressed archive: everything owned by root, all times 0."""
    entries = [
        _entry(number, path, *_mode_and_data(node))
        for number, (path, node) in enumerate(tree.walk(), start=1)
    ]
    return b"".join([*entries, _entry(0, TRAILER, 0, b"")])
