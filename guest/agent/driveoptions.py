"""Options of a drive's mount: which are the drive's own, which are the kernel's. Pure."""

from __future__ import annotations

READ_ONLY = 0x1
_ATTRIBUTES = {
    "nosuid": (0x2, 0x2),
    "suid": (0x2, 0),
    "nodev": (0x4, 0x4),
    "dev": (0x4, 0),
    "noexec": (0x8, 0x8),
    "exec": (0x8, 0),
    "noatime": (0x70, 0x10),
    "strictatime": (0x70, 0x20),
    "relatime": (0x70, 0),
    "atime": (0x70, 0),
    "nodiratime": (0x80, 0x80),
    "diratime": (0x80, 0),
    "nosymfollow": (0x200000, 0x200000),
    "symfollow": (0x200000, 0),
}
"""By option of mount(8): the bits of MOUNT_ATTR_* (linux/mount.h) that it is about, and sets."""

_WITHOUT_MEANING = frozenset(
    {
        "",
        "async",
        "auto",
        "defaults",
        "group",
        "iversion",
        "lazytime",
        "loud",
        "noauto",
        "nofail",
        "noiversion",
        "nolazytime",
        "nouser",
        "owner",
        "silent",
        "sync",
        "user",
        "users",
        "_netdev",
        "fallback",
    }
)
"""What mount(8) itself goes by (fstab(5)), has no meaning here, or is WSL's own (`fallback=`)."""


class DriveOptions:
    """`drive` are options for the drive's server; `attributes` are MOUNT_ATTR_* of fsmount(2)."""

    __slots__ = ("attributes", "drive")

    def __init__(self, drive: tuple[str, ...], attributes: int) -> None:
        self.drive = drive
        self.attributes = attributes


def split_options(text: str) -> DriveOptions:
    """The options in `text`, separated by commas. What nobody knows is left to the drive.

    The server refuses it then, and says which there are.
    """
    drive = []
    attributes = 0
    for option in text.split(","):
        key = option.partition("=")[0]
        if option in _ATTRIBUTES:
            mask, bits = _ATTRIBUTES[option]
            attributes = attributes & ~mask | bits
        elif key not in _WITHOUT_MEANING and not key.startswith(("x-", "X-", "comment")):
            drive.append(option)
    return DriveOptions(tuple(drive), attributes)


def automount_options(uid: int, gid: int, wanted: str) -> str:
    """The options of a drive that is mounted by itself, for the distribution's default user.

    Its own, then `wanted`, those of wsl.conf's automount.options, which therefore win.
    """
    return ",".join(filter(None, ("noatime", f"uid={uid}", f"gid={gid}", wanted)))
