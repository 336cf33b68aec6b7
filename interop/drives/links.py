"""Which symbolic links of Linux can be Windows' own. Pure.

Windows programs follow their own symbolic links and none of WSL's. WSL makes the former where the
target is relative, crosses no mount and no link, and exists (its release notes, build 17046); what
is decided here is the part of that which the text says. Source of the text: [MS-FSCC] 2.1.2.4.
"""

from __future__ import annotations

from typing import NamedTuple

from interop.drives.names import to_host
from interop.drives.ntformats import Link, linux_target, to_text


class Native(NamedTuple):
    """A link as Windows makes it: its text, and where it leads beneath the drive's root."""

    text: str
    path: bytes


def native(target: bytes, directory: bytes) -> Native | None:
    r"""What a link to `target` (Linux') in `directory` (the host's `a\b`, beneath the root) is.

    None where Windows would take it for something else, or Linux read another text than it wrote.
    """
    names = target.split(b"/")
    if b"" in names:
        return None  # absolute, or with a slash that Windows would not give back
    place = directory.split(b"\\") if directory else []
    while names and names[0] in (b".", b".."):
        if names.pop(0) == b"..":
            if not place:
                return None
            place.pop()
    if b"." in names or b".." in names:
        return None  # what is before it may be a link by the time it is followed
    path = b"\\".join([*place, *map(to_host, names)])
    try:
        text = to_text(b"\\".join(map(to_host, target.split(b"/"))))
    except OSError:
        return None
    if not path or linux_target(Link(None, text, True), "/") != target:
        return None
    return Native(text, path)
