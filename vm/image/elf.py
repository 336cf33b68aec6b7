"""The little we ask of ELF files: section contents and needed libraries. Pure.

Source: the ELF-64 object file format; <elf.h>.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

ELF_MAGIC = b"\x7fELF"
ELFCLASS64 = 2
ELFDATA2LSB = 1
DT_NULL = 0
DT_NEEDED = 1
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_DYNAMIC = struct.Struct("<qQ")


class MalformedElf(ValueError):
    """Not a 64-bit little-endian ELF file, or one whose headers point outside of it."""


@dataclass(frozen=True)
class _Section:
    name_offset: int
    offset: int
    size: int
    link: int


def is_elf(data: bytes) -> bool:
    """Whether `data` begins as an ELF file does."""
    return data.startswith(ELF_MAGIC)


def _slice(data: bytes, offset: int, size: int) -> bytes:
    if offset < 0 or size < 0 or offset + size > len(data):
        raise MalformedElf("a header points outside of the file")
    return data[offset : offset + size]


def _string(table: bytes, offset: int) -> str:
    end = table.find(b"\0", offset)
    if end < 0:
        raise MalformedElf("a string has no end")
    return table[offset:end].decode("utf-8", "replace")


def _sections(data: bytes) -> tuple[list[_Section], int]:
    """All section headers, and the number of the one with the names."""
    if len(data) < 64 or not is_elf(data) or data[4] != ELFCLASS64 or data[5] != ELFDATA2LSB:
        raise MalformedElf("not a 64-bit little-endian ELF file")
    (start,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    if count and size != _SECTION_HEADER.size:
        raise MalformedElf("section headers of a strange size")
    table = _slice(data, start, size * count)
    sections = []
    for number in range(count):
        name, _, _, _, offset, length, link, _, _, _ = _SECTION_HEADER.unpack_from(
            table, number * size
        )
        sections.append(_Section(name, offset, length, link))
    return sections, names


def section(data: bytes, name: str) -> bytes | None:
    """The contents of section `name`, None when there is none. Raises MalformedElf."""
    sections, names_number = _sections(data)
    if not sections:
        return None
    if names_number >= len(sections):
        raise MalformedElf("there are no section names")
    names = _slice(data, sections[names_number].offset, sections[names_number].size)
    for candidate in sections:
        if _string(names, candidate.name_offset) == name:
            return _slice(data, candidate.offset, candidate.size)
    return None


def needed_libraries(data: bytes) -> list[str]:
    """The DT_NEEDED names of a program or library, in order. Raises MalformedElf."""
    dynamic = section(data, ".dynamic")
    strings = section(data, ".dynstr")
    if dynamic is None or strings is None:
        return []
    needed = []
    for tag, value in _DYNAMIC.iter_unpack(dynamic[: len(dynamic) // 16 * 16]):
        if tag == DT_NULL:
            break
        if tag == DT_NEEDED:
            needed.append(_string(strings, value))
    return needed


def module_information(data: bytes) -> dict[str, list[str]]:
    """A kernel module's .modinfo: values by key ("depends", "alias", …). Raises MalformedElf."""
    content = section(data, ".modinfo")
    if content is None:
        raise MalformedElf("not a kernel module: no .modinfo")
    information: dict[str, list[str]] = {}
    for entry in content.split(b"\0"):
        key, equals, value = entry.decode("utf-8", "replace").partition("=")
        if equals:
            information.setdefault(key, []).append(value)
    return information
