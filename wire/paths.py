"""Translation of paths between Linux and Windows: the one translator (docs/paths.md). Pure.

What it needs of a file system comes in as functions, so the same code answers in a
distribution, on the host, and in a table of test cases.
"""

from __future__ import annotations

import errno

from wire.errors import PathError
from wire.mounts import Mounts
from wire.windowspath import (
    canonical_windows_path,
    collapse,
    escape,
    fold,
    is_absolute,
    unescape,
    unify,
)

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from collections.abc import Callable

SERVERS = ("wsl.localhost", "wsl$")
r"""Names of the server that shows distributions to Windows: \\wsl.localhost\Debian\home."""

_UNMOUNTED_HINT = "Only drives that are mounted in the distribution can be reached from it."


class Translator:
    """Translates paths as seen from one distribution.

    `distribution` is its name ("" if that is not known: then only paths on drives have a
    Windows name).
    """

    __slots__ = ("_distribution", "_mounts")

    def __init__(self, mounts: Mounts, distribution: str) -> None:
        self._mounts = mounts
        self._distribution = distribution

    def absolute_to_linux(self, path: str) -> str:
        """The Linux path of the absolute Windows path `path`, going by the names.

        Raises PathError where it is malformed or nothing in the distribution shows it.
        """
        canonical = canonical_windows_path(path)
        mount = self._mounts.showing(canonical)
        if mount is not None and mount.windows is not None:
            below = canonical[len(mount.windows) :].replace("\\", "/")
            return mount.point.rstrip("/") + below or "/"
        below_root = self._below_own_root(canonical)
        if below_root is None:
            raise PathError(path, "is not on a drive that is mounted here", hint=_UNMOUNTED_HINT)
        return unescape(below_root.replace("\\", "/")) or "/"

    def _below_own_root(self, canonical: str) -> str | None:
        r"""What follows \\wsl.localhost\<distribution>; None if it does not begin so."""
        if not self._distribution:
            return None
        for server in SERVERS:
            prefix = f"\\\\{server}\\{self._distribution}"
            rest = canonical[len(prefix) :]
            if fold(canonical[: len(prefix)]) == fold(prefix) and rest[:1] in ("", "\\"):
                return rest
        return None

    def absolute_to_windows(self, path: str) -> str:
        """The Windows path of the absolute Linux path `path`, going by the names.

        Raises PathError where it leads above the root, or has no Windows name.
        """
        on_drive = self.drive_path(path)
        if on_drive is not None:
            return on_drive
        if not self._distribution:
            raise PathError(
                path,
                "is not on a drive, and the distribution's name is not known",
                hint="Set WSL_DISTRO_NAME.",
            )
        return f"\\\\{SERVERS[0]}\\{self._distribution}{escape(_collapse(path))}"

    def drive_path(self, path: str) -> str | None:
        """As absolute_to_windows(), but None for what does not lie on a drive.

        For what a Windows process has to open itself: its program, its directory.
        """
        collapsed = _collapse(path)
        mount = self._mounts.holding(collapsed)
        if mount is None or mount.windows is None:
            return None
        # A mount point ends with "/" only where it is the root itself.
        below = escape(collapsed[len(mount.point.rstrip("/")) :])
        # A drive's root needs its separator: C: alone is a relative path.
        is_drive = len(mount.windows) == len("C:")
        return mount.windows + (below or ("\\" if is_drive else ""))

    def to_linux(self, path: str, getcwd: Callable[[], str], *, absolute: bool = False) -> str:
        r"""The Linux path of the Windows path `path`, which may be relative.

        `getcwd` gives the current directory; it is called only for a relative path, which gives
        a relative one unless `absolute` is set or it leads out of that directory. `\name` is
        taken from the root of the drive that the directory is on. Raises PathError.
        """
        try:
            return self._to_linux(path, getcwd, absolute)
        except PathError as error:
            raise error.about(path) from None

    def _to_linux(self, path: str, getcwd: Callable[[], str], absolute: bool) -> str:
        unified = unify(path, "\\")
        if is_absolute(unified):
            return self.absolute_to_linux(unified)
        directory = _ask(getcwd, path)
        start = self.absolute_to_windows(directory)
        if unified.startswith("\\"):
            if start[1:2] != ":":
                raise PathError(
                    path,
                    "is relative to a drive's root, and the current directory is on none",
                    hint="Write the path with its drive: C:\\name.",
                )
            start = start[:2]
        translated = self.absolute_to_linux(start + "\\" + unified)
        return translated if absolute else _relative_to(directory, translated, "/")

    def to_windows(
        self,
        path: str,
        getcwd: Callable[[], str],
        realpath: Callable[[str], str] | None = None,
        *,
        absolute: bool = False,
    ) -> str:
        """The Windows path of the Linux path `path`, which may be relative.

        With `realpath` (realpath(3)) links in an existing path are followed first, and the
        result is absolute. A path that does not exist, and every path without `realpath`, is
        translated by its names, and stays relative unless `absolute` is set or it leads out of
        the current directory. Raises PathError.
        """
        resolved = _resolve(path, realpath) if realpath is not None else None
        try:
            if resolved is not None:
                slash = "/" if path.endswith("/") else ""
                return self.absolute_to_windows(resolved + slash)
            if path.startswith("/"):
                return self.absolute_to_windows(path)
            return self._relative_to_windows(path, getcwd, absolute)
        except PathError as error:
            raise error.about(path) from None

    def _relative_to_windows(self, path: str, getcwd: Callable[[], str], absolute: bool) -> str:
        directory = _ask(getcwd, path)
        translated = self.absolute_to_windows(f"{directory}/{path}")
        if absolute:
            return translated
        return _relative_to(self.absolute_to_windows(directory), translated, "\\")


def with_slashes(windows_path: str) -> str:
    """`windows_path` with "/" for every separator, as `wslpath -m` prints it."""
    return unify(windows_path, "/")


def _collapse(path: str) -> str:
    if not path.startswith("/"):
        raise PathError(path, "is not absolute")
    collapsed = collapse(path, "/")
    if collapsed is None:
        raise PathError(path, "leads above the root")
    return collapsed


def _resolve(path: str, realpath: Callable[[str], str]) -> str | None:
    try:
        return realpath(path)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise _unreadable(path, error) from None


def _ask(getcwd: Callable[[], str], path: str) -> str:
    try:
        return getcwd()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> PathError:
    return PathError(path, "cannot be looked at", number=error.errno or errno.EIO)


def _relative_to(directory: str, path: str, separator: str) -> str:
    """`path` seen from `directory` if it is that or lies below it, else `path`."""
    base = directory.rstrip(separator)
    rest = path[len(base) :]
    if not path.startswith(base) or rest[:1] not in ("", separator):
        return path
    return rest[1:] or "."
