"""Linux metadata of a file in NTFS's extended attributes, where WSL has it: $LXUID and so on.

Handles have to be open with READ_EA or WRITE_EA. Where a file system has no such attributes, as
FAT, nothing is stored and the mount's defaults count.
"""

from __future__ import annotations

import sys

from interop.drives import nt_windows
from interop.drives.metadata import RESERVED_XATTRS, Stored, decode_stored, encode_stored

assert sys.platform == "win32"

_XATTR, _EA = "user.", "$"
_NAMES = sorted(name.replace(_XATTR, _EA, 1).encode() for name in RESERVED_XATTRS)


def read(handle: int) -> Stored:
    """What is stored beside an open file."""
    values = nt_windows.eas(handle, _NAMES)
    return decode_stored(
        # NTFS keeps names in capitals, which these are.
        {name.decode("latin-1").replace(_EA, _XATTR, 1): value for name, value in values.items()}
    )


def write(handle: int, stored: Stored) -> bool:
    """Store what `stored` has beside an open file; False where it cannot be."""
    values = encode_stored(stored)
    return nt_windows.set_eas(
        handle, {name.replace(_XATTR, _EA, 1).encode(): value for name, value in values.items()}
    )
