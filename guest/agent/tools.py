"""What the programs of ours in a distribution need: facts to read, and links by which to be found.

The programs themselves lie in a directory of the system image that every distribution sees
(distributions._BINDS).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from guest.agent.beneath import link_beneath, open_beneath

PROGRAMS = "/run/isthmus"
"""Where a distribution sees the programs."""

LINKS = {
    "wslpath": "bin",
    "wslinfo": "bin",
    "wslvar": "bin",
    "wslview": "bin",
    "mount.drvfs": "sbin",
    # What mount(8) looks for when it is to remount a drive: it goes by the mount table's type.
    "mount.fuse.drvfs": "sbin",
}
"""Names that distributions find in their PATH, and whether in bin or sbin."""

_TARGETS = {
    "wslinfo": "wslpath",
    "mount.drvfs": "mount-drvfs",
    "mount.fuse.drvfs": "mount-drvfs",
}
"""Programs that are others under another name."""


_PLACES = {"bin": ("/usr/bin", "/bin"), "sbin": ("/sbin",)}
"""Directories for LINKS, best first: a tree may be without /usr."""


def facts_text(facts: Mapping[str, str]) -> str:
    """The content of the facts file, lines of name=value (docs/paths.md §5). Pure.

    What cannot stand in a line is left out, as a fact that is not known.
    """
    known = {name: value for name, value in facts.items() if value and "\n" not in value}
    return "".join(f"{name}={value}\n" for name, value in known.items())


def write_links(root: str) -> list[str]:
    """Make the links in the distribution whose tree is at `root`; returns warnings.

    A file of that name that is not ours stays: the distribution has its own, or its user does.
    """
    failed = []
    for name, place in LINKS.items():
        try:
            _write_link(root, name, place)
        except OSError as error:
            failed.append(f"{name} ({error.strerror})")
    return [f"no link could be made to {', '.join(failed)}"] if failed else []


def _write_link(root: str, name: str, place: str) -> None:
    if place == "sbin" and not os.path.lexists(f"{root}/sbin"):
        os.mkdir(f"{root}/sbin", 0o755)  # where mount(8) looks, and nowhere else
    for directory in _PLACES[place]:
        try:
            fd = open_beneath(root, directory, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            if directory == _PLACES[place][-1]:
                raise
            continue
        break
    try:
        present = _link_at(fd, name)
    finally:
        os.close(fd)
    target = f"{PROGRAMS}/{_TARGETS.get(name, name)}"
    if present is None or (present.startswith(f"{PROGRAMS}/") and present != target):
        link_beneath(root, f"{directory}/{name}", target)


def _link_at(directory: int, name: str) -> str | None:
    """Where the link `name` leads; "" where that is no link, None where nothing is."""
    try:
        return os.readlink(name, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError:
        return ""
