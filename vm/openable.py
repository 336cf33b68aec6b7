"""Names of files as QEMU can open them.

QEMU for Windows opens files by their names in the code page of the system, though it takes them in
UTF-8, and knows no path of 260 characters or more. What it is given therefore is, where that
matters, the short (8.3) name that Windows keeps of each file beside the long one.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from vm.errors import NoPlainName
from vm.spec import BootImage, FirmwareImage, MachineSpec

if sys.platform == "win32":
    from vm.openable_windows import short_name
else:

    def short_name(path: str) -> str:
        """Only Windows has them."""
        return path


LONGEST = 248
"""Characters of a path that every call takes: MAX_PATH (260) less a file name of 8.3
(Win32 documentation, "Maximum Path Length Limitation")."""


def openable(path: Path) -> Path:
    """The existing file or directory `path` under a name that QEMU can open.

    Raises NoPlainName where Windows keeps no such name of it, OSError.
    """
    name = str(path)
    if sys.platform != "win32" or is_plain(name):
        return path
    short = short_name(name)
    if not is_plain(short):
        raise NoPlainName(path)
    return Path(short)


def is_plain(name: str) -> bool:
    """Whether QEMU for Windows can open a file of this name. Pure."""
    return name.isascii() and len(name) < LONGEST


def with_openable_files(spec: MachineSpec) -> MachineSpec:
    """`spec` with its files, which exist, as `openable` names them; raises as that does."""
    boot: BootImage | FirmwareImage
    if isinstance(spec.boot, BootImage):
        boot = replace(
            spec.boot,
            kernel=openable(spec.boot.kernel),
            initrd=openable(spec.boot.initrd) if spec.boot.initrd is not None else None,
            system=openable(spec.boot.system),
        )
    else:
        boot = FirmwareImage(openable(spec.boot.path))
    return replace(spec, boot=boot, serial_log=openable(spec.serial_log))
