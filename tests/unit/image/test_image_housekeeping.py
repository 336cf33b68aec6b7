"""What leaves the cache, and what stays."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vm.image import housekeeping
from vm.image.cache import Cache
from vm.image.housekeeping import (
    DOWNLOAD_KEPT_S,
    KEPT_PER_KIND,
    Use,
    superfluous_downloads,
    superfluous_entries,
    tidy,
)
from vm.image.update_state import Generation, UpdateState

KINDS = ["system", "base", "kernel-tuned"]

uses = st.builds(
    Use,
    st.builds("{}-{}".format, st.sampled_from(KINDS), st.integers(0, 9)),
    st.floats(0, 1e9),
)


@given(st.lists(uses, unique_by=lambda use: use.name), st.sets(st.sampled_from(["base-1"])))
def test_the_most_recently_used_of_each_kind_stay(entries: list[Use], spared: set[str]) -> None:
    removed = superfluous_entries(entries, spared)
    assert not spared & set(removed)
    for kind in KINDS:
        mine = [entry for entry in entries if entry.kind == kind]
        stay = [entry for entry in mine if entry.name not in removed]
        assert len(stay) >= min(len(mine), KEPT_PER_KIND)
        gone = [entry.used_at for entry in mine if entry.name in removed]
        newest = sorted((entry.used_at for entry in mine), reverse=True)[:KEPT_PER_KIND]
        assert all(used_at <= min(newest) for used_at in gone)


def test_downloads_stay_while_they_are_wanted_or_young() -> None:
    now = 100.0 * DOWNLOAD_KEPT_S
    old, young = now - 2 * DOWNLOAD_KEPT_S, now - DOWNLOAD_KEPT_S / 2
    downloads = [
        Use("a", old),
        Use("b", old),
        Use("c", young),
        Use("b.part", old),
        Use("d.part", old),
    ]
    assert superfluous_downloads(downloads, {"b"}, now) == ["a", "d.part"]


def test_tidying_removes_files_and_entries(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")

    def builder(directory: Path) -> dict[str, str]:
        (directory / "file").write_bytes(b"x")
        return {}

    built = []
    for number in range(KEPT_PER_KIND + 2):
        entry = cache.build("system", str(number) * 64, builder)
        os.utime(entry.path, (number, number))
        built.append(entry)
    tuned = cache.build("kernel-tuned", "t" * 64, builder)
    cache.downloads.mkdir()
    (cache.downloads / "old").write_bytes(b"x")
    os.utime(cache.downloads / "old", (1, 1))
    state = UpdateState(good=Generation("unknown", tuned.name))
    tidy(cache, state, "resolutions")
    assert {entry.name for entry in cache.entries()} == {
        tuned.name,
        *(entry.name for entry in built[2:]),
    }
    assert list(cache.downloads.iterdir()) == []
    assert list((cache.root / "work").iterdir()) == []


def test_an_entry_that_is_found_counts_as_used(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    entry = cache.build("system", "k" * 64, lambda directory: {})
    os.utime(entry.path, (1, 1))
    cache.find("system", "k" * 64)
    assert dict(cache.uses())[entry.name] > 1
    assert housekeeping.KEPT_PER_KIND >= 2  # an update and what it falls back to
