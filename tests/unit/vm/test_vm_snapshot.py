"""Which machines share a snapshot; memory, cut into extents and put together again."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.vm.vm_samples import QEMU, SPEC
from vm.errors import SnapshotUnusable
from vm.extents import EXTENTS, MEMORY, PAGE_BYTES, STATE, parse_extents
from vm.memory import GuestMemory, read_memory, read_state, write_snapshot
from vm.snapshot import snapshot_key, used_extents
from vm.spec import Accelerator, BootImage, MachineSpec, MachineType, QemuVersion

SIZE = 1 << 20
shares_memory = pytest.mark.skipif(
    sys.platform == "win32", reason="QEMU for Windows shares no memory: there are no snapshots"
)


@pytest.fixture
def spec(tmp_path: Path) -> MachineSpec:
    """A machine whose files exist."""
    boot = SPEC.boot
    assert isinstance(boot, BootImage)
    for name in ("qemu", "kernel", "system"):
        (tmp_path / name).write_bytes(b"1")
    boot = replace(boot, kernel=tmp_path / "kernel", system=tmp_path / "system")
    return replace(SPEC, qemu=replace(QEMU, system=tmp_path / "qemu"), boot=boot, spare_ports=3)


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: replace(spec, memory_mib=spec.memory_mib + 1),
        lambda spec: replace(spec, processors=spec.processors + 1),
        lambda spec: replace(spec, machine=MachineType.Q35),
        lambda spec: replace(spec, accelerator=Accelerator.KVM),
        lambda spec: replace(spec, cpu_features=("pmu=off",)),
        lambda spec: replace(spec, kernel_arguments=("nosmp",)),
        lambda spec: replace(spec, ports=spec.ports[:1]),
        lambda spec: replace(spec, spare_ports=spec.spare_ports + 1),
        lambda spec: replace(spec, network=None),
        lambda spec: replace(spec, qemu=replace(spec.qemu, version=QemuVersion(11, 0, 0))),
    ],
)
def test_another_machine_has_another_snapshot(
    spec: MachineSpec, change: Callable[[MachineSpec], MachineSpec]
) -> None:
    assert snapshot_key(change(spec), "") != snapshot_key(spec, "")


@pytest.mark.parametrize("name", ["qemu", "kernel", "system"])
def test_another_file_is_another_snapshot(spec: MachineSpec, tmp_path: Path, name: str) -> None:
    before = snapshot_key(spec, "")
    (tmp_path / name).write_bytes(b"12")
    longer = snapshot_key(spec, "")
    os.utime(tmp_path / name, ns=(1, 1))
    assert len({before, longer, snapshot_key(spec, "")}) == 3


def test_what_only_the_host_sees_makes_no_difference(spec: MachineSpec, tmp_path: Path) -> None:
    other = replace(spec, serial_log=tmp_path / "log", console_copy=tmp_path / "copy")
    assert snapshot_key(other, "") == snapshot_key(spec, "")


def test_the_hosts_processor_counts_where_guests_see_it(spec: MachineSpec) -> None:
    assert snapshot_key(spec, "one") == snapshot_key(spec, "another"), "an emulated one is its own"
    hardware = replace(spec, accelerator=Accelerator.KVM)
    assert snapshot_key(hardware, "one") != snapshot_key(hardware, "another")


def test_a_missing_file_is_an_error(spec: MachineSpec, tmp_path: Path) -> None:
    (tmp_path / "kernel").unlink()
    with pytest.raises(FileNotFoundError):
        snapshot_key(spec, "")


# -- memory ----------------------------------------------------------------------------------------


def fill(memory: GuestMemory, pages: dict[int, bytes]) -> None:
    for number, content in pages.items():
        os.pwrite(memory.descriptor, content, number * PAGE_BYTES)


def content(memory: GuestMemory) -> bytes:
    return os.pread(memory.descriptor, memory.size_bytes, 0)


@shares_memory
@given(
    st.dictionaries(
        st.integers(0, SIZE // PAGE_BYTES - 1),
        st.sampled_from([bytes(PAGE_BYTES), b"\1" * PAGE_BYTES, b"x", b"\0" * 4095 + b"y"]),
    )
)
def test_memory_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, pages: dict[int, bytes]
) -> None:
    directory = tmp_path_factory.mktemp("snapshot")
    before, after = GuestMemory(SIZE), GuestMemory(SIZE)
    try:
        fill(before, pages)
        write_snapshot(directory, b"state", before)
        read_memory(directory, after)
        assert content(after) == content(before)
        assert read_state(directory) == b"state"
        used = sum(any(page) for page in pages.values())
        assert (directory / MEMORY).stat().st_size == used * PAGE_BYTES, "empty pages take no room"
        assert after.allocated_bytes <= used * PAGE_BYTES
    finally:
        before.close()
        after.close()


def test_neighbours_become_one_extent() -> None:
    view = bytes(PAGE_BYTES) + b"a" * 2 * PAGE_BYTES + bytes(PAGE_BYTES) + b"b" * PAGE_BYTES
    whole = [(0, len(view))]
    halves = [(0, 2 * PAGE_BYTES), (2 * PAGE_BYTES, 3 * PAGE_BYTES)]
    wanted = [(PAGE_BYTES, 2 * PAGE_BYTES), (4 * PAGE_BYTES, PAGE_BYTES)]
    assert list(used_extents(view, whole)) == list(used_extents(view, halves)) == wanted


@pytest.mark.parametrize(
    "extents",
    [
        "",
        "{}x",
        "[1, 2]",
        '["ab"]',
        "[[0]]",
        "[[0, 4096, 1]]",
        "[[0, null]]",
        "[[-4096, 4096]]",
        "[[0, 0]]",
        "[[0, -4096]]",
        "[[1, 4096]]",
        "[[0, 4097]]",
        "[[4096, 4096], [0, 4096]]",
        "[[0, 8192], [4096, 4096]]",
        f"[[{SIZE}, 4096]]",
        f"[[0, {SIZE + 4096}]]",
        "[" * 100_000,
    ],
)
def test_extents_that_make_no_sense_are_refused(extents: str) -> None:
    with pytest.raises(SnapshotUnusable):
        parse_extents(extents.encode(), SIZE)


@given(st.lists(st.tuples(st.integers(), st.integers())))
def test_extents_that_are_taken_lie_in_memory_and_apart(extents: list[tuple[int, int]]) -> None:
    try:
        taken = parse_extents(json.dumps(extents).encode(), SIZE)
    except SnapshotUnusable:
        return
    end = 0
    for offset, length in taken:
        assert offset >= end and length > 0
        end = offset + length
    assert end <= SIZE


@shares_memory
@pytest.mark.parametrize("change", [-1, 1, PAGE_BYTES, -PAGE_BYTES])
def test_memory_of_another_length_is_refused(tmp_path: Path, change: int) -> None:
    memory = GuestMemory(SIZE)
    try:
        fill(memory, {3: b"x", 5: b"y"})
        write_snapshot(tmp_path, b"state", memory)
        os.truncate(tmp_path / MEMORY, 2 * PAGE_BYTES + change)
        with pytest.raises(SnapshotUnusable):
            read_memory(tmp_path, memory)
        (tmp_path / EXTENTS).write_text("[]")
        with pytest.raises(SnapshotUnusable):
            read_memory(tmp_path, memory)
    finally:
        memory.close()


def test_an_empty_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / STATE).touch()
    with pytest.raises(SnapshotUnusable):
        read_state(tmp_path)
