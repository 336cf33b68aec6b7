"""The tuned kernel's configuration."""

from __future__ import annotations

import re

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
