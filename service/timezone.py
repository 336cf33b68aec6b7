"""The host's time zone, by its name in the IANA database ("Europe/Berlin")."""

from __future__ import annotations

import logging
import re

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
"""What names in the database look like (its file "theory.html"): no dots, so no way out."""


def is_zone_name(name: str) -> bool:
    """Whether `name` may be one of the database's, and so part of a path. Pure."""
    return len(name) <= 100 and _NAME.fullmatch(name) is not None


def host_timezone() -> str:
    """The zone's name, "" if the host does not say. Reads files or, on Windows, the registry."""
    import tzlocal  # only once a distribution starts

    try:
        tzlocal.reload_localzone()  # the user may have travelled since the last call
        name = tzlocal.get_localzone_name() or ""
    except (LookupError, ValueError, OSError) as error:
        log.warning("the host's time zone is not known: %s", error)
        return ""
    if not is_zone_name(name):
        log.warning("the host's time zone has no usable name: %r", name)
        return ""
    return name
