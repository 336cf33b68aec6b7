"""What goes into the system image, as data: packages, what is kept of them, kernel modules."""

from __future__ import annotations

import re
from fnmatch import translate

PYTHON = "python3.13"
"""Debian 13's interpreter: program, library directory and package name are all called so."""

PACKAGES = (
    "busybox-static",  # init, sh, ip, modprobe and every small tool
    "python3.13-minimal",  # the agent's interpreter
    "libpython3.13-stdlib",
    "mount",  # util-linux's, because distributions' fstab options need it
    "util-linux",
    "e2fsprogs",  # distribution disks are ext4
    "libarchive-tools",  # bsdtar: --import and --export
    "libc-bin",  # the C.UTF-8 locale: without it bsdtar cannot name what is not ASCII
)
"""What we ask for; dependencies come by themselves. A package enters with its first user
(openssh-server and nftables will)."""

LEAVE_OUT = frozenset(
    {
        # Dependencies of programs, or of maintainer scripts, that are not kept below.
        "debconf",
        "libpam-modules",
        "libpam-runtime",
        "libpam0g",
        "libaudit1",
        "liblastlog2-2",
        "libsystemd0",
        "libdb5.3t64",
        "libncursesw6",
        "libreadline8t64",
        "libsqlite3-0",
        "openssl-provider-legacy",
        "tzdata",
        "media-types",
        "netbase",
        "logsave",
    }
)
"""Packages that are in the closure and that nothing we keep needs. The check of every program's
libraries (`vm.image.system`) fails the build if that stops being true. gcc-14-base stays, of which
the image takes nothing: it holds the licence of libgcc-s1, which a release has to ship."""

KEPT = {
    "util-linux": (
        "usr/bin/nsenter",
        "usr/bin/unshare",
        "usr/bin/lsblk",
        "usr/bin/findmnt",
        "usr/bin/prlimit",
        "usr/sbin/blkid",
        "usr/sbin/fstrim",
        "usr/sbin/mkswap",
        "usr/sbin/swaplabel",
        "usr/sbin/wipefs",
    ),
    "mount": ("usr/bin/*", "usr/sbin/*"),
    "e2fsprogs": ("usr/sbin/*", "etc/mke2fs.conf"),
    "libarchive-tools": ("usr/bin/bsdtar",),
    "libc-bin": ("usr/lib/locale/C.utf8/*",),
    "busybox-static": ("usr/bin/busybox",),
}
"""Of these packages only these files (shell patterns; `*` crosses `/`); of others, all but
PRUNED."""

_STDLIB = f"usr/lib/{PYTHON}"

PRUNED = (
    "usr/share/*",
    "usr/lib/python3/*",
    "usr/lib/x86_64-linux-gnu/gconv/*",
    "usr/lib/x86_64-linux-gnu/perl*",
    "usr/lib/x86_64-linux-gnu/audit/*",
    "usr/lib/x86_64-linux-gnu/ossl-modules/*",
    "usr/lib/x86_64-linux-gnu/engines-3/*",
    "usr/lib/x86_64-linux-gnu/e2fsprogs/*",
    "usr/lib/udev/*",
    "usr/lib/systemd/*",
    "usr/lib/tmpfiles.d/*",
    "usr/lib/binfmt.d/*",
    "usr/lib/e2fsprogs/*",
    "etc/cron*",
    "etc/init.d/*",
    "etc/apt/*",
    "etc/ld.so.conf*",
    "etc/python*",
    f"{_STDLIB}/test/*",
    f"{_STDLIB}/idlelib/*",
    f"{_STDLIB}/tkinter/*",
    f"{_STDLIB}/turtledemo/*",
    f"{_STDLIB}/ensurepip/*",
    f"{_STDLIB}/lib2to3/*",
    f"{_STDLIB}/pydoc_data/*",
    f"{_STDLIB}/unittest/*",
    f"{_STDLIB}/xmlrpc/*",
    f"{_STDLIB}/wsgiref/*",
    f"{_STDLIB}/venv/*",
    f"{_STDLIB}/curses/*",
    f"{_STDLIB}/dbm/*",
    f"{_STDLIB}/sqlite3/*",
    f"{_STDLIB}/_pyrepl/*",
    f"{_STDLIB}/config-*",
    f"{_STDLIB}/doctest.py",
    f"{_STDLIB}/pydoc.py",
    f"{_STDLIB}/turtle.py",
    f"{_STDLIB}/antigravity.py",
    f"{_STDLIB}/lib-dynload/_curses*",
    f"{_STDLIB}/lib-dynload/_dbm*",
    f"{_STDLIB}/lib-dynload/_gdbm*",
    f"{_STDLIB}/lib-dynload/_sqlite3*",
    f"{_STDLIB}/lib-dynload/_test*",
    f"{_STDLIB}/lib-dynload/_ctypes_test*",
    f"{_STDLIB}/lib-dynload/readline*",
    f"{_STDLIB}/lib-dynload/xx*",
    "*/__pycache__/*",
)
"""Left out of every package."""

DIRECTORIES = {
    "dev": 0o755,
    "mnt": 0o755,
    "proc": 0o555,
    "root": 0o700,
    "run": 0o755,
    "sys": 0o555,
    "tmp": 0o1777,
    "var": 0o755,
}
"""Empty directories: mount points, and what programs expect to exist."""

LINKS = {
    "bin": "usr/bin",
    "sbin": "usr/sbin",
    "lib": "usr/lib",
    "lib64": "usr/lib64",
    "etc/mtab": "/proc/self/mounts",
    "usr/bin/python3": PYTHON,
    "var/run": "/run",
    "var/tmp": "/tmp",
}

NOT_BUSYBOX = frozenset(
    {
        "crond",
        "crontab",
        "dpkg",
        "dpkg-deb",
        "httpd",
        "linuxrc",
        "login",
        "passwd",
        "rpm",
        "rpm2cpio",
        "su",
        "sulogin",
        "telnetd",
    }
)
"""Applets of busybox that are not wanted under their own names. All others are links to it, where
no package brings a program of the name."""

BOOT_MODULES = (
    "virtio_net",
    "virtio_scsi",
    "sd_mod",
    "virtio_balloon",
    "virtio_rng",
    "binfmt_misc",
)
"""Loaded at boot where the kernel has them as modules: the machine's own devices."""

ROOT_MODULES = ("virtio_blk", "erofs")
"""Needed to mount the system image: in the initial file system of a modular kernel."""

MODULES = (
    # devices
    "kernel/drivers/block/loop*",
    "kernel/drivers/block/nbd*",
    "kernel/drivers/block/virtio_blk*",
    "kernel/drivers/block/zram/*",
    "kernel/drivers/char/hw_random/virtio-rng*",
    "kernel/drivers/md/*",
    "kernel/drivers/net/bonding/*",
    "kernel/drivers/net/dummy*",
    "kernel/drivers/net/geneve*",
    "kernel/drivers/net/ifb*",
    "kernel/drivers/net/ipvlan/*",
    "kernel/drivers/net/macvlan*",
    "kernel/drivers/net/macvtap*",
    "kernel/drivers/net/tap*",
    "kernel/drivers/net/tun*",
    "kernel/drivers/net/veth*",
    "kernel/drivers/net/virtio_net*",
    "kernel/drivers/net/vrf*",
    "kernel/drivers/net/vxlan/*",
    "kernel/drivers/net/wireguard/*",
    "kernel/drivers/scsi/scsi_mod*",
    "kernel/drivers/scsi/scsi_common*",
    "kernel/drivers/scsi/sd_mod*",
    "kernel/drivers/scsi/virtio_scsi*",
    "kernel/drivers/virtio/*",
    # file systems
    "kernel/fs/9p/*",
    "kernel/fs/autofs/*",
    "kernel/fs/binfmt_misc*",
    "kernel/fs/btrfs/*",
    "kernel/fs/erofs/*",
    "kernel/fs/exfat/*",
    "kernel/fs/fat/*",
    "kernel/fs/fuse/*",
    "kernel/fs/isofs/*",
    "kernel/fs/lockd/*",
    "kernel/fs/nfs/*",
    "kernel/fs/nfs_common/*",
    "kernel/fs/nls/*",
    "kernel/fs/ntfs3/*",
    "kernel/fs/overlayfs/*",
    "kernel/fs/quota/*",
    "kernel/fs/smb/*",
    "kernel/fs/squashfs/*",
    "kernel/fs/udf/*",
    "kernel/fs/xfs/*",
    # network
    "kernel/net/802/*",
    "kernel/net/8021q/*",
    "kernel/net/9p/*",
    "kernel/net/bridge/*",
    "kernel/net/ipv4/*",
    "kernel/net/ipv6/*",
    "kernel/net/key/*",
    "kernel/net/llc/*",
    "kernel/net/netfilter/*",
    "kernel/net/netlink/*",
    "kernel/net/packet/*",
    "kernel/net/sched/*",
    "kernel/net/sunrpc/*",
    "kernel/net/unix/*",
    "kernel/net/vmw_vsock/*",
    "kernel/net/xfrm/*",
)
"""Kernel modules that go into the image (paths in /lib/modules/<release>, shell patterns), with
all they depend on, wherever that is. What a user may want of a virtual machine; no hardware."""


def matcher(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One regular expression for shell patterns, in which `*` crosses `/`."""
    return re.compile("|".join(translate(pattern) for pattern in patterns))


_PRUNED = matcher(PRUNED)
_KEPT = {package: matcher(patterns) for package, patterns in KEPT.items()}


def wanted(package: str, path: str) -> bool:
    """Whether the image takes the file at `path` of `package`. Pure."""
    kept = _KEPT.get(package)
    if kept is not None:
        return kept.match(path) is not None
    return _PRUNED.match(path) is None
