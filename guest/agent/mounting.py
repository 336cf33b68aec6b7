"""mount(2) and swapon(2), which Python has not.

A process for mount(8) costs an emulated processor several times what the mount itself does: each
program's code has to be translated before it runs.
"""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, options: str) -> None:
    """Mount `source` at `target`; `options` are the file system's own. Raises OSError.

    Other threads run meanwhile.
    """
    names = map(os.fsencode, (source, target, kind))
    if _libc.mount(*names, ctypes.c_ulong(0), options.encode()) != 0:
        raise _error(source)


def swap_on(device: str, flags: int) -> None:
    """Use a device that has been made swap space. Raises OSError."""
    if _libc.swapon(os.fsencode(device), flags) != 0:
        raise _error(device)


def _error(name: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), name)
