"""The probe on the QEMU and the accelerators of this very host."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from tests.integration.vm_guests import HALTING, finish, real_qemu, rom, saying
from vm.cache import JsonCache
from vm.probe import choose_accelerator, probe_accelerator
from vm.probe_firmware import expected_exit_code, firmware_image
from vm.probe_result import ProbeResult, Verdict
from vm.spec import MINIMUM_QEMU, Accelerator

pytestmark = pytest.mark.vm


def another_seed(seed: int) -> int:
    """One whose answer differs."""
    other = seed ^ 1
    while expected_exit_code(other) == expected_exit_code(seed):
        other += 2
    return other % 2**64


def test_the_installed_qemu_is_described() -> None:
    qemu = finish(real_qemu())
    assert qemu.version >= MINIMUM_QEMU
    assert Accelerator.TCG in qemu.accelerators
    assert qemu.system.is_absolute()


def test_software_emulation_runs_the_guest() -> None:
    async def scenario() -> ProbeResult:
        return await probe_accelerator(await real_qemu(), Accelerator.TCG)

    result = finish(scenario())
    assert result.verdict is Verdict.WORKS, result.detail


def test_only_the_right_answer_counts() -> None:
    async def scenario() -> ProbeResult:
        return await probe_accelerator(
            await real_qemu(),
            Accelerator.TCG,
            image=lambda seed: firmware_image(another_seed(seed)),
        )

    assert finish(scenario()).verdict is Verdict.BROKEN


def test_a_guest_that_hangs_is_ended_at_the_deadline() -> None:
    async def scenario() -> ProbeResult:
        return await probe_accelerator(
            await real_qemu(), Accelerator.TCG, image=lambda _: rom(HALTING), deadline_s=0.2
        )

    assert finish(scenario()).verdict is Verdict.SILENT


def test_an_accelerator_that_qemu_does_not_have_is_refused_with_its_words() -> None:
    async def scenario() -> ProbeResult:
        return await probe_accelerator(await real_qemu(), Accelerator.HVF)

    result = finish(scenario())
    assert result.verdict is Verdict.REFUSED
    assert "hvf" in result.detail


def test_a_cancelled_probe_leaves_no_qemu() -> None:
    async def scenario() -> None:
        qemu = await real_qemu()
        before = len(psutil.Process().children())
        task = asyncio.create_task(
            probe_accelerator(qemu, Accelerator.TCG, image=lambda _: rom(saying("x") + HALTING))
        )
        while len(psutil.Process().children()) == before:  # noqa: ASYNC110
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    finish(scenario())


def test_what_is_chosen_works_and_is_remembered(tmp_path: Path) -> None:
    async def scenario() -> None:
        qemu = await real_qemu()
        cache = JsonCache(tmp_path / "cache.json")
        first = await choose_accelerator(qemu, cache)
        assert not first.from_cache
        assert first.chosen is not None
        assert [result.works for result in first.results].index(True) == len(first.results) - 1
        again = await choose_accelerator(qemu, cache)
        assert again.from_cache
        assert (again.chosen, len(again.results)) == (first.chosen, len(first.results))
        assert (await probe_accelerator(qemu, first.chosen)).works
        # Another set of candidates is another question; a damaged file is no answer.
        only = await choose_accelerator(qemu, cache, candidates=[Accelerator.TCG])
        assert only.chosen is Accelerator.TCG
        assert not only.from_cache or first.chosen is Accelerator.TCG
        (tmp_path / "cache.json").write_bytes(b"{")
        assert not (await choose_accelerator(qemu, cache)).from_cache

    finish(scenario())
