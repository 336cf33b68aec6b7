"""Owners and modes of a drive's files in Linux: mount options, stored metadata. Pure.

As WSL's DrvFs (https://learn.microsoft.com/windows/wsl/file-permissions): without `metadata` every
file belongs to the mount's user with all permissions that the masks leave; with it, what Linux
sets is stored beside the file and counts where it is stored.

WSL stores it in NTFS extended attributes $LXUID, $LXGID, $LXMOD (each a little-endian 32-bit
integer; the mode with its S_IFMT) and $LXDEV (two: major, minor). On POSIX hosts the same values
are in the extended attributes user.LXUID and so on.
"""

from __future__ import annotations

import enum
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from struct import Struct
from typing import NamedTuple

from interop.drives.errors import OptionError

_PERMISSIONS = 0o777
_ALL_MODE_BITS = 0o7777
_WRITE_BITS = 0o222
_ID_MAX = 0xFFFF_FFFE

_U32 = Struct("<I")
_DEVICE = Struct("<II")

UID_XATTR = "user.LXUID"
GID_XATTR = "user.LXGID"
MODE_XATTR = "user.LXMOD"
DEVICE_XATTR = "user.LXDEV"

RESERVED_XATTRS = frozenset({UID_XATTR, GID_XATTR, MODE_XATTR, DEVICE_XATTR})
"""What Linux programs neither see nor set: they would change owners without permission to."""


class Case(enum.Enum):
    """Whether names that differ in case alone are different ones (Windows hosts only)."""

    OFF = "off"
    """As the Windows directory says, which by default is that they are the same."""
    DIR = "dir"
    """As the Windows directory says; new directories tell them apart."""
    FORCE = "force"
    """Always different ones."""


@dataclass(frozen=True)
class Options:
    """A drive's mount options; `uid` and `gid` own what stores no owner, masks are octal modes.

    `dmask` and `fmask` take permissions from directories and other files on top of `umask`.
    """

    metadata: bool = False
    uid: int = 0
    gid: int = 0
    umask: int = 0
    fmask: int = 0
    dmask: int = 0
    case: Case = Case.OFF
    symlinkroot: str = "/mnt/"
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Options:
        """The options in `text`, separated by "," or ";" (WSL's own separator); later ones win.

        Raises OptionError for what drives do not know: mount(8)'s own options are not for them.
        """
        options = cls()
        for item in filter(None, text.replace(";", ",").split(",")):
            key, equals, value = item.partition("=")
            if not equals and key in _SWITCHES:
                options = _SWITCHES[key](options)
            elif equals and key in _SETTERS:
                options = _SETTERS[key](options, value)
            else:
                raise OptionError(item, "is not one of a drive's")
        return options


def _number(key: str, base: int, most: int) -> Callable[[Options, str], Options]:
    digits = "01234567" if base == 8 else "0123456789"

    def set_it(options: Options, value: str) -> Options:
        if not value or value.strip(digits) or len(value) > 10 or int(value, base) > most:
            raise OptionError(f"{key}={value}", f"is not a number of base {base} up to {most}")
        changes: Mapping[str, int] = {key: int(value, base)}
        return replace(options, **changes)  # type: ignore[arg-type]  # one field among several

    return set_it


def _set_case(options: Options, value: str) -> Options:
    try:
        return replace(options, case=Case(value))
    except ValueError:
        raise OptionError(f"case={value}", "is not off, dir or force") from None


def _set_symlinkroot(options: Options, value: str) -> Options:
    if not value.startswith("/"):
        raise OptionError(f"symlinkroot={value}", "is not an absolute path")
    return replace(options, symlinkroot=value)


_SWITCHES: dict[str, Callable[[Options], Options]] = {
    "metadata": lambda options: replace(options, metadata=True),
    "ro": lambda options: replace(options, read_only=True),
    "rw": lambda options: replace(options, read_only=False),
}
_SETTERS: dict[str, Callable[[Options, str], Options]] = {
    "uid": _number("uid", 10, _ID_MAX),
    "gid": _number("gid", 10, _ID_MAX),
    "umask": _number("umask", 8, _PERMISSIONS),
    "fmask": _number("fmask", 8, _PERMISSIONS),
    "dmask": _number("dmask", 8, _PERMISSIONS),
    "case": _set_case,
    "symlinkroot": _set_symlinkroot,
}


class Stored(NamedTuple):
    """What is stored beside a file; None for what is not. `mode` has its S_IFMT."""

    uid: int | None = None
    gid: int | None = None
    mode: int | None = None
    device: tuple[int, int] | None = None


NOTHING_STORED = Stored()


class Shown(NamedTuple):
    """A file's mode (with S_IFMT), owners and device number as Linux sees them."""

    mode: int
    uid: int
    gid: int
    rdev: int


def decode_stored(values: Mapping[str, bytes]) -> Stored:
    """The metadata in the extended attributes `values`; what is not of its format is not there."""

    def number(name: str) -> int | None:
        value = values.get(name, b"")
        return int(_U32.unpack(value)[0]) if len(value) == _U32.size else None

    device = values.get(DEVICE_XATTR, b"")
    major_minor = _DEVICE.unpack(device) if len(device) == _DEVICE.size else None
    return Stored(
        number(UID_XATTR),
        number(GID_XATTR),
        number(MODE_XATTR),
        (major_minor[0], major_minor[1]) if major_minor else None,
    )


def encode_stored(stored: Stored) -> dict[str, bytes]:
    """The extended attributes that hold `stored`."""
    values: dict[str, bytes] = {}
    for name, number in (
        (UID_XATTR, stored.uid),
        (GID_XATTR, stored.gid),
        (MODE_XATTR, stored.mode),
    ):
        if number is not None:
            values[name] = _U32.pack(number)
    if stored.device is not None:
        values[DEVICE_XATTR] = _DEVICE.pack(*stored.device)
    return values


def encode_device(major: int, minor: int) -> int:
    """A device number as FUSE carries it (new_encode_dev() of linux/kdev_t.h)."""
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & 0xFFF00) << 12


def decode_device(rdev: int) -> tuple[int, int]:
    """(major, minor) of FUSE's device number."""
    return (rdev >> 8) & 0xFFF, (rdev & 0xFF) | (rdev >> 12 & 0xFFF00)


_SPECIAL = frozenset({stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK})


def show(host_mode: int, stored: Stored, options: Options) -> Shown:
    """How a file whose mode on the host is `host_mode` looks in Linux.

    A host device's number is never shown: it would name a device of the virtual machine.
    A stored mode may turn a regular file into a special one, and no file into anything else.
    """
    kind = stat.S_IFMT(host_mode)
    rdev = 0
    if kind == stat.S_IFLNK:
        permissions = _PERMISSIONS
    elif stored.mode is not None:
        permissions = stored.mode & _ALL_MODE_BITS
        stored_kind = stat.S_IFMT(stored.mode)
        if kind == stat.S_IFREG and stored_kind in _SPECIAL:
            kind = stored_kind
            rdev = encode_device(*stored.device) if stored.device else 0
    else:
        mask = options.dmask if kind == stat.S_IFDIR else options.fmask
        permissions = _PERMISSIONS & ~(options.umask | mask)
        if not host_mode & _WRITE_BITS:
            permissions &= ~_WRITE_BITS
    return Shown(
        kind | permissions,
        options.uid if stored.uid is None else stored.uid,
        options.gid if stored.gid is None else stored.gid,
        rdev,
    )


def store_new(mode: int, umask: int, uid: int, gid: int, device: int = 0) -> Stored:
    """What to store beside a file that user `uid` makes with `mode` (S_IFMT and permissions)."""
    kind = stat.S_IFMT(mode)
    major_minor = decode_device(device) if kind in (stat.S_IFCHR, stat.S_IFBLK) else None
    return Stored(uid, gid, kind | (mode & _ALL_MODE_BITS & ~umask), major_minor)


def without_set_ids(mode: int) -> int:
    """`mode` after a change of content or owner by one who may not keep set-id bits.

    The set-group-id bit of a file that its group cannot execute means mandatory locking and stays.
    """
    mode &= ~stat.S_ISUID
    return mode & ~stat.S_ISGID if mode & stat.S_IXGRP else mode


def host_permissions(mode: int, present: int | None = None) -> int:
    """The host's permissions for a file that Linux gives `mode`; `present` are those it has.

    As on NTFS all that crosses is "read-only"; what a user may do on the host stays his affair.
    POSIX hosts get the execute bits of new files on top, so that Wine and the host can run them.
    """
    if present is None:
        return 0o666 | (mode & 0o111) if mode & _WRITE_BITS else 0o444 | (mode & 0o111)
    if not mode & _WRITE_BITS:
        return present & ~_WRITE_BITS
    return present if present & _WRITE_BITS else present | stat.S_IWUSR
