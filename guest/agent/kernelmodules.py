"""Modules of the kernel that runs: from a disk of the user's, and loaded by name.

They are shown in the place where modprobe looks, in the utility VM and in the distributions.
Functions that block belong on a worker thread.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from guest import initclient
from guest.agent import disks
from guest.agent.children import run
from guest.agent.errors import AgentError

MODULES = "/usr/lib/modules"
MOUNT_POINT = "/run/modules"


def add_modules(disk: str, names: Sequence[str]) -> None:
    """Mount the modules on `disk`, unless "", then load those of these `names`.

    Raises AgentError, after all that can be loaded is.
    """
    if disk:
        _mount(disk, os.uname().release)
    missing = []
    for name in names:
        try:
            run(["modprobe", name])
        except AgentError:
            missing.append(name)
    if missing:
        raise AgentError(f"the kernel has no module {', '.join(missing)}")


def _mount(disk: str, release: str) -> None:
    device = disks.wait_for_device(disk)
    os.makedirs(MOUNT_POINT, 0o755, exist_ok=True)
    run(["mount", "-o", "ro,nosuid,nodev", device, MOUNT_POINT])
    tree = find_tree(MOUNT_POINT, release)
    # The system's root is read-only, and has a place for its own kernel's modules only.
    run(["mount", "-t", "tmpfs", "-o", "mode=755", "modules", MODULES])
    os.mkdir(f"{MODULES}/{release}", 0o755)
    run(["mount", "--bind", tree, f"{MODULES}/{release}"])


def find_tree(root: str, release: str) -> str:
    """Where in a file system the modules of a kernel are. Raises AgentError.

    That is lib/modules/RELEASE of it, RELEASE, or all of it.
    """
    for directory in (f"lib/modules/{release}", f"usr/lib/modules/{release}", release, "."):
        tree = os.path.normpath(f"{root}/{directory}")
        if os.path.isfile(f"{tree}/modules.dep"):
            return tree
    raise AgentError(
        f"there are no modules of the kernel {release} in it",
        hint=f"lib/modules/{release}/modules.dep must be there (depmod makes it).",
    )


def binds_for(root: str) -> tuple[initclient.Bind, ...]:
    """What shows a distribution, whose root this is, the user's modules; () if there are none.

    The target has no symbolic link in it, as /lib is one in most distributions.
    """
    if not os.path.ismount(MODULES):
        return ()
    release = os.uname().release
    try:
        lib_is_link = stat.S_ISLNK(os.lstat(f"{root}/lib").st_mode)
    except OSError:
        lib_is_link = False
    target = MODULES if lib_is_link else "/lib/modules"
    source = f"{MODULES}/{release}"
    return (initclient.Bind(source, f"{target}/{release}", read_only=True),)
