"""Stable names of what can go wrong, as the user's error line shows them. Plain data.

Names that start with WSL_E_ or ERROR_ are those wsl.exe prints for the same failure, so that
scripts made for it find what they look for.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from typing import Final

DISTRO_NOT_FOUND: Final = "WSL_E_DISTRO_NOT_FOUND"
NO_DEFAULT_DISTRO: Final = "WSL_E_DEFAULT_DISTRO_NOT_FOUND"
DISTRO_EXISTS: Final = "ERROR_ALREADY_EXISTS"
INVALID_NAME: Final = "E_INVALIDARG"
NOT_STOPPED: Final = "WSL_E_DISTRO_NOT_STOPPED"
BUSY: Final = "ERROR_BUSY"
USER_NOT_FOUND: Final = "WSL_E_USER_NOT_FOUND"
IMPORT_FAILED: Final = "WSL_E_IMPORT_FAILED"
NOT_A_DISTRO: Final = "WSL_E_NOT_A_LINUX_DISTRO"
EXPORT_FAILED: Final = "WSL_E_EXPORT_FAILED"
FILE_NOT_FOUND: Final = "ERROR_FILE_NOT_FOUND"
VM_CRASHED: Final = "WSL_E_VM_CRASHED"
VM_FAILED: Final = "ISTHMUS_E_VM"
AGENT_FAILED: Final = "ISTHMUS_E_AGENT"
EXEC_FAILED: Final = "ISTHMUS_E_EXEC"
EXEC_NOT_FOUND: Final = "ISTHMUS_E_EXEC_NOT_FOUND"
IMAGE_FAILED: Final = "ISTHMUS_E_IMAGE"
SERVICE_LOST: Final = "ISTHMUS_E_SERVICE"
VERSION_MISMATCH: Final = "ISTHMUS_E_VERSION"
PROTOCOL: Final = "ISTHMUS_E_PROTOCOL"
REGISTRY: Final = "ISTHMUS_E_REGISTRY"
DISK_FULL: Final = "ERROR_DISK_FULL"
TIMEOUT: Final = "ERROR_TIMEOUT"
INTERNAL: Final = "ISTHMUS_E_INTERNAL"
UNSUPPORTED: Final = "ERROR_NOT_SUPPORTED"
