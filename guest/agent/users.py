"""Who a session runs as: /etc/passwd and /etc/group of a distribution. Pure.

Sources: passwd(5), group(5). NIS and LDAP users are not looked up: the agent does not run inside
the distribution, and a distribution's own users are in its files.
"""

from __future__ import annotations

from guest.agent.errors import AgentError
from wire import failures


class User:
    """What a process needs to know of its user."""

    __slots__ = ("gid", "groups", "home", "name", "shell", "uid")

    def __init__(
        self, name: str, uid: int, gid: int, home: str, shell: str, groups: tuple[int, ...]
    ) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home or "/"
        self.shell = shell or "/bin/sh"
        self.groups = groups


ROOT = User("root", 0, 0, "/root", "/bin/sh", (0,))
"""Who runs where a distribution has no (readable) /etc/passwd."""


def find_user(passwd: str, group: str, wanted: str, default_uid: int) -> User:
    """The user called `wanted`, or with that number; "" means the one with `default_uid`.

    Raises AgentError (WSL_E_USER_NOT_FOUND). A missing default user falls back to root, as a
    distribution whose user was deleted must still be reachable.
    """
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) < 7 or not fields[2].isdecimal() or not fields[3].isdecimal():
            continue
        name, uid, gid = fields[0], int(fields[2]), int(fields[3])
        if name == wanted or str(uid) == (wanted or str(default_uid)):
            groups = {gid, *_groups_of(group, name)}
            return User(name, uid, gid, fields[5], fields[6].strip(), tuple(sorted(groups)))
    if not wanted or wanted in ("root", "0"):
        return ROOT
    raise AgentError(
        f'user "{wanted}" does not exist in this distribution',
        code=failures.USER_NOT_FOUND,
        hint="`-u root` always works; /etc/passwd of the distribution lists the others.",
    )


def _groups_of(group: str, name: str) -> list[int]:
    """Numbers of the groups that list `name` as a member."""
    found = []
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdecimal() and name in fields[3].strip().split(","):
            found.append(int(fields[2]))
    return found
