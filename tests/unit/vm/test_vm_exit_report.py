from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.vm.vm_samples import ASKED, KILLED, REPORT
from vm.errors import (
    DiskInUse,
    LaunchFailure,
    MachineDied,
    QemuNotFound,
    VmError,
    describe_exit_code,
)
from vm.exit_report import PROCESSOR_FAILURE, find_panic, last_lines
from vm.launch_hints import launch_hint

PANIC = """[    1.1] something before
[    1.2] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100
[    1.3] CPU: 0 PID: 1
[    1.4]  </TASK>
"""


@pytest.mark.parametrize(
    ("report", "cause"),
    [
        (REPORT, "the guest restarted itself"),
        (KILLED, "QEMU was ended by signal 9"),
        (replace(REPORT, exit_code=1, reason=None), "QEMU ended with status 1"),
        (replace(REPORT, reason=None), "without giving a reason"),
        (replace(REPORT, reason="something-new"), "something-new"),
        (replace(REPORT, reason=PROCESSOR_FAILURE), "the accelerator could not go on"),
        (replace(REPORT, serial_tail=PANIC), "panicked: Attempted to kill init!"),
    ],
)
def test_the_cause_is_said(report: object, cause: str) -> None:
    assert cause in report.cause  # type: ignore[attr-defined]


def test_the_last_words_of_both_are_in_the_summary() -> None:
    report = replace(KILLED, stderr_tail="qemu: oh\n", serial_tail="a\n" * 50 + "guest: no\n")
    assert "qemu: oh" in report.summary
    assert "guest: no" in report.summary
    assert report.summary.count("  a\n") < 20


def test_a_panic_is_shown_with_what_led_to_it_and_not_what_followed() -> None:
    summary = replace(REPORT, serial_tail=PANIC).summary
    assert "something before" in summary
    assert "</TASK>" not in summary


def test_an_end_that_was_asked_for_is_no_alarm() -> None:
    assert "unexpectedly" not in ASKED.summary
    assert ASKED.hint == ""


def test_signals_are_told_from_statuses() -> None:
    assert KILLED.signal == 9
    assert REPORT.signal is None
    assert "memory" in KILLED.hint
    assert describe_exit_code(3) == "ended with status 3"


def test_who_was_killed_is_not_to_blame() -> None:
    """A kernel on trial must not be given up because its QEMU was killed while it booted."""
    assert KILLED.was_killed
    assert replace(REPORT, reason="host-signal").was_killed
    assert not REPORT.was_killed
    assert not replace(REPORT, exit_code=-11, reason=None).was_killed


def test_find_panic() -> None:
    assert find_panic("all is well") is None
    assert find_panic(PANIC) == "Attempted to kill init! exitcode=0x00000100"


def test_last_lines() -> None:
    assert last_lines("a\nb\nc\n\n", 2) == "  b\n  c"


def test_every_error_has_message_and_hint_apart() -> None:
    error = QemuNotFound("qemu-img", ["/a"])
    assert isinstance(error, VmError)
    assert str(error) == f"{error.message} ({error.hint})"
    died = MachineDied(KILLED)
    assert died.report is KILLED
    assert died.hint == KILLED.hint


def test_a_launch_failure_says_what_qemu_said() -> None:
    error = LaunchFailure(["qemu", "-x"], 1, "qemu: -x: invalid option\n", "console")
    assert "status 1" in error.message
    assert "invalid option" in error.message
    assert (error.argv, error.exit_code, error.serial_tail) == (("qemu", "-x"), 1, "console")
    assert "did not answer" in LaunchFailure(["qemu"], None, "").message


@pytest.mark.parametrize(
    ("stderr", "part"),
    [
        ("Could not access KVM kernel module: Permission denied", "group kvm"),
        ("cannot set up guest memory 'pc.ram': Cannot allocate memory", "memory"),
        ('Failed to get "write" lock\nIs another process using the image', "another"),
        ("qemu: could not load kernel '/x': No such file or directory", "kernel"),
        ("something else entirely", ""),
    ],
)
def test_known_words_become_hints(stderr: str, part: str) -> None:
    hint = launch_hint(stderr)
    assert (part in hint) if part else hint == ""


def test_a_locked_disk_says_who_may_have_it() -> None:
    from pathlib import Path

    assert "another" in DiskInUse("attach", Path("/d"), "lock").hint
