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


def kernel_file(directory: Path, pvh: bool) -> Path:
    """The form of the kernel in `directory` to boot: vmlinux if QEMU can and it is there."""
    vmlinux = directory / kernel_tuned.VMLINUX
    return vmlinux if pvh and vmlinux.is_file() else directory / kernel_tuned.BZIMAGE


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
    kernel = kernel_file(directory, pvh)
    initrd = directory / kernel_debian.INITRD if origin is KernelOrigin.DEBIAN else None
    image = BootImage(kernel, initrd, directory / system.SYSTEM, uname, origin)
    for path in filter(None, (image.kernel, image.initrd, image.system)):
        if not path.is_file():
            raise ReleaseInvalid(directory, f"{path.name} is missing")
    return image


def export_release(image: BootImage, directory: Path) -> None:
    """Copy `image` to `directory` in the form `load_release` reads. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    kernels = [
        image.kernel.with_name(name) for name in (kernel_tuned.VMLINUX, kernel_tuned.BZIMAGE)
    ]
    paths = [
        image.system,
        *filter(Path.is_file, kernels),
        *([image.initrd] if image.initrd else []),
    ]
    for path in paths:
        shutil.copyfile(path, directory / path.name)
    meta = {"origin": image.origin.value, "release": image.release}
    caching.write_manifest(directory, meta)
