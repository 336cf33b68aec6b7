"""The kernel inside of a bzImage."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vm.image.bzimage import NoKernelInside, extract_vmlinux, payload

KERNEL = b"\x7fELF" + b"kernel" * 1000


def bzimage(packed: bytes, sectors: int = 3, version: int = 0x020F) -> bytes:
    """A bzImage with `packed` as its payload, laid out as boot.rst says."""
    body = bytes(100) + packed + struct.pack("<I", len(KERNEL)) + bytes(50)
    header = bytearray((sectors + 1) * 512)
    header[0x1F1] = sectors
    header[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", header, 0x206, version)
    struct.pack_into("<II", header, 0x248, 100, len(packed) + 4)
    return bytes(header) + body


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_the_kernel_comes_out_as_it_went_in(pack: Callable[[bytes], bytes]) -> None:
    assert extract_vmlinux(bzimage(pack(KERNEL))) == KERNEL


@pytest.mark.parametrize(
    "image",
    [
        b"",
        bytes(4096),
        bzimage(gzip.compress(KERNEL), version=0x0207),
        bzimage(gzip.compress(KERNEL))[:-200],
        bzimage(b"\x04\x22\x4d\x18 lz4"),
        bzimage(gzip.compress(b"not a kernel")),
        bzimage(lzma.compress(KERNEL)[:-8]),
        bzimage(gzip.compress(KERNEL)[:-20]),
    ],
)
def test_what_has_no_kernel_is_refused(image: bytes) -> None:
    with pytest.raises(NoKernelInside):
        extract_vmlinux(image)


@given(st.data())
def test_no_damage_does_more_than_be_refused(data: st.DataObject) -> None:
    image = bytearray(bzimage(gzip.compress(KERNEL)))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0x1F0, 0x260))
        image[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NoKernelInside):
        assert payload(bytes(image)) is not None
