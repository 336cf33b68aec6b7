"""What the probe makes of what it sees, and what it remembers; QEMU itself is not run here."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.vm.vm_samples import QEMU
from vm.cache import JsonCache
from vm.errors import NoAccelerator
from vm.probe import _judge, choose_accelerator, probe_argv
from vm.probe_firmware import IMAGE_BYTES, expected_exit_code, firmware_image
from vm.probe_result import ProbeReport, ProbeResult, Verdict
from vm.spec import Accelerator

SEEDS = st.integers(0, 2**64 - 1)


# -- the guest -------------------------------------------------------------------------------


@given(SEEDS)
def test_the_answer_is_a_code_that_no_other_end_of_qemu_has(seed: int) -> None:
    code = expected_exit_code(seed)
    assert 128 < code < 256
    assert code % 2 == 1


def test_the_answer_depends_on_the_seed() -> None:
    assert len({expected_exit_code(seed) for seed in range(1000)}) > 32


@given(SEEDS)
def test_the_image_is_a_rom_that_starts_at_its_beginning_and_bears_the_seed(seed: int) -> None:
    image = firmware_image(seed)
    assert len(image) == IMAGE_BYTES
    assert image[0] == 0xFA  # cli
    opcode, distance = struct.unpack_from("<BH", image, 0xFFF0)
    assert opcode == 0xE9
    assert (0xFFF0 + 3 + distance) % 0x10000 == 0
    assert struct.pack("<Q", seed) in image


def test_a_seed_has_64_bits() -> None:
    with pytest.raises(struct.error):
        firmware_image(2**64)


# -- the verdict -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exit_code", "paused_as", "stderr", "verdict", "detail"),
    [
        (201, None, "", Verdict.WORKS, "runs guests"),
        (203, None, "", Verdict.BROKEN, "wrong answer"),
        (1, None, "no KVM\n", Verdict.REFUSED, "status 1 (no KVM)"),
        (-6, None, "warning: x\nfailed to set MSR\n", Verdict.REFUSED, "(failed to set MSR)"),
        (0, None, "", Verdict.REFUSED, "status 0"),
        (None, None, "", Verdict.SILENT, "within 2 s"),
        (None, "internal-error", "KVM internal error\n", Verdict.BROKEN, "internal-error (KVM"),
    ],
)
def test_each_fate_has_its_verdict(
    exit_code: int | None, paused_as: str | None, stderr: str, verdict: Verdict, detail: str
) -> None:
    judged, said = _judge(exit_code, 201, paused_as, stderr, 2.0)
    assert judged is verdict
    assert detail in said


def test_a_missing_program_is_a_refusal_and_no_accelerator_an_error() -> None:
    qemu = replace(QEMU, system=Path(sys.executable).with_name("no-such-program"))
    with pytest.raises(FileNotFoundError):
        asyncio.run(choose_accelerator(qemu, JsonCache(None)))


def test_the_probe_has_neither_window_nor_network() -> None:
    argv = probe_argv(QEMU, Accelerator.KVM, Path("/rom"), "socket,fd=5")
    assert {"-nodefaults", "-no-user-config", "-no-reboot", "-S"} <= set(argv)
    assert argv[argv.index("-display") + 1] == "none"
    assert "-netdev" not in argv
    assert argv[argv.index("-cpu") + 1] == "host"
    assert "qemu64" in probe_argv(QEMU, Accelerator.KVM, Path("/rom"), "socket,fd=5", "qemu64")


# -- the choice and the memory: a program that plays QEMU's part ---------------------------------

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")


@pytest.fixture
def refusing(tmp_path: Path) -> Path:
    """A QEMU that refuses every accelerator, and counts how often it was asked."""
    program = tmp_path / "qemu-system-x86_64"
    program.write_text('#!/bin/sh\necho "$*" >> "$0.runs"\nexit 1\n', encoding="ascii")
    program.chmod(0o755)
    return program


def runs(program: Path) -> int:
    record = Path(f"{program}.runs")
    return len(record.read_text(encoding="ascii").splitlines()) if record.exists() else 0


def everything_there(accelerator: Accelerator) -> str | None:
    return None


@posix_only
def test_all_are_tried_in_order_and_named_when_none_works(refusing: Path) -> None:
    qemu = replace(QEMU, system=refusing)
    with pytest.raises(NoAccelerator) as caught:
        asyncio.run(choose_accelerator(qemu, JsonCache(None), unavailable=everything_there))
    tried = [(result.accelerator, result.verdict) for result in caught.value.results]
    assert tried == [(Accelerator.KVM, Verdict.REFUSED), (Accelerator.TCG, Verdict.REFUSED)]
    assert runs(refusing) == 2


@posix_only
def test_what_the_host_does_not_offer_is_not_run(refusing: Path) -> None:
    qemu = replace(QEMU, system=refusing)
    with pytest.raises(NoAccelerator) as caught:
        asyncio.run(choose_accelerator(qemu, JsonCache(None), unavailable=lambda _: "not here"))
    assert {result.verdict for result in caught.value.results} == {Verdict.UNAVAILABLE}
    assert runs(refusing) == 0


WORKING = ProbeResult(Accelerator.TCG, Verdict.WORKS, "runs guests", 0.1)
SILENT = ProbeResult(Accelerator.KVM, Verdict.SILENT, "no answer", 2.0)


def remembering(program: Path, cache_path: Path, entry: object) -> ProbeReport | None:
    """What `choose_accelerator` makes of a cache that holds `entry` for this very question."""

    class Fixed(JsonCache):
        def get(self, key: object) -> dict[str, object] | None:
            return entry if isinstance(entry, dict) else None

    qemu = replace(QEMU, system=program)
    try:
        return asyncio.run(
            choose_accelerator(qemu, Fixed(cache_path), unavailable=everything_there)
        )
    except NoAccelerator:
        return None


@posix_only
def test_a_remembered_answer_is_not_asked_again(refusing: Path, tmp_path: Path) -> None:
    entry = {"results": [WORKING.to_entry()], "time": time.time()}
    report = remembering(refusing, tmp_path / "c", entry)
    assert report is not None
    assert report.from_cache
    assert report.chosen is Accelerator.TCG
    assert runs(refusing) == 0


@posix_only
@pytest.mark.parametrize("age_s", [25 * 3600, -3600])
def test_silence_is_not_held_against_an_accelerator_for_ever(
    refusing: Path, tmp_path: Path, age_s: float
) -> None:
    results = [SILENT.to_entry(), WORKING.to_entry()]
    fresh = {"results": results, "time": time.time()}
    report = remembering(refusing, tmp_path / "c", fresh)
    assert report is not None
    assert report.results == (SILENT, WORKING)
    old = {"results": results, "time": time.time() - age_s}
    assert remembering(refusing, tmp_path / "c", old) is None
    assert runs(refusing) == 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=40)
@given(
    st.dictionaries(st.sampled_from(["accelerator", "verdict", "detail", "elapsed_s"]), json_values)
)
def test_any_other_entry_is_refused_in_a_way_that_is_expected(entry: dict[str, object]) -> None:
    try:
        result = ProbeResult.from_entry(json.loads(json.dumps(entry)))
    except (KeyError, TypeError, ValueError, OverflowError):
        return
    assert result.accelerator in Accelerator


def test_a_result_survives_being_written_down() -> None:
    for result in (WORKING, SILENT):
        assert ProbeResult.from_entry(json.loads(json.dumps(result.to_entry()))) == result


def test_nothing_chosen_when_nothing_works() -> None:
    assert ProbeReport((SILENT,)).chosen is None
    assert ProbeReport((SILENT, WORKING)).chosen is Accelerator.TCG
