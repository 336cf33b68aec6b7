"""Where a failure happened, in wsl.exe's words: the path in its line "Error code: …". Pure.

Scripts look for whole lines such as `Error code: Wsl/Service/WSL_E_DISTRO_NOT_FOUND`. The
elements are those of `enum Context` in WSL's ExecutionContext.h, in the order of its bits.
"""

from __future__ import annotations

from shell.invocations import ManageCommand, RunCommand
from wire import failures

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from shell.invocations import Invocation

ROOT = "Wsl"
UNCODED = frozenset({"", failures.NO_DEFAULT_DISTRO, "WSL_E_INVALID_USAGE"})
"""Names that wsl.exe does not show: the message says it all."""

_SERVICE = "Service"
_BOOT = frozenset({failures.VM_FAILED, failures.AGENT_FAILED, failures.IMAGE_FAILED})
_REGISTERING = "InstallDistro/Service/RegisterDistro"

_BY_OPERATION: dict[str, str] = {
    "run": "Service/CreateInstance",
    "run-by-id": "Service/CreateInstance",
    "install": "InstallDistro",
    "import": "Service/RegisterDistro",
    "export": _SERVICE,
    "list": "EnumerateDistros/Service",
    "manage-move": "Service/MoveDistro",
    "manage-set-default-user": "Service/ConfigureDistro",
    "terminate": "Service/TerminateDistro",
    "unregister": "Service/UnregisterDistro",
    "set-default": "Service/SetDefaultDistro",
    "update": "UpdatePackage",
}
"""Operation to the path of its failures; _SERVICE for those not listed."""

_BY_CODE: dict[tuple[str, str], str] = {
    ("run", failures.USER_NOT_FOUND): "",
    ("run-by-id", failures.USER_NOT_FOUND): "",
    ("run", failures.VM_CRASHED): _SERVICE,
    ("run-by-id", failures.VM_CRASHED): _SERVICE,
    ("run-by-id", failures.DISTRO_NOT_FOUND): "Service/CreateInstance/ReadDistroConfig",
    ("run", failures.EXEC_FAILED): "Service/CreateInstance/CreateLxProcess",
    ("run", failures.EXEC_NOT_FOUND): "Service/CreateInstance/CreateLxProcess",
    ("run-by-id", failures.EXEC_FAILED): "Service/CreateInstance/CreateLxProcess",
    ("run-by-id", failures.EXEC_NOT_FOUND): "Service/CreateInstance/CreateLxProcess",
    ("import", failures.FILE_NOT_FOUND): "",
    ("install", failures.BAD_DIGEST): "InstallDistro/VerifyChecksum",
    ("install", failures.DISTRO_NOT_FOUND): "InstallDistro",
    ("install", failures.DISTRO_EXISTS): _REGISTERING,
    ("install", failures.INVALID_NAME): _REGISTERING,
    ("install", failures.IMPORT_FAILED): _REGISTERING,
    ("install", failures.NOT_A_DISTRO): _REGISTERING,
}
"""Operation and failure to a path of their own."""


def operation_of(invocation: Invocation) -> str:
    """The key of `invocation` in the tables above."""
    if isinstance(invocation, RunCommand) and invocation.distribution.startswith("{"):
        return "run-by-id"
    if isinstance(invocation, ManageCommand):
        return f"{invocation.OPERATION}-{invocation.action}"
    return invocation.OPERATION


def context_of(invocation: Invocation, code: str) -> str:
    """The path, below ROOT, of the failure `code` that the service answered `invocation` with."""
    operation = operation_of(invocation)
    if (operation, code) in _BY_CODE:
        return _BY_CODE[operation, code]
    if code == failures.DISTRO_NOT_FOUND:
        return _SERVICE  # wsl.exe looks names up before it begins the operation
    if code == failures.SERVICE_LOST:
        return ""
    path = _BY_OPERATION.get(operation, _SERVICE)
    return path + "/CreateVm" if code in _BOOT else path


def error_path(context: str, code: str) -> str:
    """What follows "Error code: " for `code` in `context`; "" if no such line is shown."""
    if code in UNCODED:
        return ""
    return "/".join(part for part in (ROOT, context, code) if part)
