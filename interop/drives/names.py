"""A drive's file names: what Linux sees, and what is on the host. Pure.

What Windows forbids in a name is stored as U+F000 + c (wire.windowspath). A POSIX host can hold
such characters as they are: files that have them there are found under their own name.
"""

from __future__ import annotations

import re

from wire.windowspath import ESCAPE_BASE, FORBIDDEN

_PLAIN = b"".join(character.encode() for character in sorted(FORBIDDEN))
_FORBIDDEN = re.compile(b"[" + re.escape(_PLAIN) + b"]")
_ESCAPED = re.compile(
    b"|".join(chr(ESCAPE_BASE + ord(character)).encode() for character in sorted(FORBIDDEN))
)


def has_forbidden(name: bytes) -> bool:
    """Whether Windows would not take `name` as it is."""
    return _FORBIDDEN.search(name) is not None


def to_host(name: bytes) -> bytes:
    """`name`, a Linux one, as the host stores it. May be longer than a name can be."""
    if _FORBIDDEN.search(name) is None:
        return name
    return _FORBIDDEN.sub(lambda match: chr(ESCAPE_BASE + match[0][0]).encode(), name)


def to_linux(name: bytes) -> bytes:
    """`name`, one of the host's, as Linux sees it."""
    if b"\xef\x80" not in name and b"\xef\x81" not in name:
        return name
    return _ESCAPED.sub(lambda match: chr(ord(match[0].decode()) - ESCAPE_BASE).encode(), name)
