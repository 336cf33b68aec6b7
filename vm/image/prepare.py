"""From nothing to something that boots: `prepare`.

First a release's own image, if one is installed; else what the cache has; else what Debian has,
fetched, verified and built.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from vm.image import (
    housekeeping,
    kernel_debian,
    kernel_tuned,
    release,
    system,
    update_state,
)
from vm.image import resolution as resolutions
from vm.image.archive import ArchiveClient, suites
from vm.image.cache import Cache, Entry
from vm.image.progress import Progress, silent
from vm.image.resolution import Resolution
from vm.image.update import change_state, read_state
from vm.image.update_state import Generation
from vm.spec import BootImage, KernelOrigin

RESOLUTIONS = "resolutions"
BUSYBOX = "busybox-static"
PVH = os.name == "posix"
"""QEMU for Windows comes without pvh.bin."""


@dataclass(frozen=True)
class _Kernel:
    """A kernel in the cache, and what the system image takes from it."""

    entry: Entry
    origin: KernelOrigin

    @property
    def modules_tar(self) -> Path:
        return self.entry.file(kernel_debian.MODULES_TAR)

    @property
    def release(self) -> str:
        return self.entry.meta["release"]


def prepare(
    progress: Progress = silent, *, pvh: bool = PVH, cache: Cache | None = None
) -> BootImage:
    """What to boot: the tuned kernel if it has been built, else Debian's, with its system image.

    Returns at once when everything is there. pvh: whether QEMU can enter an uncompressed
    vmlinux (its firmware pvh.bin is installed); else the kernel is a bzImage.
    Raises ImageError: ArchiveError and its kinds, BuildFailed, BuildUnsupported, ToolMissing,
    CacheBusy, ReleaseInvalid.
    """
    cache = cache or Cache()
    image = find_prepared(pvh=pvh, cache=cache)
    if image is not None:
        return image
    system.check_host()
    with _building(cache, progress):
        generation, resolution = _selected(cache) or _resolve(cache, progress)
        # Another process may have done all of it while this one waited.
        image = _cached(cache, generation, resolution, pvh)
        if image is None:
            image = _build(cache, generation, resolution, pvh, progress)
            housekeeping.tidy(cache, read_state(cache), RESOLUTIONS)
        return image


def find_prepared(*, pvh: bool = PVH, cache: Cache | None = None) -> BootImage | None:
    """What `prepare` returns at once; None where it would have to fetch or build.

    Raises ReleaseInvalid.
    """
    installed = release.find_release()
    if installed is not None:
        return release.load_release(installed, pvh=pvh)
    cache = cache or Cache()
    selected = _selected(cache)
    return _cached(cache, *selected, pvh) if selected else None


def prepare_each(
    progress: Progress = silent, *, pvh: bool = PVH, cache: Cache | None = None
) -> list[BootImage]:
    """Everything there is to boot: Debian's kernel, then the tuned one if it has been built.

    For benchmarks and tests; a release's image is not looked at. Raises as `prepare` does.
    """
    cache = cache or Cache()
    system.check_host()
    images = []
    with _building(cache, progress):
        generation, resolution = _selected(cache) or _resolve(cache, progress)
        for wanted in dict.fromkeys((replace(generation, tuned=""), generation)):
            image = _cached(cache, wanted, resolution, pvh)
            images.append(image or _build(cache, wanted, resolution, pvh, progress))
    return list(dict.fromkeys(images))  # a tuned kernel that cannot be used gives Debian's again


def boot_image(kernel: Entry, origin: KernelOrigin, system_entry: Entry, pvh: bool) -> BootImage:
    """The files of two entries as a BootImage."""
    debian = origin is KernelOrigin.DEBIAN
    return BootImage(
        kernel=release.kernel_file(kernel.path, pvh),
        initrd=kernel.file(kernel_debian.INITRD) if debian else None,
        system=system_entry.file(system.SYSTEM),
        release=kernel.meta["release"],
        origin=origin,
    )


def _building(cache: Cache, progress: Progress) -> AbstractContextManager[None]:
    """Keep other processes from building the same things; says so if one does."""
    label = "waiting for another process that prepares the image"
    return cache.locked(on_wait=lambda: progress(label, 0, 0))


def _selected(cache: Cache) -> tuple[Generation, Resolution] | None:
    """What the remembered state says to boot, if that can still be made."""
    state = read_state(cache)
    for generation in (state.selected, state.good, state.previous):
        if generation is not None:
            resolution = resolutions.load(cache.root / RESOLUTIONS, generation.resolution)
            if resolution is not None:
                return generation, resolution
    return None


def _resolve(cache: Cache, progress: Progress) -> tuple[Generation, Resolution]:
    """Ask the archive what there is. The caller holds the cache's lock."""
    client = ArchiveClient(cache.downloads)
    resolution = resolutions.fetch_resolution(client, suites(), progress)
    resolutions.save(resolution, cache.root / RESOLUTIONS)
    state = read_state(cache)
    # A new version of Isthmus asks for other packages; the kernel that was built stays good.
    tuned = state.selected.tuned if state.selected else ""
    generation = Generation(resolution.id, tuned)
    change_state(cache, lambda state: update_state.propose(state, generation))
    return generation, resolution


def _kernel(cache: Cache, generation: Generation, resolution: Resolution) -> _Kernel | None:
    """The kernel to use, if it is in the cache."""
    if generation.tuned:
        entry = cache.named(generation.tuned)
        if entry is not None and kernel_tuned.is_current(entry):
            return _Kernel(entry, KernelOrigin.TUNED)
    entry = cache.find(kernel_debian.KIND, _debian_key(resolution))
    return _Kernel(entry, KernelOrigin.DEBIAN) if entry else None


def _debian_key(resolution: Resolution) -> str:
    return kernel_debian.key(resolution.kernel.sha256, resolution.named(BUSYBOX).sha256)


def _base_key(resolution: Resolution) -> str:
    return system.base_key({pinned.name: pinned.sha256 for pinned in resolution.system})


def _cached(
    cache: Cache, generation: Generation, resolution: Resolution, pvh: bool
) -> BootImage | None:
    """The image to boot, if every part of it is in the cache."""
    kernel = _kernel(cache, generation, resolution)
    if kernel is None:
        return None
    key = system.system_key(_base_key(resolution), system.own_files(), kernel.entry.name)
    entry = cache.find(system.KIND, key)
    return boot_image(kernel.entry, kernel.origin, entry, pvh) if entry else None


def _build(
    cache: Cache, generation: Generation, resolution: Resolution, pvh: bool, progress: Progress
) -> BootImage:
    """Make what is missing. The caller holds the cache's lock."""
    client = ArchiveClient(cache.downloads)
    debs: dict[str, Path] = {}
    base = cache.find(system.BASE_KIND, _base_key(resolution))
    kernel = _kernel(cache, generation, resolution)
    if base is None or kernel is None:
        # The kernel's initial file system needs busybox.
        system_packages = resolution.system if base is None else (resolution.named(BUSYBOX),)
        wanted = [pinned.package for pinned in system_packages]
        if kernel is None:
            wanted.append(resolution.kernel.package)
        debs = client.packages(wanted, progress, "packages from Debian")
    if kernel is None:
        progress("unpacking Debian's kernel", 0, 1)
        image = debs.pop(resolution.kernel.name)
        entry = kernel_debian.build(
            cache, _debian_key(resolution), image, str(resolution.kernel), debs[BUSYBOX]
        )
        kernel = _Kernel(entry, KernelOrigin.DEBIAN)
        progress("unpacking Debian's kernel", 1, 1)
    if base is None:
        base = system.build_base(cache, _base_key(resolution), debs, progress)
    return _build_system(cache, resolution, kernel, base, pvh, progress)


def _build_system(
    cache: Cache,
    resolution: Resolution,
    kernel: _Kernel,
    base: Entry,
    pvh: bool,
    progress: Progress,
) -> BootImage:
    own = system.own_files()
    inputs = system.SystemInputs(base, kernel.modules_tar, kernel.release, own)
    key = system.system_key(_base_key(resolution), own, kernel.entry.name)
    tuned = kernel.entry.name if kernel.origin is KernelOrigin.TUNED else ""
    meta: Mapping[str, str] = {"resolution": resolution.id, "tuned": tuned}
    entry = system.build_system(cache, key, inputs, meta, progress)
    return boot_image(kernel.entry, kernel.origin, entry, pvh)
