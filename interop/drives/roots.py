r"""Which directories of the host are drives, and which one a mount's source names.

On Windows the fixed drives, and any path a user can write. On other hosts those of the Wine prefix
(`dosdevices`, docs/paths.md §7); without one there is the single drive Z:, which shows "/".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from interop.dosdevices import DosDevices
from interop.drives.errors import SourceError
from wire.errors import PathError
from wire.mounts import mount_source

WITHOUT_WINE = {"z:": "/"}
"""The drives of a host that has neither Windows nor Wine, as a prefix's links would name them."""

_DRIVES_HINT = "`isthmus --status` lists the drives there are."


@dataclass(frozen=True)
class Root:
    r"""A directory to serve: `directory` on the host, `source` as mount tables show it (C:\)."""

    source: str
    directory: str


class DosRoots:
    """The drives of a Wine prefix, or of a host without one.

    `find_name` finds a name in a directory whatever its case (interop.dosdevices.FindName).
    """

    def __init__(self, devices: DosDevices, find_name: Callable[[str, str], str]) -> None:
        self._devices = devices
        self._find_name = find_name

    def letters(self) -> tuple[str, ...]:
        """The drives, as letters ("C"), in order."""
        return tuple(self._devices.drives)

    def resolve(self, source: str) -> Root:
        r"""The directory that `source` names (C:, C:\Users, \\server\share). Raises SourceError."""
        try:
            shown = _shown(source)
            directory = self._devices.to_unix(shown, self._find_name)
        except PathError as error:
            hint = error.hint or _DRIVES_HINT
            raise SourceError(source, error.reason, hint=hint) from None
        return Root(shown, directory)


class WindowsRoots:
    """The drives of Windows itself: `letters` are those that are fixed to the computer."""

    def __init__(self, letters: tuple[str, ...]) -> None:
        self._letters = letters

    def letters(self) -> tuple[str, ...]:
        """The drives, as letters ("C"), in order."""
        return self._letters

    def resolve(self, source: str) -> Root:
        r"""The directory that `source` names (C:, C:\Users, \\server\share). Raises SourceError."""
        try:
            shown = _shown(source)
        except PathError as error:
            raise SourceError(source, error.reason, hint=_DRIVES_HINT) from None
        return Root(shown, shown)


def _shown(source: str) -> str:
    """`source` as mount tables show it, its drive's letter in upper case. Raises PathError."""
    shown = mount_source(source)
    return shown if shown.startswith("\\\\") else shown[:1].upper() + shown[1:]


Roots = DosRoots | WindowsRoots


def wine_prefix(environment: Mapping[str, str]) -> str:
    """The directory of the Wine prefix that `environment` stands for, there or not (wine(1))."""
    return environment.get("WINEPREFIX") or os.path.join(environment.get("HOME", "/"), ".wine")


CAN_SERVE = sys.platform in ("linux", "win32")
"""Whether this host's drives can be mounted at all (interop.drives.__main__)."""


def find_roots(environment: Mapping[str, str]) -> Roots:
    """The drives of this host, as they are now."""
    if sys.platform == "win32":
        from interop.drives.roots_windows import fixed_drives

        return WindowsRoots(fixed_drives())
    else:
        from interop.hostos.wine import find_name

        directory = os.path.join(wine_prefix(environment), "dosdevices")
        devices = DosDevices(_links(directory) or WITHOUT_WINE, directory, os.path.realpath)
        return DosRoots(devices, find_name)


def _links(directory: str) -> dict[str, str]:
    """The symbolic links in `directory` and where they lead; none if it is not there."""
    try:
        return {
            entry.name: os.readlink(entry.path)
            for entry in os.scandir(directory)
            if entry.is_symlink()
        }
    except OSError:
        return {}
