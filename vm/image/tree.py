"""A file tree in memory: what an image is put together from. Pure but for `write`.

Owners and times are not kept: an image's files belong to root and carry one fixed time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MERGED_DIRECTORIES = ("bin", "sbin", "lib", "lib64")
"""Directories that are symbolic links into /usr (Debian's usr-merge, final since Debian 12)."""


@dataclass(frozen=True)
class File:
    """A regular file: permission bits and contents."""

    mode: int
    data: bytes


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Directory:
    """A directory: permission bits."""

    mode: int = 0o755


Node = File | Link | Directory


class UnsafePath(ValueError):
    """A path that would leave the tree, or that passes through something not a directory."""


def normal_path(path: str) -> str:
    """`path` relative to the root, without `./`, in its place below /usr ("" is the root).

    Raises UnsafePath: absolute, with `..`, or with bytes that no package's file name has.
    """
    if "\0" in path or "\\" in path or "\n" in path:
        raise UnsafePath(f"{path!r} has a character that is not for file names")
    if path.startswith("/"):
        raise UnsafePath(f"{path!r} is absolute")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnsafePath(f"{path!r} leads out of the tree")
    if len(parts) > 1 and parts[0] in MERGED_DIRECTORIES:
        parts.insert(0, "usr")
    return "/".join(parts)


@dataclass
class Tree:
    """Nodes by path. Parents exist before their children, as directories."""

    nodes: dict[str, Node] = field(default_factory=dict)

    def add(self, path: str, node: Node) -> None:
        """Put `node` at `path`, in place of what was there, making directories on the way.

        A directory laid over a directory changes its mode only. Raises UnsafePath.
        """
        path = normal_path(path)
        if not path:
            return
        parent = path.rpartition("/")[0]
        if parent:
            existing = self.nodes.get(parent)
            if existing is None:
                self.add(parent, Directory())
            elif not isinstance(existing, Directory):
                raise UnsafePath(f"{path!r} passes through {parent!r}, which is no directory")
        if isinstance(self.nodes.get(path), Directory) and not isinstance(node, Directory):
            raise UnsafePath(f"{path!r} is a directory already")
        self.nodes[path] = node

    def file(self, path: str) -> bytes:
        """The contents of the file at `path`, symbolic links followed. Raises KeyError."""
        found = self.find(path)
        if not isinstance(found, File):
            raise KeyError(path)
        return found.data

    def find(self, path: str) -> Node | None:
        """The node that `path` leads to after following links, or None."""
        for _ in range(16):
            node = self.nodes.get(normal_path(path.lstrip("/")))
            if not isinstance(node, Link):
                return node
            target = node.target
            path = target if target.startswith("/") else _join(path, target)
        return None

    def merge(self, other: Tree) -> None:
        """Lay `other` over this tree. Raises UnsafePath."""
        for path, node in other.walk():
            self.add(path, node)

    def walk(self) -> Iterator[tuple[str, Node]]:
        """All nodes sorted by path, so that parents come first."""
        yield from sorted(self.nodes.items())

    def digest(self) -> str:
        """A SHA-256 over paths, modes, targets and contents."""
        total = hashlib.sha256()
        for path, node in self.walk():
            match node:
                case File(mode, data):
                    line = f"f {mode:o} {hashlib.sha256(data).hexdigest()}"
                case Link(target):
                    line = f"l {target}"
                case Directory(mode):
                    line = f"d {mode:o}"
            total.update(f"{path}\0{line}\0".encode())
        return total.hexdigest()

    def write(self, directory: Path) -> None:
        """Make the tree below `directory`, which must exist and be empty. POSIX hosts only."""
        for path, node in self.walk():
            target = directory / path
            match node:
                case File(mode, data):
                    target.write_bytes(data)
                    target.chmod(mode)
                case Link(destination):
                    target.symlink_to(destination)
                case Directory(_):
                    target.mkdir()
        for path, node in self.walk():
            if isinstance(node, Directory):
                (directory / path).chmod(node.mode)


def _join(path: str, target: str) -> str:
    """Where the relative link `target` at `path` leads, `..` taken lexically."""
    parts = path.strip("/").split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
