"""What a distribution's tree says of itself: is it one, which one, who are its users."""

from __future__ import annotations

import os

from guest.agent.beneath import open_beneath, read_beneath
from guest.agent.environment import language_of
from guest.agent.users import MAX_ID, User, find_user
from wire.agent import RootDescription

_MAX_TEXT = 256
"""Characters kept of what a tree says of itself: a reply must fit into a frame."""


def exists_beneath(root: str, path: str) -> bool:
    """Whether `path` leads to something below `root`."""
    try:
        os.close(open_beneath(root, path, os.O_PATH))
    except OSError:
        return False
    return True


def describe_root(root: str) -> RootDescription:
    """Judge a tree by WSL's rule: it is a root file system if it has /etc or /bin/sh."""
    if not exists_beneath(root, "/etc") and not exists_beneath(root, "/bin/sh"):
        return RootDescription(is_root=False)
    release = _variables(read_beneath(root, "/etc/os-release"))
    name, uid = _distribution_conf(read_beneath(root, "/etc/wsl-distribution.conf"))
    return RootDescription(
        is_root=True,
        os_id=release.get("ID", "")[:_MAX_TEXT],
        os_version=release.get("VERSION_ID", "")[:_MAX_TEXT],
        default_name=name,
        default_uid=uid,
    )


def _variables(text: str) -> dict[str, str]:
    """The assignments of os-release(5)."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def _distribution_conf(text: str) -> tuple[str, int]:
    """[oobe] defaultName and defaultUid of wsl-distribution.conf."""
    import configparser  # here: few roots are described, and every agent starts

    parser = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        parser.read_string(text)
        name = parser.get("oobe", "defaultName", fallback="")[:_MAX_TEXT]
        uid = parser.getint("oobe", "defaultUid", fallback=0)
        return name, uid if 0 <= uid <= MAX_ID else 0
    except (configparser.Error, ValueError):
        return "", 0


class RootFiles:
    """Users and locale of a running distribution, read again only when the files change."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._stamp: tuple[object, ...] = ()
        self._passwd = ""
        self._group = ""
        self.language = ""

    def find_user(self, wanted: str, default_uid: int) -> User:
        """As guest.agent.users.find_user."""
        self._refresh()
        return find_user(self._passwd, self._group, wanted, default_uid)

    def _refresh(self) -> None:
        paths = ("/etc/passwd", "/etc/group", "/etc/default/locale", "/etc/locale.conf")
        stamp = tuple(self._stamp_of(path) for path in paths)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        self._passwd = read_beneath(self._root, "/etc/passwd", 16 * 1024 * 1024)
        self._group = read_beneath(self._root, "/etc/group", 16 * 1024 * 1024)
        locale = read_beneath(self._root, "/etc/default/locale")
        self.language = language_of(locale or read_beneath(self._root, "/etc/locale.conf"))

    def _stamp_of(self, path: str) -> tuple[int, int, int] | None:
        """Enough of a file's status to tell that it has changed; links are told by themselves."""
        try:
            status = os.lstat(self._root + path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
