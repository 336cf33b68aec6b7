"""Where a VHDX has data: tables built after [MS-VHDX], and damaged ones."""

from __future__ import annotations

import io
import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vm.vhdx import Layout, MalformedVhdx, read_layout

MIB = 1 << 20
NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULLY_PRESENT, PARTIALLY_PRESENT = 0, 1, 2, 3, 6, 7
BAT = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
ITEMS = {
    "block": UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b"),
    "size": UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8"),
    "sector": UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f"),
}


def vhdx(
    states: dict[int, int], *, blocks: int, block: int = MIB, sector: int = 512, cut: int = 0
) -> bytes:
    """A VHDX without data whose payload blocks have these states; the last is `cut` bytes short."""
    ratio = sector * (1 << 23) // block
    entries = []
    for index in range(blocks):
        entries.append(states.get(index, NOT_PRESENT) | (7 * MIB))
        if (index + 1) % ratio == 0:
            entries.append(FULLY_PRESENT)  # of the sector bitmap: says nothing of the data
    table = struct.pack(f"<{len(entries)}Q", *entries)
    image = bytearray(2 * MIB + len(table))
    image[2 * MIB :] = table
    struct.pack_into("<4sII", image, 192 << 10, b"regi", 0, 2)
    struct.pack_into("<16sQII", image, (192 << 10) + 16, BAT.bytes_le, 2 * MIB, len(table), 1)
    struct.pack_into("<16sQII", image, (192 << 10) + 48, METADATA.bytes_le, MIB, MIB, 1)
    struct.pack_into("<8sHH", image, MIB, b"metadata", 0, 3)
    values = {
        "block": struct.pack("<II", block, 0),
        "size": struct.pack("<Q", blocks * block - cut),
        "sector": struct.pack("<I", sector),
    }
    for number, (name, value) in enumerate(values.items()):
        at = (64 << 10) + 8 * number
        struct.pack_into("<16sII", image, MIB + 32 + 32 * number, ITEMS[name].bytes_le, at, 8)
        image[MIB + at : MIB + at + len(value)] = value
    return bytes(image)


def layout(image: bytes, gap: int = 0) -> Layout:
    return read_layout(io.BytesIO(image), gap)


def test_only_blocks_with_data_count() -> None:
    states = {0: FULLY_PRESENT, 1: ZERO, 2: UNMAPPED, 3: UNDEFINED, 5: PARTIALLY_PRESENT}
    assert layout(vhdx(states, blocks=9)).runs == ((0, MIB), (5 * MIB, MIB))


def test_an_empty_disk_has_no_runs() -> None:
    assert layout(vhdx({}, blocks=4)) == Layout(4 * MIB, ())


def test_neighbours_and_those_a_small_gap_apart_are_one_run() -> None:
    image = vhdx(dict.fromkeys((1, 2, 5, 20), FULLY_PRESENT), blocks=32)
    assert layout(image, 3 * MIB).runs == ((MIB, 5 * MIB), (20 * MIB, MIB))
    assert layout(image).runs == ((MIB, 2 * MIB), (5 * MIB, MIB), (20 * MIB, MIB))


def test_the_last_block_may_reach_beyond_the_disk() -> None:
    assert layout(vhdx({3: FULLY_PRESENT}, blocks=4, cut=512)).runs == ((3 * MIB, MIB - 512),)


@given(
    st.sets(st.integers(0, 9_999)),
    st.sampled_from([(MIB, 512), (MIB, 4096), (32 * MIB, 512), (256 * MIB, 512)]),
)
def test_entries_of_sector_bitmaps_are_passed_over(
    present: set[int], kind: tuple[int, int]
) -> None:
    block, sector = kind
    states = dict.fromkeys(present, FULLY_PRESENT)
    found = layout(vhdx(states, blocks=10_000, block=block, sector=sector))
    covered = {
        at // block for start, length in found.runs for at in range(start, start + length, block)
    }
    assert covered == present


def test_the_second_region_table_serves_when_the_first_is_damaged() -> None:
    image = bytearray(vhdx({0: FULLY_PRESENT}, blocks=1))
    image[256 << 10 : 320 << 10] = image[192 << 10 : 256 << 10]
    image[192 << 10 : (192 << 10) + 4] = b"gone"
    assert layout(bytes(image)).runs == ((0, MIB),)


@given(st.data())
def test_damaged_tables_are_refused_or_read_and_never_crash(data: st.DataObject) -> None:
    image = bytearray(vhdx({0: FULLY_PRESENT, 7: FULLY_PRESENT}, blocks=8))
    places = [(192 << 10, 128), (MIB, 128), (MIB + (64 << 10), 24)]
    for _ in range(data.draw(st.integers(1, 4))):
        start, length = data.draw(st.sampled_from(places))
        at = start + data.draw(st.integers(0, length - 8))
        image[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
    end = data.draw(st.sampled_from([len(image), len(image) - 1, MIB + 70, 200 << 10, 0]))
    try:
        found = layout(bytes(image[:end]))
    except MalformedVhdx:
        return
    assert all(start + length <= found.virtual_size_bytes for start, length in found.runs)


@pytest.mark.parametrize(("block", "sector"), [(0, 512), (3 * MIB, 512), (MIB, 513)])
def test_impossible_sizes_are_refused(block: int, sector: int) -> None:
    image = bytearray(vhdx({}, blocks=1))
    struct.pack_into("<I", image, MIB + (64 << 10), block)
    struct.pack_into("<I", image, MIB + (64 << 10) + 16, sector)
    with pytest.raises(MalformedVhdx):
        layout(bytes(image))
