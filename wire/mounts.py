"""Which Windows path a Linux path shows, from a mount table (docs/paths.md §1). Pure.

Reads the text of /proc/<pid>/mountinfo (proc_pid_mountinfo(5)) and answers two questions: on
which mount does a Linux path lie, and which mount shows a Windows path. Imports nothing, since
every start of a Windows program in the guest passes here.
"""

from __future__ import annotations

from wire.errors import PathError
from wire.windowspath import canonical_windows_path, escape, fold

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Iterable

DRIVE_KIND = "fuse.drvfs"
"""The file system type of our drives: FUSE with the subtype "drvfs" (mount(2), fuse(4))."""

_SOURCE_KINDS = frozenset({DRIVE_KIND, "drvfs"})
"""Types whose mount source is the Windows path: ours, and WSL 1's."""

_OCTAL = frozenset("01234567")


class Mount:
    """One line of mountinfo, unescaped.

    `root` is the directory within the file system that is mounted at `point` ("/" but for bind
    mounts). `windows` is the Windows path that stands for `root`, without a separator at its
    end ("C:", r"D:\\data", r"\\\\server\\share"), and None for what is not a Windows drive.
    """

    __slots__ = ("identity", "kind", "parent", "point", "root", "source", "windows")

    def __init__(
        self,
        *,
        identity: str,
        parent: str,
        root: str,
        point: str,
        kind: str,
        source: str,
        options: str,
    ) -> None:
        self.identity = identity
        self.parent = parent
        self.root = root
        self.point = point
        self.kind = kind
        self.source = source
        self.windows = _windows_path(kind, source, options, root)

    def __repr__(self) -> str:
        return f"Mount({self.point!r}, {self.kind!r}, {self.source!r})"


def mount_source(path: str) -> str:
    r"""The mount source that says a drive shows the Windows directory `path`.

    C: and C:/ give C:\, and C:\\Users\ gives C:\Users. Raises PathError where `path` is no
    absolute Windows path.
    """
    canonical = canonical_windows_path(path + "\\")
    return canonical if len(canonical) == len("C:\\") else canonical.rstrip("\\")


def parse_mountinfo(text: str) -> list[Mount]:
    """The mounts in `text`, in its order; lines that are not mounts are left out."""
    return [mount for mount in map(_parse_line, text.split("\n")) if mount is not None]


def _parse_line(line: str) -> Mount | None:
    # Fields are separated by one blank each, so an empty mount source stands between two.
    own, separator, file_system = line.partition(" - ")
    fields = own.split(" ")
    rest = file_system.split(" ", 2)
    if not separator or len(fields) < 6 or len(rest) < 3:
        return None
    root, point = unescape_octal(fields[3]), unescape_octal(fields[4])
    if not point.startswith("/"):
        return None
    return Mount(
        identity=fields[0],
        parent=fields[1],
        root=root,
        point=point,
        kind=rest[0],
        source=unescape_octal(rest[1]),
        options=rest[2],
    )


def unescape_octal(field: str) -> str:
    r"""`field` with \ooo replaced by that byte, as the kernel's seq_escape wrote it.

    It writes blank, tab, line end, backslash and "#" so. A backslash that begins no such
    sequence, and \000, which is in no path, stay.
    """
    if "\\" not in field:
        return field
    parts = []
    at = 0
    while at < len(field):
        escaped = bytearray()
        while (byte := _octal_byte(field, at)) > 0:
            escaped.append(byte)
            at += 4
        if escaped:
            parts.append(escaped.decode("utf-8", "surrogateescape"))
            continue
        parts.append(field[at])
        at += 1
    return "".join(parts)


def _octal_byte(field: str, at: int) -> int:
    digits = field[at + 1 : at + 4]
    if field[at : at + 1] != "\\" or len(digits) != 3 or not _OCTAL.issuperset(digits):
        return 0
    value = int(digits, 8)
    return value if value < 256 else 0


def _windows_path(kind: str, source: str, options: str, root: str) -> str | None:
    if kind == "9p":
        source = _plan9_source(options)
    elif kind not in _SOURCE_KINDS:
        return None
    # The kernel adds this to the root of a bind mount whose directory has been removed.
    if root.endswith("//deleted"):
        return None
    try:
        shown = mount_source(source)
    except PathError:
        return None
    return (shown if root == "/" else shown.rstrip("\\") + escape(root)).rstrip("\\")


def _plan9_source(options: str) -> str:
    r"""The Windows path in WSL's 9p options (aname=drvfs;path=C:\;uid=0;...), "" for none."""
    for option in options.split(","):
        if not option.startswith("aname=drvfs"):
            continue
        for part in unescape_option(option).split(";"):
            if part.startswith("path="):
                path = part[len("path=") :].replace("/", "\\")
                return "\\\\" + path[len("UNC\\") :] if path.startswith("UNC\\") else path
    return ""


def unescape_option(option: str) -> str:
    r"""A super block option with \ooo replaced, if the kernel that wrote it escapes at all.

    Some do not, so the `path=C:\;` they print must stay: only an option whose every backslash
    begins an escape is unescaped.
    """
    at = option.find("\\")
    while at >= 0:
        if _octal_byte(option, at) == 0:
            return option
        at = option.find("\\", at + 4)
    return unescape_octal(option)


class Mounts:
    """A mount table that can be asked what lies where, as path resolution in the kernel would."""

    def __init__(self, mounts: Iterable[Mount]) -> None:
        self._all = list(mounts)
        known = {mount.identity for mount in self._all}
        self._children: dict[str, list[Mount]] = {}
        # The root's parent is not listed, because it lies outside what the process can reach.
        self._orphans = []
        for mount in self._all:
            if mount.parent in known and mount.parent != mount.identity:
                self._children.setdefault(mount.parent, []).append(mount)
            else:
                self._orphans.append(mount)
        self._drives = [
            mount
            for mount in self._all
            if mount.windows is not None and self.holding(mount.point) is mount
        ]

    @classmethod
    def parse(cls, mountinfo: str) -> Mounts:
        """The table in the text of a mountinfo file."""
        return cls(parse_mountinfo(mountinfo))

    @property
    def drives(self) -> tuple[Mount, ...]:
        """Mounts that show a Windows directory and are not hidden by a later mount."""
        return tuple(self._drives)

    def holding(self, path: str) -> Mount | None:
        """The mount on which the absolute Linux path `path` lies; links are not followed.

        Goes from the root down and crosses to the mounted file system wherever a mount of the
        present one is met, so mounts that another hides are never reached.
        """
        present: Mount | None = None
        crossed: set[int] = set()
        while True:
            found: Mount | None = None
            for mount in self._mounted_on(present):
                met = id(mount) not in crossed and holds(mount.point, path)
                if met and (found is None or len(mount.point) <= len(found.point)):
                    found = mount
            if found is None:
                return present
            crossed.add(id(found))
            present = found

    def _mounted_on(self, mount: Mount | None) -> list[Mount]:
        if mount is None:
            return self._orphans
        own = self._children.get(mount.identity, [])
        if mount.point != "/":
            return own
        return own + [orphan for orphan in self._orphans if orphan.point != "/"]

    def showing(self, path: str) -> Mount | None:
        """The mount that shows the canonical Windows path `path`; None if none does.

        The one with the longest matching path, and among equals the newest. Letters match
        without regard to case.
        """
        found: Mount | None = None
        wanted = fold(path)
        for mount in self._drives:
            shown = mount.windows or ""
            prefix = wanted[: len(shown)] == fold(shown)
            if not prefix or wanted[len(shown) : len(shown) + 1] not in ("", "\\"):
                continue
            if found is None or len(shown) >= len(found.windows or ""):
                found = mount
        return found


def holds(directory: str, path: str) -> bool:
    """Whether the Linux path `path` is `directory` or, going by the names, lies below it."""
    if not path.startswith(directory):
        return False
    return directory.endswith("/") or path[len(directory) : len(directory) + 1] in ("", "/")
