"""An image that came with a release: files and a manifest, used as they are.

A release for Windows carries the image, since it cannot be built there. It is a directory named
by ISTHMUS_IMAGE, or the directory of an installed package `isthmus_image`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from vm.image import cache as caching
from vm.image import kernel_debian, kernel_tuned, system
from vm.image.errors import ReleaseInvalid
from vm.spec import BootImage, KernelOrigin

PACKAGE = "isthmus_image"


def find_release(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The directory of a release's image, if there is one."""
    named = environment.get("ISTHMUS_IMAGE")
    if named:
        return Path(named).absolute()
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent


def load_release(directory: Path, *, pvh: bool) -> BootImage:
    """The image in `directory`, every file equal to its manifest. Raises ReleaseInvalid.

    What was found right is remembered in the user's cache, not beside the files, which the user
    may not be allowed to write.
    """
    meta, wrong = caching.check_remembered(directory, caching.Cache())
    if wrong:
        raise ReleaseInvalid(directory, wrong)
    try:
        origin = KernelOrigin(meta["origin"])
        uname = meta["release"]
    except (KeyError, ValueError) as error:
        raise ReleaseInvalid(directory, f"its manifest has no usable {error}") from error
    if origin is KernelOrigin.TUNED:
        kernel = directory / (kernel_tuned.VMLINUX if pvh else kernel_tuned.BZIMAGE)
        initrd = None
    else:
        kernel, initrd = directory / kernel_debian.BZIMAGE, directory / kernel_debian.INITRD
    image = BootImage(kernel, initrd, directory / system.SYSTEM, uname, origin)
    for path in filter(None, (image.kernel, image.initrd, image.system)):
        if not path.is_file():
            raise ReleaseInvalid(directory, f"{path.name} is missing")
    return image


def export_release(image: BootImage, directory: Path) -> None:
    """Copy `image` to `directory` in the form `load_release` reads. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [image.kernel, image.system, *([image.initrd] if image.initrd else [])]
    if image.origin is KernelOrigin.TUNED:
        other = kernel_tuned.BZIMAGE if image.kernel.name == kernel_tuned.VMLINUX else "vmlinux"
        paths.append(image.kernel.with_name(other))
    for path in paths:
        shutil.copyfile(path, directory / path.name)
    meta = {"origin": image.origin.value, "release": image.release}
    caching.write_manifest(directory, meta)
