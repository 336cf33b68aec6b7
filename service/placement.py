"""Places of a Windows host where a disk is at risk: copied while it changes, or far away. Pure."""

from __future__ import annotations

import ntpath
from collections.abc import Mapping

_ONEDRIVE = "onedrive"
_ONEDRIVE_VARIABLES = ("OneDrive", "OneDriveConsumer", "OneDriveCommercial")
"""Set by OneDrive to the directories that it copies."""
_ROAMING_VARIABLE = "APPDATA"
_DEVICE_PREFIXES = ("\\\\?\\", "\\\\.\\")
_LONG_UNC_PREFIX = "\\\\?\\UNC\\"
ADVICE = "Disks are safe in %LOCALAPPDATA%, or anywhere else on a drive of this computer."


def risk_of(path: str, environment: Mapping[str, str]) -> str:
    """What threatens a disk at the absolute Windows path `path`; "" where nothing is known to.

    `environment` is the user's.
    """
    if _is_far(path):
        return "it lies on another computer, and is lost to Linux as soon as that is out of reach"
    variables = {name.upper(): value for name, value in environment.items()}
    synchronised = [variables.get(name.upper(), "") for name in _ONEDRIVE_VARIABLES]
    named = any(
        part.lower() == _ONEDRIVE or part.lower().startswith(f"{_ONEDRIVE} - ")
        for part in path.replace("/", "\\").split("\\")
    )
    if named or any(_is_below(path, directory) for directory in synchronised):
        return "OneDrive copies it while it changes, and may take it off this computer"
    if _is_below(path, variables.get(_ROAMING_VARIABLE, "")):
        return "it belongs to a roaming profile, which is copied as a whole at each sign-in"
    return ""


def _is_far(path: str) -> bool:
    """Whether a path is of a share: \\\\server\\share, not of a local device."""
    path = path.replace("/", "\\")
    if path.upper().startswith(_LONG_UNC_PREFIX):
        return True
    return path.startswith("\\\\") and not path.startswith(_DEVICE_PREFIXES)


def _is_below(path: str, directory: str) -> bool:
    if not directory:
        return False
    path, directory = (ntpath.normcase(ntpath.normpath(it)) for it in (path, directory))
    return path == directory or path.startswith(directory.rstrip("\\") + "\\")
