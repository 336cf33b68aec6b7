"""The initial file system of a kernel whose drivers are modules: mounts the system image. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from vm.image.cpio import write_cpio
from vm.image.tree import Directory, File, Tree

INIT = """\
#!/bin/busybox sh
# Loads what is needed to read the system image, and hands over to it.
busybox mount -t devtmpfs -o nosuid,mode=0755 devtmpfs /dev
{load}
# The disk is there as soon as its driver has bound to it, which may be after insmod returns.
tries=200
while [ ! -b /dev/vda ]; do
    tries=$((tries - 1))
    if [ $tries = 0 ]; then
        echo "initramfs: there is no /dev/vda" > /dev/console
        busybox reboot -f
    fi
    busybox usleep 50000
done
if ! busybox mount -t erofs -o ro /dev/vda /root; then
    echo "initramfs: cannot mount the system image" > /dev/console
    busybox reboot -f
fi
busybox mount -o move /dev /root/dev
# "start=PROGRAM" on the kernel's command line comes here as a variable; "init=" does not.
exec busybox switch_root /root "${{start:-/sbin/init}}"
"""


def make_initramfs(busybox: bytes, modules: Sequence[tuple[str, bytes]]) -> bytes:
    """An uncompressed cpio archive; `modules` are (name, contents) in the order of loading.

    busybox: the static program. Uncompressed, since unpacking it costs more than reading it.
    """
    tree = Tree()
    tree.add("dev", Directory())
    tree.add("root", Directory())
    tree.nodes["bin"] = Directory()
    tree.nodes["bin/busybox"] = File(0o755, busybox)
    # The kernel asks for /sbin/modprobe while it starts; an absent one is refused cheaply.
    load = []
    for name, data in modules:
        tree.add(f"modules/{name}.ko", File(0o644, data))
        load.append(f"busybox insmod /modules/{name}.ko")
    tree.add("init", File(0o755, INIT.format(load="\n".join(load)).encode()))
    return write_cpio(tree)
