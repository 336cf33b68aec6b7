"""Moving to a newer kernel and system image, and back when the new one does not start.

The decisions are in `vm.image.update_state`; here they are read, carried out and written down.
The file is replaced atomically, so a process killed at any point leaves the state before or after
a transition; a file that cannot be read counts as empty, which costs a new resolution at worst.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

from vm.files import write_atomically
from vm.image import resolution as resolutions
from vm.image import update_state
from vm.image.archive import ArchiveClient, suites
from vm.image.cache import Cache
from vm.image.progress import Progress, silent
from vm.image.update_state import Generation, UpdateState
from vm.spec import BootImage

STATE = "state.json"
STATE_LOCK = "state.lock"
FORMAT = 1


def _generation(content: object) -> Generation | None:
    if not isinstance(content, dict):
        return None
    resolution, tuned = content.get("resolution"), content.get("tuned", "")
    if not isinstance(resolution, str) or not isinstance(tuned, str) or not resolution:
        return None
    return Generation(resolution, tuned)


def read_state(cache: Cache) -> UpdateState:
    """What is remembered; the empty state when nothing is, or nothing that can be read."""
    try:
        content = json.loads((cache.root / STATE).read_bytes())
    except (OSError, ValueError):
        return UpdateState()
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return UpdateState()
    rejected = content.get("rejected")
    return UpdateState(
        good=_generation(content.get("good")),
        candidate=_generation(content.get("candidate")),
        previous=_generation(content.get("previous")),
        rejected=tuple(
            generation
            for item in (rejected if isinstance(rejected, list) else ())
            if (generation := _generation(item)) is not None
        ),
    )


def change_state(cache: Cache, transition: Callable[[UpdateState], UpdateState]) -> UpdateState:
    """Apply a pure transition to the remembered state. Raises CacheBusy."""
    with cache.locked(STATE_LOCK):
        before = read_state(cache)
        after = transition(before)
        if after != before:
            content = {"format": FORMAT, **asdict(after)}
            write_atomically(cache.root / STATE, json.dumps(content, indent=1).encode())
    return after


def image_generation(cache: Cache, image: BootImage) -> Generation | None:
    """What `image` was made from; None when it is not of this cache (a release's, say)."""
    entry = cache.named(image.system.parent.name)
    if entry is None or entry.path != image.system.parent:
        return None
    return _generation(dict(entry.meta))


def confirm_boot(image: BootImage, cache: Cache | None = None) -> None:
    """Tell that `image` has started and its agent has answered. Raises CacheBusy.

    Cheap when that was known already, so it may be called after every boot.
    """
    cache = cache or Cache()
    generation = image_generation(cache, image)
    if generation is None or read_state(cache).good == generation:
        return
    change_state(cache, lambda state: update_state.confirm(state, generation))


def boot_failed(image: BootImage, cache: Cache | None = None) -> bool:
    """Tell that `image` did not start, and go back to the one before it.

    Returns whether another image is selected now, so that preparing again and starting that one
    makes sense. The failed one is not tried again. Raises CacheBusy.
    """
    cache = cache or Cache()
    generation = image_generation(cache, image)
    if generation is None:
        return False
    after = change_state(cache, lambda state: update_state.reject(state, generation))
    return after.selected is not None and after.selected != generation


def update(
    progress: Progress = silent,
    cache: Cache | None = None,
    client: ArchiveClient | None = None,
) -> bool:
    """Ask the archive what is new and put it on trial; the next `prepare` fetches and builds it.

    The tuned kernel, if one is in use, stays until it is built again. Returns whether there is
    something new to try. Raises ArchiveError, CacheBusy.
    """
    cache = cache or Cache()
    client = client or ArchiveClient(cache.downloads)
    with cache.locked():  # two downloads of the same index would write the same file
        newest = resolutions.fetch_resolution(client, suites(), progress)
    resolutions.save(newest, cache.root / "resolutions")
    before = read_state(cache)
    tuned = before.selected.tuned if before.selected else ""
    generation = Generation(newest.id, tuned)
    after = change_state(cache, lambda state: update_state.propose(state, generation))
    return after.selected != before.selected
