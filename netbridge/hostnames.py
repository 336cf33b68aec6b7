"""How this host finds names, read from where it keeps that."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from netbridge.names import parse_hosts, parse_resolv_conf, search_domains

_MAX_BYTES = 1 << 20
"""A file that is longer is read no further."""


@dataclass(frozen=True)
class HostNames:
    """What the host would answer with."""

    name_servers: tuple[str, ...] = ()
    """As numbers; none where they are not known (Windows)."""
    search: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    """Lines of a hosts file."""


class HostNamesReader:
    """Reads again what has changed since it was last asked: small local files."""

    def __init__(self) -> None:
        system = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "drivers"
        etc = system / "etc" if sys.platform == "win32" else Path("/etc")
        self._hosts = _File(etc / "hosts")
        self._resolv_conf = _File(etc / "resolv.conf")
        self._known = HostNames()

    def read(self) -> HostNames:
        """As of now. What cannot be read is as if it were empty."""
        if sys.platform == "win32":
            search: tuple[str, ...] = _windows_search()
            servers: tuple[str, ...] = ()
        elif self._resolv_conf.has_changed():
            servers, search = parse_resolv_conf(self._resolv_conf.read())
        else:
            servers, search = self._known.name_servers, self._known.search
        hosts = self._known.hosts
        if self._hosts.has_changed():
            own = socket.gethostname()
            hosts = parse_hosts(self._hosts.read(), (own, own.partition(".")[0]))
        self._known = HostNames(servers, search, hosts)
        return self._known


class _File:
    """A file that somebody replaces, or what a link of that name leads to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: object = self  # equal to no stamp

    def has_changed(self) -> bool:
        """Whether it is another one than when it was last asked."""
        before = self._stamp
        try:
            status = self._path.stat()
            self._stamp = status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
        except OSError as error:
            self._stamp = error.errno
        return self._stamp != before

    def read(self) -> str:
        try:
            with self._path.open("rb") as file:
                return file.read(_MAX_BYTES).decode("utf-8", "replace")
        except OSError:
            return ""


def _windows_search() -> tuple[str, ...]:
    """The suffixes that Windows appends (its registry, Tcpip\\Parameters): its list, or its own."""
    if sys.platform != "win32":
        return ()
    import winreg

    path = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
    words: list[str] = []
    for name in ("SearchList", "Domain", "DhcpDomain"):
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
                words += str(winreg.QueryValueEx(key, name)[0]).replace(",", " ").split()
        except OSError:
            continue
        if name == "SearchList" and words:
            break
    return tuple(search_domains(words))
