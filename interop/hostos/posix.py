"""A host without Windows programs: it says so."""

from __future__ import annotations

from collections.abc import Mapping

from interop.dosdevices import DosDevices
from interop.drives.roots import WITHOUT_WINE
from interop.hostos.contract import Program, WindowsProcess
from interop.hostos.errors import NoWindowsError


class PosixHost:
    """Implements contract.Host. Its one drive is Z:, the root, as drives have it."""

    async def start(self, program: Program) -> WindowsProcess:
        """Raises NoWindowsError."""
        raise NoWindowsError

    def drives(self) -> Mapping[str, str]:
        """As in contract.Host."""
        return DosDevices(WITHOUT_WINE, "/").drives

    def windows_path(self, path: str) -> str:
        """As in contract.Host."""
        return DosDevices(WITHOUT_WINE, "/").to_windows(path)

    def search_path(self) -> str:
        """Nothing: there are no programs."""
        return ""
