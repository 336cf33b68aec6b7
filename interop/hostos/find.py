"""Which implementation of contract.Host is this host's."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from interop.hostos.contract import Host


def find_host(environment: Mapping[str, str]) -> Host:
    """Windows itself; else Wine, as `environment` has it; else a host that only says no."""
    if sys.platform == "win32":
        from interop.hostos.windows import WindowsHost

        return WindowsHost(environment)
    else:
        from interop.hostos.errors import NoWindowsError
        from interop.hostos.posix import PosixHost
        from interop.hostos.wine import find_wine

        try:
            return find_wine(environment)
        except NoWindowsError:
            return PosixHost()
