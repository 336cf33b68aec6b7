r"""Drives of a Wine prefix, and paths on them, without starting Wine (docs/paths.md §7). Pure.

A prefix has a directory `dosdevices` of symbolic links: "c:" to the directory that is drive C,
"unc" to the one that holds \\server\share as server/share. Others are devices ("c::", "com1") and
of no interest here. Wine's own `winepath` answers the same, after starting a whole Wine.
Source: find_drive_rootA and nt_to_unix_file_name in dlls/ntdll/unix/file.c of Wine 8.0.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping

from wire.errors import PathError
from wire.mounts import holds
from wire.windowspath import canonical_windows_path, fold, is_absolute, unify

UNIX_PREFIX = "\\\\?\\unix"
"""Begins Wine's name for a path that no drive shows: \\\\?\\unix\\home\\user."""

_UNC = "unc"

FindName = Callable[[str, str], str]
"""Given a directory and a name, the name as it is spelled there: Windows does not mind case."""


def _as_given(_directory: str, name: str) -> str:
    return name


class DosDevices:
    """The drives that `links`, name to target, of the directory `directory` stand for.

    `resolve` makes a Unix path absolute and free of links (realpath(3)); the default goes by
    the names. Wine compares directories by device and inode, so paths that are asked about
    should have been resolved in the same way.
    """

    def __init__(
        self,
        links: Mapping[str, str],
        directory: str,
        resolve: Callable[[str], str] = posixpath.normpath,
    ) -> None:
        self._drives: dict[str, str] = {}
        self._unc: str | None = None
        for name, target in links.items():
            path = resolve(posixpath.join(directory, target))
            if len(name) == 2 and name[0].isascii() and name[0].isalpha() and name[1] == ":":
                self._drives[name[0].upper()] = path
            elif name == _UNC:
                self._unc = path

    @property
    def drives(self) -> dict[str, str]:
        """Letters ("C") and the absolute Unix directories that they show, in order."""
        return dict(sorted(self._drives.items()))

    def to_windows(self, path: str) -> str:
        r"""The Windows path of the absolute Unix path `path`.

        On the drive whose directory is nearest above it, the first letter where several are; and
        \\?\unix\... where there is none. Raises PathError: it is relative, or holds a backslash,
        for which Wine has no name.
        """
        if not path.startswith("/"):
            raise PathError(path, "is not absolute")
        if "\\" in path:
            raise PathError(path, "has a backslash in a name, which no Windows program can write")
        path = "/" + posixpath.normpath(path).lstrip("/")
        best = ""
        for letter, directory in self.drives.items():
            if holds(directory, path) and (not best or len(directory) > len(self._drives[best])):
                best = letter
        if not best:
            return UNIX_PREFIX + path.replace("/", "\\")
        below = path[len(self._drives[best].rstrip("/")) :]
        return f"{best}:" + (below.replace("/", "\\") or "\\")

    def to_unix(self, path: str, find_name: FindName = _as_given) -> str:
        r"""The Unix path of the absolute Windows path `path`.

        `find_name` is asked for each component in turn. Raises PathError: it is relative, on no
        drive of the prefix, or on a server where the prefix has no directory for those.
        """
        unified = unify(path, "\\")
        rest = unified[len(UNIX_PREFIX) :]
        if fold(unified[: len(UNIX_PREFIX)]) == UNIX_PREFIX and rest[:1] in ("", "\\"):
            collapsed = posixpath.normpath("/" + rest.replace("\\", "/"))
            return "/" + collapsed.lstrip("/")
        if not is_absolute(unified):
            raise PathError(path, "is not an absolute Windows path")
        canonical = canonical_windows_path(path)
        if canonical.startswith("\\\\"):
            directory, names = self._unc, canonical[2:].split("\\")
        else:
            directory, names = self._drives.get(canonical[0].upper()), canonical[3:].split("\\")
        if directory is None:
            raise PathError(
                path,
                "is on no drive of the Wine prefix",
                hint="`winecfg` adds drives; `wine cmd /c dir X:\\` shows whether one is there.",
            )
        for name in names:
            if name:
                directory = posixpath.join(directory, find_name(directory, name))
        return directory
