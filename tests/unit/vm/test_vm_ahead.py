"""QEMU started ahead: only what fits to the last word is taken, and nothing is left of the rest."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.vm.vm_samples import SPEC
from vm.ahead import Begun, channel_names, fits, keep_record
from vm.aheadrecord import MEMORY_PATH, Record, placeholder
from vm.extents import EXTENTS
from vm.memory import GuestMemory, write_snapshot
from vm.spec import MachineSpec

TEXT = st.text(st.characters(codec="utf-8"))
SIZE = 1 << 20


@given(st.lists(TEXT), st.lists(TEXT), st.integers(0, 1 << 62), TEXT, TEXT)
def test_a_record_is_read_as_it_was_written(
    argv: list[str], names: list[str], size: int, snapshot: str, log: str
) -> None:
    record = Record.decode(Record(argv, names, size, snapshot, log).encode())
    assert record is not None
    assert vars(record) == vars(Record(argv, names, size, snapshot, log))


@given(st.binary() | st.sampled_from([b"{}", b"[]", b'{"argv": "x"}', b'{"argv": [], "names": 1}']))
def test_nonsense_is_no_record(text: bytes) -> None:
    assert Record.decode(text) is None


def test_what_stands_for_channels_is_filled_in() -> None:
    argv = [f"{placeholder('a')},id=a", f"path={MEMORY_PATH}", placeholder("b"), "x@y"]
    record = Record(argv, ["a", "b"], 1, "", "")
    assert record.filled_in({"a": "fd=3", "b": "fd=4"}, "/m") == [
        "fd=3,id=a",
        "path=/m",
        "fd=4",
        "x@y",
    ]


if sys.platform == "linux":
    from vm.ahead_posix import Ahead, begin

    @pytest.fixture
    def snapshot(tmp_path: Path) -> Path:
        """A snapshot of a machine whose memory holds some pages."""
        memory = GuestMemory(SIZE)
        os.pwrite(memory.descriptor, b"first", 0)
        os.pwrite(memory.descriptor, b"another", 40 * 4096 + 7)
        directory = tmp_path / "snapshot"
        directory.mkdir()
        write_snapshot(directory, b"state", memory)
        memory.close()
        return directory

    @pytest.fixture
    def spec(tmp_path: Path) -> MachineSpec:
        """A machine whose QEMU is a program that stays, whatever it is started with."""
        program = tmp_path / "qemu"
        program.write_text("#!/bin/sh\necho started >&2\nexec sleep 1000\n")
        program.chmod(0o755)
        qemu = replace(SPEC.qemu, system=program)
        return replace(SPEC, qemu=qemu, serial_log=tmp_path / "serial.log", spare_ports=2)

    @pytest.fixture
    def begun(tmp_path: Path, spec: MachineSpec, snapshot: Path) -> Iterator[Ahead]:
        """Started as for `spec`."""
        keep_record(tmp_path / "ahead.json", spec, snapshot, SIZE)
        ahead = begin(str(tmp_path / "ahead.json"))
        assert ahead is not None
        yield ahead
        ahead.discard()

    def test_it_fits_what_it_was_started_for(
        begun: Begun, spec: MachineSpec, snapshot: Path
    ) -> None:
        assert fits(begun, spec, snapshot)
        assert set(begun.channels) == set(channel_names(spec))

    def test_it_fits_nothing_else(begun: Begun, spec: MachineSpec, snapshot: Path) -> None:
        boot = replace(spec.boot, release="6.13", kernel=Path("/image/new"))  # type: ignore[arg-type]
        for other in (
            replace(spec, memory_mib=spec.memory_mib + 1),
            replace(spec, processors=spec.processors + 1),
            replace(spec, ports=spec.ports[:1]),
            replace(spec, spare_ports=3),
            replace(spec, boot=boot),
            replace(spec, serial_log=Path("/elsewhere")),
            replace(spec, qemu=replace(spec.qemu, system=Path("/usr/bin/another"))),
        ):
            assert not fits(begun, other, snapshot)
        assert not fits(begun, spec, snapshot.with_name("another"))

    def test_its_memory_is_the_snapshots(begun: Ahead) -> None:
        assert begun.wait_filled()
        assert os.pread(begun.memory.descriptor, 5, 0) == b"first"
        assert os.pread(begun.memory.descriptor, 7, 40 * 4096 + 7) == b"another"

    def test_a_damaged_snapshot_is_noticed(
        tmp_path: Path, spec: MachineSpec, snapshot: Path
    ) -> None:
        (snapshot / EXTENTS).write_text("[[0, 1]]")
        keep_record(tmp_path / "ahead.json", spec, snapshot, SIZE)
        ahead = begin(str(tmp_path / "ahead.json"))
        assert ahead is not None
        assert not ahead.wait_filled()
        ahead.discard()

    def test_what_is_discarded_is_gone(begun: Ahead) -> None:
        begun.discard()
        begun.discard()
        assert begun.process.returncode == -9
        assert begun.memory.descriptor == -1

    def test_its_end_and_its_words_are_noticed(begun: Ahead) -> None:
        async def follow() -> None:
            child = begun.adopt()
            assert child.exit_code is None
            while "started" not in child.stderr_tail:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
            child.terminate()
            assert await child.wait() == -15 == child.exit_code
            assert child.stderr_tail == "started\n"
            child.kill()

        asyncio.run(follow())

    def test_one_that_is_over_already_is_adopted(begun: Ahead) -> None:
        async def follow() -> int:
            begun.process.kill()
            return await begun.adopt().kill_and_reap()

        assert asyncio.run(follow()) == -9

    def test_nothing_is_started_without_a_record_or_a_snapshot(
        tmp_path: Path, spec: MachineSpec, snapshot: Path
    ) -> None:
        path = tmp_path / "ahead.json"
        assert begin(str(path)) is None
        path.write_bytes(b"nonsense")
        assert begin(str(path)) is None
        keep_record(path, spec, tmp_path / "no snapshot", SIZE)
        assert begin(str(path)) is None
        missing = replace(spec, qemu=replace(spec.qemu, system=tmp_path / "no qemu"))
        keep_record(path, missing, snapshot, SIZE)
        assert begin(str(path)) is None
