"""Exit statuses and the paths of error lines hold together with the names of wire.failures."""

from __future__ import annotations

import pytest

from shell import errors, exitcodes
from shell.errorpath import context_of, error_path, operation_of
from shell.grammar import parse_posix
from shell.invocations import Invocation, RunCommand
from wire import failures

GUID = "{01234567-89ab-cdef-0123-456789abcdef}"
ALL_FAILURES = sorted(
    value for name, value in vars(failures).items() if name.isupper() and isinstance(value, str)
)


def invocation(line: str) -> Invocation:
    return parse_posix(line.split())


def test_the_table_says_what_the_constants_are() -> None:
    named = {name: value for value, name, _ in exitcodes.TABLE if name}
    constants = {
        name: str(value)
        for name, value in vars(exitcodes).items()
        if name.isupper() and type(value) is int
    }
    constants["SIGNAL_BASE"] += "+n"
    assert constants.pop("OK") == "0"
    assert constants == named


def test_our_own_statuses_are_distinct_from_deaths_by_signal() -> None:
    highest_signal = 64
    own = [exitcodes.SERVICE_LOST, exitcodes.MACHINE_LOST, exitcodes.USAGE, exitcodes.FAILED]
    assert len(set(own)) == len(own)
    assert min(own) > exitcodes.status_of_signal(highest_signal)
    assert exitcodes.status_of_signal(9) == 137


def test_failures_with_a_status_of_their_own() -> None:
    assert {code: exitcodes.status_of_failure(code) for code in ALL_FAILURES} == {
        **dict.fromkeys(ALL_FAILURES, 255),
        failures.EXEC_NOT_FOUND: 127,
        failures.EXEC_FAILED: 126,
        failures.VM_CRASHED: 252,
        failures.SERVICE_LOST: 253,
    }
    assert exitcodes.status_of_failure("never heard of") == 255


def test_statuses_of_exceptions() -> None:
    assert errors.UsageError("x").exit_status == 254
    assert errors.NotYetError("x").exit_status == 254
    assert errors.NothingListedError("x").exit_status == 255


@pytest.mark.parametrize(
    ("line", "code", "path"),
    [
        # asserted by WSL's own documentation of its errors
        ("-d X ls", failures.DISTRO_NOT_FOUND, "Wsl/Service/WSL_E_DISTRO_NOT_FOUND"),
        (
            f"{GUID} ls",
            failures.DISTRO_NOT_FOUND,
            "Wsl/Service/CreateInstance/ReadDistroConfig/WSL_E_DISTRO_NOT_FOUND",
        ),
        ("--install X", failures.DISTRO_NOT_FOUND, "Wsl/InstallDistro/WSL_E_DISTRO_NOT_FOUND"),
        ("--export X f", failures.EXPORT_FAILED, "Wsl/Service/WSL_E_EXPORT_FAILED"),
        (
            "--import X d f",
            failures.IMPORT_FAILED,
            "Wsl/Service/RegisterDistro/WSL_E_IMPORT_FAILED",
        ),
        ("ls", failures.NO_DEFAULT_DISTRO, ""),
        # the rest
        ("-u x ls", failures.USER_NOT_FOUND, "Wsl/WSL_E_USER_NOT_FOUND"),
        ("ls", failures.VM_FAILED, "Wsl/Service/CreateInstance/CreateVm/ISTHMUS_E_VM"),
        ("ls", failures.VM_CRASHED, "Wsl/Service/WSL_E_VM_CRASHED"),
        ("ls", failures.SERVICE_LOST, "Wsl/ISTHMUS_E_SERVICE"),
        ("--terminate X", failures.DISTRO_NOT_FOUND, "Wsl/Service/WSL_E_DISTRO_NOT_FOUND"),
        ("--unregister X", failures.DISTRO_NOT_FOUND, "Wsl/Service/WSL_E_DISTRO_NOT_FOUND"),
        ("--set-default X", failures.DISTRO_NOT_FOUND, "Wsl/Service/WSL_E_DISTRO_NOT_FOUND"),
        ("--manage X -m d", failures.DISTRO_NOT_FOUND, "Wsl/Service/WSL_E_DISTRO_NOT_FOUND"),
        (
            "--manage X -m d",
            failures.NOT_STOPPED,
            "Wsl/Service/MoveDistro/WSL_E_DISTRO_NOT_STOPPED",
        ),
        (
            "--install X",
            failures.DISTRO_EXISTS,
            "Wsl/InstallDistro/Service/RegisterDistro/ERROR_ALREADY_EXISTS",
        ),
        ("--update", failures.IMAGE_FAILED, "Wsl/UpdatePackage/CreateVm/ISTHMUS_E_IMAGE"),
        ("--status", failures.INTERNAL, "Wsl/Service/ISTHMUS_E_INTERNAL"),
    ],
)
def test_error_paths(line: str, code: str, path: str) -> None:
    assert error_path(context_of(invocation(line), code), code) == path


def test_paths_of_our_own_errors() -> None:
    assert error_path("", "E_INVALIDARG") == "Wsl/E_INVALIDARG"
    assert error_path("", "") == ""
    assert error_path("", errors.INVALID_USAGE) == ""


def test_operations() -> None:
    assert operation_of(RunCommand()) == "run"
    assert operation_of(RunCommand(distribution=GUID)) == "run-by-id"
    assert operation_of(invocation("--manage X -s 1")) == "manage-set-sparse"
