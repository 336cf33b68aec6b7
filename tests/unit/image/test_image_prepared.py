"""What is prepared is found again, until anything that it depends on has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vm.image.cache import Cache, Meta
from vm.image.prepared import MEMORY, question_of, remember, remembered
from vm.spec import BootImage, KernelOrigin


def _filled(*names: str) -> Callable[[Path], Meta]:
    def build(directory: Path) -> Meta:
        for name in names:
            (directory / name).write_text(name)
        return {}

    return build


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A cache with a kernel and a system image, and a state."""
    cache = Cache(tmp_path / "cache")
    cache.build("kernel", "k" * 20, _filled("vmlinux", "initrd.cpio"))
    cache.build("system", "s" * 20, _filled("system.erofs"))
    (cache.root / "state.json").write_text("{}")
    (cache.root / "resolutions").mkdir()
    return cache


def _image(cache: Cache) -> BootImage:
    kernel, system = cache.find("kernel", "k" * 20), cache.find("system", "s" * 20)
    assert kernel is not None
    assert system is not None
    return BootImage(
        kernel=kernel.file("vmlinux"),
        initrd=kernel.file("initrd.cpio"),
        system=system.file("system.erofs"),
        release="6.1",
        origin=KernelOrigin.DEBIAN,
    )


def test_the_answer_is_found_again(cache: Cache) -> None:
    image = _image(cache)
    remember(cache, question_of(cache), image)
    assert remembered(Cache(cache.root), question_of(cache)) == image


def test_it_is_no_answer_once_the_state_has_changed(cache: Cache) -> None:
    remember(cache, question_of(cache), _image(cache))
    (cache.root / "state.json").write_text('{"format": 1}')
    assert remembered(cache, question_of(cache)) is None


def test_a_new_resolution_is_another_question(cache: Cache) -> None:
    before = question_of(cache)
    (cache.root / "resolutions" / "one.json").write_text("{}")
    assert question_of(cache) != before


def test_a_damaged_image_is_no_answer(cache: Cache) -> None:
    image = _image(cache)
    remember(cache, question_of(cache), image)
    image.system.write_text("something else")
    assert remembered(cache, question_of(cache)) is None


def test_a_removed_kernel_is_no_answer(cache: Cache) -> None:
    image = _image(cache)
    remember(cache, question_of(cache), image)
    os.unlink(image.kernel)
    assert remembered(cache, question_of(cache)) is None


def test_what_a_release_brings_is_not_remembered(cache: Cache, tmp_path: Path) -> None:
    image = BootImage(tmp_path / "vmlinux", None, tmp_path / "s", "6.1", KernelOrigin.TUNED)
    remember(cache, question_of(cache), image)
    assert not (cache.root / MEMORY).exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"key": 1}', "\xff", '{"key": "q", "kernel": 3}']
)
def test_nonsense_is_no_answer(cache: Cache, text: str) -> None:
    (cache.root / MEMORY).write_text(text)
    assert remembered(cache, "q") is None


def test_without_a_state_nothing_is_asked(cache: Cache) -> None:
    (cache.root / "state.json").unlink()
    assert question_of(cache) == ""
