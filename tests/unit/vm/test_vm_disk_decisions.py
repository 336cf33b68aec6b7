"""The disk operations' own decisions, with a shell script in qemu-img's place."""

from __future__ import annotations

import asyncio
import json
import shlex
import stat
import sys
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from tests.unit.vm.vm_samples import QEMU
from vm.disk import (
    MAXIMUM_DISK_BYTES,
    DiskFormat,
    check_disk,
    convert_disk,
    create_disk,
    disk_info,
    is_lock_failure,
    resize_disk,
)
from vm.errors import DiskError, DiskInUse, ToolTimeout
from vm.spec import Qemu

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")

T = TypeVar("T")
LOCKED = 'qemu-img: Could not open: Failed to get "write" lock\nIs another process using it?'


def tool(tmp_path: Path, *, stdout: str = "", stderr: str = "", then: str = "exit 0") -> Qemu:
    program = tmp_path / "qemu-img"
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > "$0.argv"\n'
        f"printf %s {shlex.quote(stdout)}\nprintf %s {shlex.quote(stderr)} >&2\n{then}\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return replace(QEMU, image_tool=program)


def asked(qemu: Qemu) -> list[str]:
    return Path(f"{qemu.image_tool}.argv").read_text(encoding="utf-8").splitlines()


def finish(operation: Awaitable[T]) -> T:
    async def waited() -> T:
        return await operation

    return asyncio.run(waited())


def test_a_new_disk_is_private_and_named_absolutely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    qemu = tool(tmp_path)
    finish(create_disk(qemu, Path("json:{}.qcow2"), 1 << 30))
    assert asked(qemu)[-2:] == [str(tmp_path / "json:{}.qcow2"), str(1 << 30)]
    assert stat.S_IMODE((tmp_path / "json:{}.qcow2").stat().st_mode) == 0o600


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "dangling")
    qemu = tool(tmp_path, stdout=json.dumps({"format": "raw"}))
    for target in (victim, link):
        with pytest.raises(DiskError, match="exists"):
            finish(create_disk(qemu, target, 1 << 30))
        with pytest.raises(DiskError, match="exists"):
            finish(convert_disk(qemu, tmp_path, DiskFormat.RAW, target, DiskFormat.QCOW2))
    assert victim.read_bytes() == b"precious"


def test_a_failure_leaves_nothing_behind_and_says_what_the_tool_said(tmp_path: Path) -> None:
    qemu = tool(tmp_path, stderr="qemu-img: no space left", then="exit 1")
    with pytest.raises(DiskError, match="no space left") as caught:
        finish(create_disk(qemu, tmp_path / "d", 1 << 30))
    assert caught.value.operation == "create"
    assert not (tmp_path / "d").exists()


def test_a_locked_image_is_told_from_other_failures(tmp_path: Path) -> None:
    qemu = tool(tmp_path, stderr=LOCKED, then="exit 1")
    with pytest.raises(DiskInUse):
        finish(resize_disk(qemu, tmp_path / "d", 1 << 30))
    assert is_lock_failure(LOCKED)
    assert not is_lock_failure("qemu-img: Could not open 'x': No such file or directory")


@pytest.mark.parametrize("size", [0, -1, (1 << 20) - 1, MAXIMUM_DISK_BYTES + 1])
def test_impossible_sizes_are_refused(tmp_path: Path, size: int) -> None:
    qemu = tool(tmp_path)
    for operation in (create_disk, resize_disk):
        with pytest.raises(ValueError, match="not possible"):
            finish(operation(qemu, tmp_path / "d", size))
    assert not (tmp_path / "d").exists()


def test_a_tool_that_hangs_is_ended_and_its_target_removed(tmp_path: Path) -> None:
    qemu = tool(
        tmp_path,
        stdout=json.dumps({"format": "raw"}),
        then='case "$1" in convert) exec sleep 600;; esac',
    )
    with pytest.raises(ToolTimeout):
        finish(
            convert_disk(
                qemu,
                tmp_path / "s",
                DiskFormat.RAW,
                tmp_path / "t",
                DiskFormat.VHDX,
                deadline_s=0.1,
            )
        )
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    "info",
    [
        {"format": "qcow2", "backing-filename": "/etc/shadow"},
        {"format": "qcow2", "format-specific": {"data": {"data-file": "/etc/shadow"}}},
    ],
)
def test_an_image_that_names_other_files_is_not_converted(
    tmp_path: Path, info: dict[str, object]
) -> None:
    qemu = tool(tmp_path, stdout=json.dumps(info))
    with pytest.raises(DiskError, match="other files"):
        finish(
            convert_disk(qemu, tmp_path / "s", DiskFormat.QCOW2, tmp_path / "t", DiskFormat.QCOW2)
        )
    assert not (tmp_path / "t").exists()
    assert asked(qemu)[0] == "info"


@pytest.mark.parametrize("output", ["", "[]", "null", "{", "{}", '{"format": "nbd"}'])
def test_an_unexpected_answer_is_an_error_and_not_a_crash(tmp_path: Path, output: str) -> None:
    with pytest.raises(DiskError, match="unexpected answer"):
        finish(disk_info(tool(tmp_path, stdout=output), tmp_path / "d", DiskFormat.QCOW2))


@pytest.mark.parametrize(
    ("exit_code", "answer", "leaks", "corruptions"),
    [(0, {}, 0, 0), (3, {"leaks": 7}, 7, 0), (2, {"corruptions": 1, "leaks": 2}, 2, 1)],
)
def test_a_check_reports_what_it_found(
    tmp_path: Path, exit_code: int, answer: dict[str, int], leaks: int, corruptions: int
) -> None:
    qemu = tool(tmp_path, stdout=json.dumps(answer), then=f"exit {exit_code}")
    report = finish(check_disk(qemu, tmp_path / "d"))
    assert (report.leaked_clusters, report.corruptions) == (leaks, corruptions)
    assert report.is_sound == (corruptions == 0)


def test_a_check_that_could_not_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="not supported"):
        finish(check_disk(tool(tmp_path, stderr="not supported", then="exit 63"), tmp_path / "d"))
