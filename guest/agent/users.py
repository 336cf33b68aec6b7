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


MAX_ID = 2**32 - 2
"""The largest user or group number; the one above stands for "unchanged" (setresuid(2))."""
_MAX_GROUPS = 65536
"""NGROUPS_MAX of linux/limits.h."""

ROOT = User("root", 0, 0, "/root", "/bin/sh", (0,))
"""Who runs where a distribution has no (readable) /etc/passwd."""


def find_user(passwd: str, group: str, wanted: str, default_uid: int) -> User:
    """The user called `wanted`, or with that number; "" means the one with `default_uid`.

    Raises AgentError (WSL_E_USER_NOT_FOUND). A missing default user falls back to root, as a
    distribution whose user was deleted must still be reachable.
    """
    users = [user for user in map(_user_of, _lines(passwd)) if user is not None]
    number = parse_id(wanted) if wanted else default_uid
    # Names first, as chown(1) does: one may look like a number.
    matching = [user for user in users if user.name == wanted]
    matching += [user for user in users if user.uid == number]
    if matching:
        user = matching[0]
        user.groups = tuple(sorted({user.gid, *_groups_of(group, user.name)})[:_MAX_GROUPS])
        return user
    if not wanted or wanted in ("root", "0"):
        return ROOT
    raise AgentError(
        f'user "{wanted}" does not exist in this distribution',
        code=failures.USER_NOT_FOUND,
        hint="`-u root` always works; /etc/passwd of the distribution lists the others.",
    )


def _user_of(line: str) -> User | None:
    """The user, so far without groups, of a line of passwd(5); None if it is no entry."""
    fields = line.split(":")
    if len(fields) < 7 or not fields[0]:
        return None
    uid, gid = parse_id(fields[2]), parse_id(fields[3])
    if uid is None or gid is None:
        return None
    return User(fields[0], uid, gid, fields[5], fields[6].strip(), ())


def _groups_of(group: str, name: str) -> list[int]:
    """Numbers of the groups that list `name` as a member."""
    found = []
    for line in _lines(group):
        fields = line.split(":")
        if len(fields) >= 4 and name in fields[3].strip().split(","):
            gid = parse_id(fields[2])
            if gid is not None:
                found.append(gid)
    return found


def _lines(text: str) -> list[str]:
    """Lines of a file as libc sees them.

    Not str.splitlines: that also ends lines at characters which users may put into their own
    full names with chfn(1). A line with a NUL byte would end there for libc, and is no entry.
    """
    return [line for line in text.split("\n") if "\0" not in line]


def parse_id(text: str) -> int | None:
    """A user or group number; None if `text` is not one."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 10 or int(text) > MAX_ID:
        return None
    return int(text)
