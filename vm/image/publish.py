"""Making a release's image: the files that boot, and all that has to go with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from vm.image import kernel_tuned, resolution, update
from vm.image.archive import ArchiveClient
from vm.image.cache import Cache
from vm.image.deb import read_control, unpack_deb
from vm.image.errors import BuildUnsupported, ReleaseInvalid
from vm.image.index import parse_paragraph
from vm.image.notices import Shipped, copyright_file, shipped, source_offer, spdx_document
from vm.image.prepare import RESOLUTIONS
from vm.image.progress import Progress
from vm.image.release import export_release
from vm.image.resolution import Pinned
from vm.image.tree import File
from vm.spec import BootImage, KernelOrigin
from wire.version import VERSION

KERNEL_CONFIG = "kernel.config"
SBOM = "sbom.spdx.json"
SOURCES = "SOURCES.md"
LICENCES = "licences"
PATCHES = "patches"
KERNEL_SOURCE = "linux"
"""Debian's source package of every kernel package, of the same version."""
COMMON_LICENCES = Path("/usr/share/common-licenses")
"""The texts that Debian's copyright files refer to (Debian Policy, 12.5)."""


def publish(cache: Cache, image: BootImage, directory: Path, progress: Progress) -> None:
    """Fill `directory` with `image`, which this cache has built, as a release ships it.

    Packages that are no longer in the cache are fetched again. Raises ImageError, OSError.
    """
    if not COMMON_LICENCES.is_dir():
        raise BuildUnsupported(f"the licences' texts are missing, {COMMON_LICENCES}")
    generation = update.image_generation(cache, image)
    pinned = generation and resolution.load(cache.root / RESOLUTIONS, generation.resolution)
    if not pinned:
        raise ReleaseInvalid(image.system.parent, "only what was built here can be released")
    is_tuned = image.origin is KernelOrigin.TUNED
    source = _source_of(cache, image) if is_tuned else None
    # A tuned kernel is described by its source; of Debian's kernel the package is what is shipped.
    packages = pinned.system if is_tuned else (*pinned.system, pinned.kernel)
    client = ArchiveClient(cache.downloads)
    debs = client.packages([item.package for item in packages], progress, "packages from Debian")
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copytree(COMMON_LICENCES, directory / LICENCES / "common")
    _keep_licences(packages, debs, directory / LICENCES)
    listed = [_describe(item, debs[item.name]) for item in pinned.system]
    if not is_tuned:
        # Its control file names what was only signed; the source is that of the unsigned one.
        listed.append(shipped(pinned.kernel, {"source": KERNEL_SOURCE}))
    if is_tuned:
        shutil.copyfile(image.kernel.with_name(kernel_tuned.USED_CONFIG), directory / KERNEL_CONFIG)
        shutil.copytree(kernel_tuned.PATCHES, directory / PATCHES)
    else:
        config = f"boot/config-{image.release}"
        tree = unpack_deb(debs[pinned.kernel.name], pinned.kernel.name, lambda path: path == config)
        _write_file(tree.nodes.get(config), directory / KERNEL_CONFIG)
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    built_from = [shipped(source, {"source": KERNEL_SOURCE})] if source is not None else []
    document = spdx_document(f"isthmus-image-{VERSION}", created, [*listed, *built_from])
    (directory / SBOM).write_text(json.dumps(document, indent=1), encoding="utf-8")
    offer = source_offer(image.release, listed, source)
    (directory / SOURCES).write_text(offer, encoding="utf-8")
    export_release(image, directory)


def _describe(package: Pinned, deb: Path) -> Shipped:
    return shipped(package, parse_paragraph(read_control(deb, package.name)))


def _source_of(cache: Cache, image: BootImage) -> Pinned:
    """What a tuned kernel was built from. Raises ReleaseInvalid where that is not known."""
    entry = cache.named(image.kernel.parent.name)
    described = entry.meta.get("package", "") if entry is not None else ""
    source = resolution.find_source(cache.root / RESOLUTIONS, described)
    if source is None:
        reason = f"where the source of its kernel is, {described}, is not known; build it anew"
        raise ReleaseInvalid(image.kernel.parent, reason)
    return source


def _keep_licences(packages: Iterable[Pinned], debs: Mapping[str, Path], licences: Path) -> None:
    """Write the copyright file of each package. Raises ReleaseInvalid where one has none."""
    documents = {
        item.name: unpack_deb(
            debs[item.name], item.name, lambda path: path.startswith("usr/share/doc/")
        )
        for item in packages
    }
    for name in documents:
        text = copyright_file(name, documents)
        if text is None:
            raise ReleaseInvalid(licences, f"{name} has no copyright file")
        (licences / name).write_bytes(text)


def _write_file(node: object, path: Path) -> None:
    if isinstance(node, File):
        path.write_bytes(node.data)
