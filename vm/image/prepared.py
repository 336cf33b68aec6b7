"""What is prepared already, found again without the modules that prepare it.

To find what can be booted is to work out what it would be made of: a tenth of a second of modules,
and every file of ours read. As long as none of them has changed the answer is that of the last
time; whether its files are sound is looked at each time (`vm.image.cache`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from vm.files import write_atomically
from vm.image.cache import Cache
from vm.spec import BootImage, KernelOrigin

MEMORY = "prepared.json"
_SOURCE_ROOT = Path(__file__).resolve().parents[2]
_SOURCES = ("guest", "wire", "vm/image")
"""Our code that an image is made of, and the code that makes it."""
_STATE = ("state.json", "resolutions")
"""Of the cache: what `vm.image.update` and `vm.image.resolution` remember."""


def find_prepared(cache: Cache | None = None) -> BootImage | None:
    """What can be booted at once; None where it would have to be fetched or built.

    Blocks. Raises ReleaseInvalid.
    """
    cache = cache or Cache()
    key = question_of(cache) if "ISTHMUS_IMAGE" not in os.environ else ""
    known = remembered(cache, key) if key else None
    if known is not None:
        return known
    from vm.image.prepare import find_prepared as find

    image = find(cache=cache)
    if image is not None and key:
        remember(cache, key, image)
    return image


def question_of(cache: Cache) -> str:
    """What changes with anything that the answer depends on; "" if that cannot be told."""
    places = [_SOURCE_ROOT / name for name in _SOURCES] + [cache.root / name for name in _STATE]
    total = hashlib.sha256()
    try:
        for path in places:
            for line in _stamps(path):
                total.update(line.encode("utf-8", "surrogateescape"))
    except OSError:
        return ""
    return total.hexdigest()


def _stamps(place: Path) -> Iterator[str]:
    """A line for each file in `place`, or for `place`. Raises OSError."""
    if not place.is_dir():
        yield _stamp(str(place), place.stat())
        return
    left = [str(place)]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__":
                        left.append(entry.path)
                else:
                    yield _stamp(entry.path, entry.stat())


def _stamp(path: str, status: os.stat_result) -> str:
    return f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ino}\n"


def remembered(cache: Cache, key: str) -> BootImage | None:
    """The answer of the last time, if it was to the same question and is still true."""
    try:
        fields = json.loads((cache.root / MEMORY).read_bytes())
        if fields["key"] != key:
            return None
        kernel, system = cache.named(fields["kernel"][0]), cache.named(fields["system"][0])
        if kernel is None or system is None:
            return None
        initrd = fields["initrd"]
        return BootImage(
            kernel=kernel.file(fields["kernel"][1]),
            initrd=kernel.file(initrd) if initrd else None,
            system=system.file(fields["system"][1]),
            release=str(fields["release"]),
            origin=KernelOrigin(fields["origin"]),
        )
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return None


def remember(cache: Cache, key: str, image: BootImage) -> None:
    """Keep the answer, unless it is not in the cache but a release's own image."""
    if not image.kernel.is_relative_to(cache.root):
        return
    fields = {
        "key": key,
        "kernel": (image.kernel.parent.name, image.kernel.name),
        "initrd": image.initrd.name if image.initrd else "",
        "system": (image.system.parent.name, image.system.name),
        "release": image.release,
        "origin": image.origin.value,
    }
    with contextlib.suppress(OSError):
        write_atomically(cache.root / MEMORY, json.dumps(fields).encode())
