"""What a distribution's tree says of itself: is it one, which one, who are its users."""

from __future__ import annotations

import os
import stat

from guest.agent.beneath import open_beneath, read_beneath
from guest.agent.distroconf import CONF_PATH, DistroConf, read_distro_conf, read_oobe
from guest.agent.environment import language_of
from guest.agent.errors import AgentError
from guest.agent.users import User, find_user
from wire.agent import RootDescription
from wire.wslconf import printable

_MAX_TEXT = 256
"""Characters kept of what a tree says of itself: a reply must fit into a frame."""

_MAX_USERS_BYTES = 16 * 1024 * 1024


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
    oobe = read_oobe(root)
    return RootDescription(
        is_root=True,
        os_id=release.get("ID", "")[:_MAX_TEXT],
        os_version=release.get("VERSION_ID", "")[:_MAX_TEXT],
        default_name=oobe.default_name,
        default_uid=oobe.default_uid,
    )


def _variables(text: str) -> dict[str, str]:
    """The assignments of os-release(5)."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def default_user_warnings(root: str, conf: DistroConf) -> list[str]:
    """What the user should know if wsl.conf names a default user that is not there."""
    if not conf.default_user:
        return []
    try:
        find_user(read_beneath(root, "/etc/passwd", _MAX_USERS_BYTES), "", conf.default_user, 0)
    except AgentError:
        name = printable(conf.default_user)
        return [f"user.default in {CONF_PATH} names '{name}', which does not exist"]
    return []


class RootFiles:
    """Users and locale of a running distribution, read again only when the files change.

    Not so its wsl.conf: what is changed there counts from the distribution's next start on.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._stamp: tuple[object, ...] = ()
        self._passwd = ""
        self._group = ""
        self._conf: DistroConf | None = None
        self.language = ""

    @property
    def conf(self) -> DistroConf:
        """Its wsl.conf."""
        if self._conf is None:
            self._conf = read_distro_conf(self._root)
        return self._conf

    def find_user(self, wanted: str, default_uid: int) -> User:
        """As guest.agent.users.find_user, but that wsl.conf names the default user first.

        Raises AgentError for a `wanted` user that does not exist. If the default one does not,
        the other default applies: the distribution must still be reachable.
        """
        self._refresh()
        if not wanted and self.conf.default_user:
            try:
                return find_user(self._passwd, self._group, self.conf.default_user, default_uid)
            except AgentError:
                pass
        return find_user(self._passwd, self._group, wanted, default_uid)

    def _refresh(self) -> None:
        paths = ("/etc", "/etc/passwd", "/etc/group", "/etc/default/locale", "/etc/locale.conf")
        stamp = tuple(self._stamp_of(path) for path in paths)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        self._passwd = read_beneath(self._root, "/etc/passwd", _MAX_USERS_BYTES)
        self._group = read_beneath(self._root, "/etc/group", _MAX_USERS_BYTES)
        locale = read_beneath(self._root, "/etc/default/locale")
        self.language = language_of(locale or read_beneath(self._root, "/etc/locale.conf"))

    def _stamp_of(self, path: str) -> object:
        """Enough of a file's status to tell that it has changed; a link always may have."""
        try:
            status = os.lstat(self._root + path)
        except OSError:
            return None
        if stat.S_ISLNK(status.st_mode):
            return object()
        return status.st_ino, status.st_mtime_ns, status.st_size
