"""Reading Debian binary packages without dpkg: deb(5) over ar(5), data.tar.{xz,gz,zst}.

Nothing is written to a disk here: a package becomes a `Tree`, whose paths are checked on the way.
"""

from __future__ import annotations

import contextlib
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from vm.image.errors import PackageMalformed
from vm.image.tree import File, Link, Tree, UnsafePath, normal_path
from vm.image.zstd import unpack_zstd

AR_MAGIC = b"!<arch>\n"
AR_HEADER_BYTES = 60
AR_HEADER_END = b"`\n"
UNPACKED_LIMIT_BYTES = 4 << 30
"""No package we use comes near it; a bomb does."""


class _Malformed(Exception):
    """Why a package cannot be read; turned into PackageMalformed where its name is known."""


def ar_members(data: bytes) -> Iterator[tuple[str, memoryview]]:
    """Names and contents of an ar archive's members. Raises ValueError."""
    if not data.startswith(AR_MAGIC):
        raise ValueError("it is not an ar archive")
    view = memoryview(data)
    offset = len(AR_MAGIC)
    while offset < len(data):
        header = data[offset : offset + AR_HEADER_BYTES]
        if len(header) < AR_HEADER_BYTES or header[58:60] != AR_HEADER_END:
            raise ValueError(f"there is no ar header at byte {offset}")
        name = header[:16].decode("ascii", "replace").rstrip().rstrip("/")
        digits = header[48:58].strip()
        if not digits.isdigit():
            raise ValueError(f"member {name!r} has no size")
        size = int(digits)
        start = offset + AR_HEADER_BYTES
        if start + size > len(data):
            raise ValueError(f"member {name!r} is cut short")
        yield name, view[start : start + size]
        offset = start + size + (size & 1)


def _member_tar(data: bytes, member: str) -> bytes:
    """The unpacked data.tar or control.tar of a package.

    member: "data" or "control". Raises ValueError, _Malformed, ToolMissing.
    """
    members = ar_members(data)
    if next(members, ("", b""))[0] != "debian-binary":
        raise _Malformed("its first member is not debian-binary")
    for name, content in members:
        match name.removeprefix(f"{member}.tar") if name.startswith(member) else None:
            case ".xz":
                return lzma.decompress(content)
            case ".gz":
                return zlib.decompress(content, wbits=31)
            case ".zst":
                return unpack_zstd(bytes(content))
            case "":
                return bytes(content)
    raise _Malformed(f"it has no {member}.tar that can be unpacked")


def _add_members(archive: tarfile.TarFile, tree: Tree, wanted: Callable[[str], bool]) -> None:
    """Take the wanted members into `tree`. Raises _Malformed, UnsafePath."""
    seen: dict[str, tarfile.TarInfo] = {}
    total = 0
    for member in archive:
        path = normal_path(member.name)
        if path in seen and not member.isdir():
            raise _Malformed(f"{path!r} is in it twice")
        seen[path] = member
        if member.islnk():
            # The linked file may itself be unwanted: its contents count, not its name.
            linked = seen.get(normal_path(member.linkname))
            if linked is None or not linked.isfile():
                raise _Malformed(f"{path!r} is a hard link to what is not a file before it")
            seen[path] = linked
        elif not (member.isfile() or member.issym() or member.isdir()):
            raise _Malformed(f"{path!r} is a device or a pipe")
        total += member.size
        if total > UNPACKED_LIMIT_BYTES:
            raise _Malformed(f"it unpacks to more than {UNPACKED_LIMIT_BYTES} bytes")
        if not path or not wanted(path):
            continue
        if member.isdir():
            continue  # made where a wanted file needs it
        if member.issym():
            tree.add(path, Link(member.linkname))
            continue
        content = archive.extractfile(seen[path])
        if content is None:
            raise _Malformed(f"{path!r} has no contents")
        tree.add(path, File(seen[path].mode & 0o755, content.read()))


def unpack_deb(path: Path, source: str, wanted: Callable[[str], bool]) -> Tree:
    """The files of the package at `path` for which `wanted` says yes, as a tree.

    Directories appear only where a wanted file needs them; set-id bits are dropped, for nothing
    in the image runs as anybody but root. `source` names the package in errors.
    Raises PackageMalformed, ToolMissing.
    """
    tree = Tree()
    with _malformed(source):
        data = _member_tar(path.read_bytes(), "data")
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            _add_members(archive, tree, wanted)
    return tree


def read_control(path: Path, source: str) -> str:
    """The control file of the package at `path` (Debian Policy, 5.3); raises as `unpack_deb`."""
    tree = Tree()
    with _malformed(source):
        data = _member_tar(path.read_bytes(), "control")
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            _add_members(archive, tree, lambda name: name == "control")
        control = tree.nodes.get("control")
        if not isinstance(control, File):
            raise _Malformed("it has no control file")
        return control.data.decode("utf-8")


@contextlib.contextmanager
def _malformed(source: str) -> Iterator[None]:
    """Turn what reading a package raises into PackageMalformed."""
    try:
        yield
    except (
        _Malformed,
        UnsafePath,
        ValueError,
        EOFError,
        lzma.LZMAError,
        zlib.error,
        tarfile.TarError,
    ) as error:
        raise PackageMalformed(source, str(error) or type(error).__name__) from error
