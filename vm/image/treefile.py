"""A `Tree` in a file: an uncompressed tar that is the same for the same tree."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from vm.image.tree import Directory, File, Link, Tree


def write_tree(tree: Tree, path: Path) -> None:
    """Write `tree` to `path`, sorted, everything owned by root, all times 0."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, node in tree.walk():
            member = tarfile.TarInfo(name)
            match node:
                case File(mode, data):
                    member.mode, member.size = mode, len(data)
                    archive.addfile(member, io.BytesIO(data))
                case Link(target):
                    member.type, member.linkname, member.mode = tarfile.SYMTYPE, target, 0o777
                    archive.addfile(member)
                case Directory(mode):
                    member.type, member.mode = tarfile.DIRTYPE, mode
                    archive.addfile(member)


def read_tree(path: Path) -> Tree:
    """What `write_tree` has written. Raises tarfile.TarError, UnsafePath for anything else."""
    tree = Tree()
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            if member.issym():
                tree.add(member.name, Link(member.linkname))
            elif member.isdir():
                tree.add(member.name, Directory(member.mode))
            else:
                content = archive.extractfile(member)
                tree.add(member.name, File(member.mode, content.read() if content else b""))
    return tree


def disk_tree(directory: Path) -> Tree:
    """The regular files and links below `directory`, as they are."""
    tree = Tree()
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink():
            tree.add(name, Link(str(path.readlink())))
        elif path.is_file():
            tree.add(name, File(0o755 if path.stat().st_mode & 0o100 else 0o644, path.read_bytes()))
    return tree
