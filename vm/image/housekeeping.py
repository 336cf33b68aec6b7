"""Keeping the cache from growing for ever: which entries and downloads may go."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from vm.image import resolution as resolutions
from vm.image.cache import Cache
from vm.image.update_state import UpdateState

KEPT_PER_KIND = 4
"""Entries of one kind that stay, most recently used first: today's, that of the other kernel, and
those of the update before."""
DOWNLOAD_KEPT_S = 7 * 24 * 3600
"""How long a download stays that no remembered image is made of."""


@dataclass(frozen=True)
class Use:
    """Something in the cache and when it was used last (seconds since the epoch)."""

    name: str
    used_at: float

    @property
    def kind(self) -> str:
        """The entry's name without its key."""
        return self.name.rpartition("-")[0]


def superfluous_entries(entries: Iterable[Use], spared: Collection[str]) -> list[str]:
    """Names of the entries to remove. Pure."""
    kept: dict[str, int] = {}
    superfluous = []
    for entry in sorted(entries, key=lambda entry: entry.used_at, reverse=True):
        kept[entry.kind] = kept.get(entry.kind, 0) + 1
        if kept[entry.kind] > KEPT_PER_KIND and entry.name not in spared:
            superfluous.append(entry.name)
    return superfluous


def superfluous_downloads(
    downloads: Iterable[Use], wanted: Collection[str], now: float
) -> list[str]:
    """Names of the downloads to remove; `wanted` are digests. Pure."""
    return [
        download.name
        for download in downloads
        if download.name.partition(".")[0] not in wanted
        and now - download.used_at > DOWNLOAD_KEPT_S
    ]


def tidy(cache: Cache, state: UpdateState, resolutions_name: str) -> None:
    """Remove what is superfluous. The caller holds the cache's lock; nothing here is an error."""
    remembered = [g for g in (state.good, state.candidate, state.previous) if g is not None]
    spared = {generation.tuned for generation in remembered}
    for name in superfluous_entries((Use(name, used_at) for name, used_at in cache.uses()), spared):
        cache.remove(name)
    wanted = set()
    for generation in remembered:
        found = resolutions.load(cache.root / resolutions_name, generation.resolution)
        if found is not None:
            # The kernel's source is three times as large as all the rest, and needed once.
            wanted |= {pinned.sha256 for pinned in (*found.system, found.kernel)}
    with contextlib.suppress(OSError):
        files = [Use(entry.name, entry.stat().st_mtime) for entry in os.scandir(cache.downloads)]
        for name in superfluous_downloads(files, wanted, time.time()):
            (cache.downloads / name).unlink(missing_ok=True)
