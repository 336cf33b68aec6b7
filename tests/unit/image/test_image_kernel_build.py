"""Compiling, with a Makefile in the kernel's place: progress, the log, how a failure is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vm.image import kernel_tuned
from vm.image.errors import BuildFailed, ToolMissing
from vm.image.tools import run_tool

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kernels are built on Linux hosts")

MAKEFILE = """\
vmlinux bzImage modules:
\t@echo making $@ as $$KBUILD_BUILD_USER
"""


def test_every_line_is_kept_and_progress_comes_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    reports: list[tuple[int, int]] = []
    log = tmp_path / "build.log"
    kernel_tuned.compile_kernel(
        tmp_path, log, 1, lambda label, done, total: reports.append((done, total))
    )
    assert log.read_text().splitlines() == [
        f"making {target} as isthmus" for target in ("vmlinux", "bzImage", "modules")
    ]
    assert [done for done, _ in reports[:3]] == [1, 2, 3]
    assert reports[-1][0] == reports[-1][1]


def test_a_failure_is_told_with_the_last_lines(tmp_path: Path) -> None:
    lines = "".join(f"\t@echo line {number}\n" for number in range(50))
    (tmp_path / "Makefile").write_text(f"{MAKEFILE}{lines}\t@echo broken >&2; false\n")
    with pytest.raises(BuildFailed) as caught:
        kernel_tuned.compile_kernel(tmp_path, tmp_path / "build.log", 1)
    assert "broken" in caught.value.log_tail
    assert "line 49" in caught.value.log_tail
    assert "line 1" not in caught.value.log_tail
    assert "line 1\n" in (tmp_path / "build.log").read_text()


def test_modules_are_found_where_they_were_built(tmp_path: Path) -> None:
    (tmp_path / "modules.order").write_text("fs/xfs/xfs.o\nnet/wg.ko\n")
    (tmp_path / "fs/xfs").mkdir(parents=True)
    (tmp_path / "fs/xfs/xfs.ko").write_bytes(b"module")
    modules = kernel_tuned.built_modules(tmp_path)
    assert list(modules) == ["kernel/fs/xfs/xfs.ko", "kernel/net/wg.ko"]
    assert modules["kernel/fs/xfs/xfs.ko"]() == b"module"


def test_a_missing_tool_says_which_package_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolMissing):
        run_tool("a step", ["no-such-program"], timeout_s=10)
    monkeypatch.setattr("vm.image.tools.ENVIRONMENT", {"PATH": "/nonexistent"})
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ToolMissing) as caught:
        kernel_tuned.check_tools()
    assert caught.value.hint.startswith("apt-get install ")


def test_a_tool_that_does_not_end_is_ended() -> None:
    with pytest.raises(BuildFailed) as caught:
        run_tool("waiting", ["sleep", "600"], timeout_s=0.05)
    assert "no end after" in caught.value.log_tail[-1]
