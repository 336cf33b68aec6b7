"""Symbolic links of Windows' own, for those who may make them."""

from __future__ import annotations

import ctypes
import stat
import sys
from ctypes import wintypes

from interop.drives import links, nt_windows, tree_windows
from interop.drives.nodes import Node
from interop.drives.ntformats import to_text

assert sys.platform == "win32"

_TO_DIRECTORY, _UNPRIVILEGED = 0x1, 0x2
"""SYMBOLIC_LINK_FLAG_DIRECTORY, _ALLOW_UNPRIVILEGED_CREATE: with "Developer Mode" (winbase.h)."""

_create_link = ctypes.WinDLL("kernel32").CreateSymbolicLinkW
_create_link.argtypes = (wintypes.LPCWSTR, wintypes.LPCWSTR, wintypes.DWORD)
_create_link.restype = wintypes.BOOLEAN


def make(tree: tree_windows.Tree, parent: Node, name: bytes, target: bytes) -> bool:
    """Make a link to `target` (Linux') of `name` (the host's); False where that cannot be.

    Windows wants a path to it. So what the path leads through is held meanwhile: nobody can rename
    a directory that is open and not shared for that, nor any above it.
    """
    link = links.native(target, tree.path(parent))
    if link is None:
        return False
    held = None
    try:
        kind = _kind(tree.root, link.path)
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            return False
        held = tree.open(parent, nt_windows.LIST, share=nt_windows.SHARE_CONTENT)
        flags = _UNPRIVILEGED | (_TO_DIRECTORY if kind == stat.S_IFDIR else 0)
        path = tree.long_path(parent) + "\\" + to_text(name)
        # Wine says that it has made one.
        return bool(_create_link(path, link.text, flags)) and _kind(held, name) == stat.S_IFLNK
    except OSError:
        return False
    finally:
        if held is not None:
            nt_windows.close(held)


def _kind(directory: int, path: bytes) -> int:
    handle = nt_windows.open_file(directory, to_text(path), 0)
    try:
        return nt_windows.status(handle).kind
    finally:
        nt_windows.close(handle)
