"""Updates on trial, confirmed, and rolled back."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.image.fake_archive import FakeArchive
from vm.image import kernel_debian, packages, resolution, update
from vm.image.archive import ArchiveClient
from vm.image.cache import Cache
from vm.image.errors import SignatureInvalid
from vm.image.update_state import (
    REJECTED_KEPT,
    Generation,
    UpdateState,
    confirm,
    propose,
    reject,
)
from vm.spec import BootImage, KernelOrigin

OLD, NEW, NEWER = Generation("old"), Generation("new"), Generation("newer")
TUNED = Generation("old", "kernel-tuned-1")


def test_a_first_image_becomes_good_once_it_has_booted() -> None:
    state = propose(UpdateState(), OLD)
    assert (state.selected, state.good) == (OLD, None)
    assert confirm(state, OLD) == UpdateState(good=OLD)


def test_a_candidate_is_booted_and_then_good_and_the_old_one_kept() -> None:
    state = propose(UpdateState(good=OLD), NEW)
    assert state.selected == NEW
    assert confirm(state, NEW) == UpdateState(good=NEW, previous=OLD)


def test_a_candidate_that_fails_is_never_tried_again() -> None:
    state = reject(propose(UpdateState(good=OLD), NEW), NEW)
    assert state == UpdateState(good=OLD, rejected=(NEW,))
    assert propose(state, NEW) == state
    assert propose(state, NEWER).selected == NEWER


def test_a_good_image_that_fails_falls_to_its_predecessor() -> None:
    state = UpdateState(good=NEW, previous=OLD)
    assert reject(state, NEW) == UpdateState(good=OLD, rejected=(NEW,))


def test_with_nothing_to_go_back_to_nothing_changes() -> None:
    first = propose(UpdateState(), OLD)
    assert reject(first, OLD) == first
    assert reject(UpdateState(good=OLD), OLD) == UpdateState(good=OLD)


def test_a_tuned_kernel_that_was_the_first_falls_to_debians() -> None:
    state = reject(propose(UpdateState(), TUNED), TUNED)
    assert state == UpdateState(candidate=Generation("old"), rejected=(TUNED,))


def test_the_good_image_proposed_again_ends_a_trial() -> None:
    assert propose(UpdateState(good=OLD, candidate=NEW), OLD) == UpdateState(good=OLD)


def test_a_machine_still_running_an_older_image_decides_nothing() -> None:
    state = UpdateState(good=NEW, candidate=NEWER, previous=OLD)
    assert confirm(state, OLD) == state
    assert confirm(state, NEW) == state
    assert reject(state, OLD) == state
    assert reject(state, NEW) == state  # the one on trial will be tried first


def test_failures_are_not_remembered_for_ever() -> None:
    state = UpdateState(good=OLD)
    for number in range(REJECTED_KEPT + 5):
        generation = Generation(f"g{number}")
        state = reject(propose(state, generation), generation)
    assert len(state.rejected) == REJECTED_KEPT
    assert Generation("g0") not in state.rejected


generations = st.sampled_from([OLD, NEW, NEWER, TUNED])
transitions = st.tuples(st.sampled_from([propose, confirm, reject]), generations)


@given(st.lists(transitions, max_size=12))
def test_whatever_happens_there_is_something_to_boot(
    events: list[tuple[Callable[[UpdateState, Generation], UpdateState], Generation]],
) -> None:
    state = propose(UpdateState(), OLD)
    for transition, generation in events:
        before = state
        state = transition(state, generation)
        assert state.selected is not None
        assert state.candidate not in state.rejected
        if before.good is not None:
            assert state.good is not None
        if transition is reject and state.selected != before.selected:
            assert generation in state.rejected


# --- the file ---------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def image_of(cache: Cache, generation: Generation) -> BootImage:
    """An image in the cache that was made from `generation`."""
    name = f"{generation.resolution}{generation.tuned}".ljust(64, "x")

    def builder(directory: Path) -> dict[str, str]:
        (directory / "system.erofs").write_bytes(b"system")
        return {"resolution": generation.resolution, "tuned": generation.tuned, "release": "6"}

    entry = cache.find("system", name) or cache.build("system", name, builder)
    system = entry.file("system.erofs")
    return BootImage(system, None, system, "6", KernelOrigin.DEBIAN)


def _propose(generation: Generation, state: UpdateState) -> UpdateState:
    return propose(state, generation)


def on_trial(cache: Cache, *generations: Generation) -> None:
    """Confirm all but the last of `generations`, and propose that one."""
    for number, generation in enumerate(generations):
        update.change_state(cache, partial(_propose, generation))
        if number < len(generations) - 1:
            update.confirm_boot(image_of(cache, generation), cache)


def test_a_confirmed_boot_is_remembered(cache: Cache) -> None:
    on_trial(cache, OLD, NEW)
    update.confirm_boot(image_of(cache, NEW), cache)
    expected = UpdateState(good=NEW, previous=OLD)
    assert update.read_state(Cache(cache.root)) == expected
    written = (cache.root / update.STATE).stat().st_mtime_ns
    update.confirm_boot(image_of(cache, NEW), cache)  # after every boot: writes nothing
    assert (cache.root / update.STATE).stat().st_mtime_ns == written


def test_a_failed_boot_goes_back_and_says_so(cache: Cache) -> None:
    on_trial(cache, OLD, NEW)
    assert update.boot_failed(image_of(cache, NEW), cache) is True
    assert update.read_state(cache) == UpdateState(good=OLD, rejected=(NEW,))
    assert update.boot_failed(image_of(cache, OLD), cache) is False


def test_an_image_of_another_cache_changes_nothing(cache: Cache, tmp_path: Path) -> None:
    on_trial(cache, OLD, NEW)
    before = update.read_state(cache)
    foreign = image_of(Cache(tmp_path / "other"), NEW)
    update.confirm_boot(foreign, cache)
    assert update.boot_failed(foreign, cache) is False
    assert update.read_state(cache) == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[1]",
        b'{"format": 99}',
        b'{"format": 1, "good": 7, "candidate": {"resolution": 3}, "rejected": "x"}',
        b'{"format": 1, "rejected": [1, {}, {"resolution": ""}]}',
    ],
)
def test_a_state_that_cannot_be_read_counts_as_empty(cache: Cache, content: bytes) -> None:
    on_trial(cache, OLD, NEW)
    (cache.root / update.STATE).write_bytes(content)
    assert update.read_state(cache) == UpdateState()
    on_trial(cache, OLD, NEW)
    assert update.read_state(cache) == UpdateState(good=OLD, candidate=NEW)


def test_what_of_a_state_can_be_read_is_used(cache: Cache) -> None:
    content = {"format": 1, "good": {"resolution": "old"}, "candidate": "?", "rejected": [None]}
    cache.root.mkdir()
    (cache.root / update.STATE).write_text(json.dumps(content))
    assert update.read_state(cache) == UpdateState(good=OLD)


class Killed(BaseException):
    """Stands for the end of the process, which no `except Exception` sees."""


@pytest.mark.parametrize("step", ["fsync", "replace", "mkstemp"])
def test_a_kill_at_any_step_leaves_the_state_before_or_after(
    cache: Cache, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_trial(cache, OLD, NEW)
    image = image_of(cache, NEW)
    before = update.read_state(cache)
    module = tempfile if step == "mkstemp" else os

    def die(*arguments: object, **more: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module, step, die)
        update.boot_failed(image, cache)
    assert update.read_state(cache) == before
    assert update.boot_failed(image, cache) is True  # the lock is free, and the work can be done
    assert update.read_state(cache) == UpdateState(good=OLD, rejected=(NEW,))


# --- asking the archive ------------------------------------------------------------------------


def publish(archive: FakeArchive, kernel: str) -> None:
    """An archive with everything the image asks for, and the kernel of version `kernel`."""
    archive.paragraphs.clear()
    archive.mirror.files.clear()
    image = f"linux-image-{kernel}-cloud-amd64"
    for name in (*packages.PACKAGES, resolution.SOURCE_PACKAGE):
        archive.add(name, name.encode())
    archive.add(image, b"kernel", kernel)
    archive.add(kernel_debian.META_PACKAGE, b"", kernel, Depends=f"{image} (= {kernel})")
    archive.publish()


def test_a_newer_kernel_is_put_on_trial_once(
    cache: Cache, archive: FakeArchive, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_DEBIAN_MIRROR", archive.mirror.address)
    client = ArchiveClient(cache.downloads, keyring=archive.key.keyring, now=now)

    def run() -> bool:
        return update.update(cache=cache, client=client)

    publish(archive, "6.12.1")
    assert run() is True
    first = update.read_state(cache).candidate
    assert first is not None
    assert run() is False  # the same, still on trial
    update.confirm_boot(image_of(cache, first), cache)
    assert run() is False

    publish(archive, "6.12.2")
    assert run() is True
    second = update.read_state(cache).candidate
    assert second is not None and second != first
    found = resolution.load(cache.root / "resolutions", second.resolution)
    assert found is not None
    assert found.kernel.name == "linux-image-6.12.2-cloud-amd64"
    assert update.boot_failed(image_of(cache, second), cache) is True
    assert run() is False  # it has failed, and is not tried again
    assert update.read_state(cache).selected == first

    publish(archive, "6.12.3")
    assert run() is True


def test_an_update_that_cannot_be_fetched_changes_nothing(
    cache: Cache, archive: FakeArchive, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_DEBIAN_MIRROR", archive.mirror.address)
    client = ArchiveClient(cache.downloads, keyring=archive.key.keyring, now=now)
    on_trial(cache, OLD, NEW)
    before = update.read_state(cache)
    publish(archive, "6.12.1")
    release = archive.mirror.files["dists/trixie/InRelease"]
    archive.mirror.files["dists/trixie/InRelease"] = release.replace(b"stable", b"sta8le")
    with pytest.raises(SignatureInvalid):
        update.update(cache=cache, client=client)
    assert update.read_state(cache) == before
