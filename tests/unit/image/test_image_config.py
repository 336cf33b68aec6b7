"""The tuned kernel's configuration."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from vm.image import kernel_tuned
from vm.image.errors import BuildFailed
from vm.image.kernel_tuned import CONFIG, missing_options

PROMISED = """
VIRTIO_BLK VIRTIO_CONSOLE VIRTIO_NET SCSI_VIRTIO VIRTIO_BALLOON PAGE_REPORTING VIRTIO_FS
VIRTIO_MMIO_CMDLINE_DEVICES X86_MPPARSE PVH EROFS_FS EXT4_FS EXT4_FS_SECURITY OVERLAY_FS FUSE_FS
BINFMT_MISC IA32_EMULATION TUN VETH BRIDGE BRIDGE_NETFILTER NF_TABLES INET_DIAG USER_NS
SECCOMP_FILTER BPF_SYSCALL CGROUP_BPF MEMCG CHECKPOINT_RESTORE IKCONFIG_PROC VMGENID VSOCKETS
"""


def test_options_that_kconfig_dropped_are_found() -> None:
    wanted = '# comment\nCONFIG_A=y\nCONFIG_B=m\nCONFIG_C=n\nCONFIG_D=n\nCONFIG_E="x"\n'
    used = 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=y\nCONFIG_E="x"\nCONFIG_AB=m\n'
    assert missing_options(wanted, used) == ["CONFIG_B=m", "CONFIG_C=n"]


def test_every_line_is_an_option_or_a_comment_and_none_is_given_twice() -> None:
    lines = [line for line in CONFIG.read_text().splitlines() if line and not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r'CONFIG_[A-Za-z0-9_]+=([ymn]|\d+|"[^"]*")', line), line
    names = [line.partition("=")[0] for line in lines]
    assert sorted(set(names)) == sorted(names)


def test_the_promises_are_kept() -> None:
    built_in = {line.removesuffix("=y") for line in CONFIG.read_text().splitlines()}
    # Without a module loader's help: the machine, its disks, and what every distribution uses.
    for name in PROMISED.split():
        assert f"CONFIG_{name}" in built_in


def test_every_patch_says_what_it_is_for_and_changes_the_kernels_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kernel_tuned.config_digest()
    assert kernel_tuned.patches() != []
    for path in kernel_tuned.patches():
        description, separator, _ = path.read_text().partition("\n---\n--- a/")
        assert description.startswith("Subject: ") and separator
        assert "SPDX-License-Identifier: GPL-2.0-only" in description
    (tmp_path / "0001-other.patch").write_text("other")
    monkeypatch.setattr(kernel_tuned, "PATCHES", tmp_path)
    assert kernel_tuned.config_digest() != before


@pytest.mark.skipif(sys.platform == "win32", reason="the kernel is built on Linux hosts only")
def test_a_patch_that_does_not_fit_fails_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file.c").write_text("one\ntwo\nthree\n")
    patch = "--- a/file.c\n+++ b/file.c\n@@ -1,3 +1,3 @@\n one\n-{}\n+2\n three\n"
    monkeypatch.setattr(kernel_tuned, "PATCHES", tmp_path)
    (tmp_path / "0001-fits.patch").write_text(patch.format("two"))
    kernel_tuned.apply_patches(source)
    assert (source / "file.c").read_text() == "one\n2\nthree\n"
    with pytest.raises(BuildFailed, match=r"0001-fits\.patch"):
        kernel_tuned.apply_patches(source)
