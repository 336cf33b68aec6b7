"""A host without Windows programs: it says so."""

from __future__ import annotations

from collections.abc import Mapping

from interop.hostos.contract import Program, WindowsProcess
from interop.hostos.errors import NoWindowsError


class PosixHost:
    """Implements contract.Host."""

    async def start(self, program: Program) -> WindowsProcess:
        """Raises NoWindowsError."""
        raise NoWindowsError

    def drives(self) -> Mapping[str, str]:
        """No drives at all."""
        return {}
