"""Which compression a tar archive has, by its first bytes. Pure."""

from __future__ import annotations

_MAGIC = (
    (b"\x1f\x8b", "gzip"),  # RFC 1952 §2.3.1
    (b"\xfd7zXZ\0", "xz"),  # The .xz File Format 1.2.1, §2.1.1.1
    (b"BZh", "bzip2"),
)
MAGIC_BYTES = 6
"""How many bytes `sniff` wants to see."""


def sniff(start: bytes) -> str:
    """The compression of an archive that begins with `start`: "gzip", "xz", "bzip2" or "".

    "" also stands for what only bsdtar in the guest unpacks (zstd, lz4, …).
    """
    for magic, name in _MAGIC:
        if start.startswith(magic):
            return name
    return ""
