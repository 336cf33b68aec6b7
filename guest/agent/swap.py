"""Swap space without mkswap(8) and swapon(8), whose code an emulated processor would translate."""

from __future__ import annotations

import os
from struct import Struct

from guest.agent.mounting import swap_on

PAGE_BYTES = 4096
_HEADER = Struct("<1024xIII16s")
"""union swap_header, info (linux/swap.h): version, last page, number of bad pages, UUID."""
_VERSION = 1
_MAGIC = b"SWAPSPACE2"
_DISCARD = 0x10000
"""SWAP_FLAG_DISCARD (linux/swap.h): what is not swapped any more is given back to the host."""


def header(size_bytes: int, identity: bytes) -> bytes:
    """The first page of swap space of `size_bytes`; `identity` is its UUID. Pure.

    Raises ValueError where there is no room for two pages.
    """
    pages = size_bytes // PAGE_BYTES
    if pages < 2:
        raise ValueError(f"{size_bytes} bytes are too few for swap space")
    page = _HEADER.pack(_VERSION, pages - 1, 0, identity)
    return page.ljust(PAGE_BYTES - len(_MAGIC), b"\0") + _MAGIC


def use(device: str) -> None:
    """Make a new disk swap space and use it, until the machine ends. Raises OSError, ValueError."""
    with open(device, "r+b", buffering=0) as file:
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        file.write(header(size_bytes, os.urandom(16)))
        os.fsync(file.fileno())
    swap_on(device, _DISCARD)
