"""Taking a bzImage apart: the uncompressed kernel inside of it. Pure, but for zstd.

An uncompressed kernel with a PVH entry starts at once, where a bzImage first unpacks itself in the
guest: 0.8 s under emulation. Source: the kernel's Documentation/arch/x86/boot.rst ("The Real-Mode
Kernel Header", fields by their offsets there).
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Mapping

from vm.image import elf
from vm.image.zstd import unpack_zstd

SETUP_SECTS_OFFSET = 0x1F1
MAGIC_OFFSET = 0x202
MAGIC = b"HdrS"
VERSION_OFFSET = 0x206
PAYLOAD_OFFSET = 0x248
SECTOR_BYTES = 512
DEFAULT_SETUP_SECTS = 4
VERSION_WITH_PAYLOAD = 0x0208
TRAILING_SIZE_BYTES = 4
"""The payload ends with its size when unpacked (arch/x86/boot/compressed/Makefile)."""


class NoKernelInside(ValueError):
    """The bzImage is malformed, or packed in a way that is not known here."""


_UNPACKERS: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": lambda data: zlib.decompress(data, wbits=31),
    b"\xfd7zXZ\0": lambda data: lzma.decompress(data),
    b"\x28\xb5\x2f\xfd": unpack_zstd,
}


def payload(image: bytes) -> bytes:
    """The packed kernel in `image`. Raises NoKernelInside."""
    if len(image) < PAYLOAD_OFFSET + 8 or image[MAGIC_OFFSET:][:4] != MAGIC:
        raise NoKernelInside("it is not a bzImage")
    (version,) = struct.unpack_from("<H", image, VERSION_OFFSET)
    if version < VERSION_WITH_PAYLOAD:
        raise NoKernelInside(f"boot protocol {version:#06x} does not say where its payload is")
    sectors = image[SETUP_SECTS_OFFSET] or DEFAULT_SETUP_SECTS
    offset, length = struct.unpack_from("<II", image, PAYLOAD_OFFSET)
    start = (sectors + 1) * SECTOR_BYTES + offset
    if length <= TRAILING_SIZE_BYTES or start + length > len(image):
        raise NoKernelInside("its payload lies outside of it")
    return image[start : start + length - TRAILING_SIZE_BYTES]


def extract_vmlinux(image: bytes) -> bytes:
    """The uncompressed kernel (ELF) in the bzImage `image`. Raises NoKernelInside, ToolMissing."""
    packed = payload(image)
    for magic, unpack in _UNPACKERS.items():
        if packed.startswith(magic):
            try:
                kernel = unpack(packed)
            except (ValueError, lzma.LZMAError, zlib.error) as error:
                raise NoKernelInside(f"its payload is damaged: {error}") from error
            if not elf.is_elf(kernel):
                raise NoKernelInside("its payload is not an ELF file")
            return kernel
    raise NoKernelInside(f"its payload begins with {packed[:6]!r}")
