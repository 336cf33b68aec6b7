"""What the host's Windows side is for a command from there: its directory, PATH and variables.

On a host where Wine stands for Windows, directories and paths of the host get their Windows names
here, so that a distribution is told of Windows alone (docs/paths.md §4).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from interop.dosdevices import UNIX_PREFIX
from interop.hostos.contract import Host
from interop.hostos.errors import HostError
from wire.client import Run
from wire.errors import PathError
from wire.windowspath import is_absolute
from wire.wslenv import WSLENV, parse_wslenv

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """What of a command's start is Windows' (wire.agent.Spawn's fields)."""

    directory: str = ""
    search_path: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


class WindowsSide:
    """Where commands come from; `find_host` tells the kind of host that this is now."""

    def __init__(self, find_host: Callable[[], Host]) -> None:
        self._find_host = find_host

    def origin(self, request: Run) -> Origin:
        """What of `request` is to be told to a distribution. Blocks: for worker threads."""
        host = self._find_host()
        return Origin(
            _directory(host, request),
            _search_path(host),
            _environment(host, request.host_environment),
        )


def _directory(host: Host, request: Run) -> str:
    """The Windows path of where the client stands, "" if it is not to start there."""
    path = request.host_directory
    if not path or request.directory:
        return ""
    # On Windows every path is; elsewhere `--cd C:\\Users` is, and "//x" is the host's own.
    if is_absolute(path) and not path.startswith("/"):
        return path
    named = _windows_path(host, path)
    # A directory of a Linux host that no drive shows is none of Windows': that is no news.
    return "" if named == path else named


def _search_path(host: Host) -> str:
    try:
        return host.search_path()
    except HostError as error:
        log.warning("PATH of Windows is not known: %s", error)
        return ""


def _environment(host: Host, variables: Mapping[str, str]) -> dict[str, str]:
    """WSLENV and the variables that it names, in Windows' form."""
    shared = dict(variables)
    if sys.platform == "win32":
        return shared
    for entry in parse_wslenv(shared.get(WSLENV, "")):
        if entry.is_path and entry.name in variables:
            paths = [path for path in variables[entry.name].split(":") if path]
            shared[entry.name] = ";".join(_windows_path(host, path) for path in paths)
    return shared


def _windows_path(host: Host, path: str) -> str:
    """A path of this host as Windows names it; as it is where it has no such name."""
    if not path.startswith("/"):
        return path
    try:
        named = host.windows_path(path)
    except (HostError, PathError) as error:
        log.info("%s", error)
        return path
    return path if named.startswith(UNIX_PREFIX) else named
