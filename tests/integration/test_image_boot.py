"""The image, booted: both kernels, each on every machine type that it is for."""

from __future__ import annotations

import base64
import os
import re
import time
from collections.abc import Iterator

import pytest

from tests.integration.image_console import AGENT_PORT, SHELL, Console, booted, processors
from vm.image.prepare import prepare_each
from vm.spec import BootImage, KernelOrigin, MachineType

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

CASES = [
    (KernelOrigin.DEBIAN, MachineType.Q35, True),
    (KernelOrigin.TUNED, MachineType.MICROVM, True),
    (KernelOrigin.TUNED, MachineType.Q35, True),
    (KernelOrigin.TUNED, MachineType.Q35, False),
]
IDS = ["debian-q35", "tuned-microvm", "tuned-q35-vmlinux", "tuned-q35-bzImage"]


def find_image(origin: KernelOrigin, pvh: bool) -> BootImage:
    for image in prepare_each(pvh=pvh):
        if image.origin is origin:
            return image
    reason = "the tuned kernel has not been built: python -m vm.image kernel"
    if os.environ.get("REQUIRE_TUNED"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module", params=CASES, ids=IDS)
def case(request: pytest.FixtureRequest) -> tuple[BootImage, MachineType]:
    origin, machine, pvh = request.param
    return find_image(origin, pvh), machine


@pytest.fixture(scope="module")
def shell(case: tuple[BootImage, MachineType]) -> Iterator[Console]:
    """A shell in a machine that has gone through the boot script, with no agent."""
    image, machine = case
    with booted(image, machine, *SHELL) as console:
        console.wait_for(r"^~ # |^/ # |^# ")
        console.run("/etc/init.d/early && /etc/init.d/boot")
        yield console


def test_the_kernel_is_the_one_that_was_asked_for(
    case: tuple[BootImage, MachineType], shell: Console
) -> None:
    assert case[0].release in shell.run("uname -r")


def test_every_device_of_the_machine_is_there(
    case: tuple[BootImage, MachineType], shell: Console
) -> None:
    shell.run("[ -b /dev/vda ] && [ -c /dev/hwrng ] && [ -c /dev/fuse ] && [ -c /dev/ptmx ]")
    assert AGENT_PORT in shell.run("cat /sys/class/virtio-ports/*/name")
    shell.run("[ -e /sys/bus/virtio/drivers/virtio_scsi/virtio* ]")
    shell.run("[ -e /sys/bus/virtio/drivers/virtio_balloon/virtio* ]")
    assert shell.run("nproc").split()[-1] == str(processors(case[0]))


def test_the_network_reaches_slirps_gateway(shell: Console) -> None:
    assert "10.0.2.15/24" in shell.run("ip -4 addr show eth0")
    assert "default via 10.0.2.2" in shell.run("ip route")
    assert "127.0.0.1/8" in shell.run("ip -4 addr show lo")
    shell.run("ping -c 1 -W 10 10.0.2.2")


def test_everything_is_mounted(shell: Console) -> None:
    mounts = shell.run("cat /proc/mounts")
    for place, kind in (
        ("/", "erofs"),
        ("/dev", "devtmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/run", "tmpfs"),
        ("/tmp", "tmpfs"),
        ("/sys/fs/cgroup", "cgroup2"),
        ("/proc/sys/fs/binfmt_misc", "binfmt_misc"),
        ("/sys/kernel/tracing", "tracefs"),
    ):
        assert f" {place} {kind} " in mounts
    assert "memory" in shell.run("cat /sys/fs/cgroup/cgroup.controllers")


def test_what_the_kernel_promises_works(shell: Console) -> None:
    """Each of these is a module with one kernel or the other: they must load by themselves."""
    shell.run("mkdir -p /tmp/o/l /tmp/o/u /tmp/o/w /tmp/o/m")
    shell.run("mount -t overlay -o lowerdir=/tmp/o/l,upperdir=/tmp/o/u,workdir=/tmp/o/w o /tmp/o/m")
    shell.run("ip link add br-test type bridge && ip link del br-test")
    shell.run("ip link add v0 type veth peer name v1 && ip link del v0")
    shell.run("ip link add d0 type dummy && ip link del d0")
    shell.run(": < /dev/net/tun; [ -c /dev/net/tun ]")
    shell.run("dd if=/dev/zero of=/tmp/disk bs=1M count=20 && mkfs.ext4 -q /tmp/disk")
    shell.run("mkdir -p /tmp/d && mount -o loop /tmp/disk /tmp/d && umount /tmp/d")
    shell.run("echo ':isthmus:M::MZ::/bin/true:FP' > /proc/sys/fs/binfmt_misc/register")
    shell.run("unshare -Urmpf true")


def test_links_of_every_kind_can_be_made(shell: Console) -> None:
    for kind in ("wireguard", "dummy", "bridge"):
        shell.run(f"ip link add test0 type {kind} && ip link del test0")
    for kind in ("macvlan mode bridge", "ipvlan mode l2", "vxlan id 7 dstport 4789"):
        shell.run(f"ip link add test0 link eth0 type {kind}; true")
        name = kind.partition(" ")[0]
        # busybox's ip cannot configure all of them; that the kernel has them is what counts.
        shell.run(f"modprobe -q {name}; [ -d /sys/module/{name} ]")


def test_the_clock_is_right_and_fine_whatever_the_load(
    case: tuple[BootImage, MachineType], shell: Console
) -> None:
    """A kernel that could not calibrate its clock counts in steps of 4 ms, silently."""
    guest = int(shell.run("date +%s").split()[-1])
    assert abs(guest - time.time()) < 120
    source = shell.run("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
    if case[0].origin is KernelOrigin.TUNED:
        assert source.split()[-1] in ("tsc", "tsc-early")
        handlers = shell.run("grep event_handler /proc/timer_list")
        assert handlers.count("hrtimer_interrupt") == 2  # one for each processor


FILLER = """import mmap, sys
size = int(sys.argv[1]) << 20
memory = mmap.mmap(-1, size)
for at in range(0, size, 4096):
    memory[at : at + 8] = at.to_bytes(8, "big")
print(sum(memory[at : at + 8] != at.to_bytes(8, "big") for at in range(0, size, 4096)), "wrong")
"""


def meminfo_mib(shell: Console, name: str) -> int:
    found = re.search(rf"{name}: *(\d+) kB", shell.run("cat /proc/meminfo"))
    assert found, name
    return int(found[1]) // 1024


def test_memory_that_was_never_used_is_not_described_yet(
    case: tuple[BootImage, MachineType], shell: Console
) -> None:
    """Our kernel writes struct pages as memory comes into use; all of it can be used."""
    if case[0].origin is not KernelOrigin.TUNED:
        return
    walk = "echo 1 > /proc/sys/vm/compact_memory; cat /proc/pagetypeinfo /proc/kpage* > /dev/null"
    total, untouched = meminfo_mib(shell, "MemTotal"), meminfo_mib(shell, "Unaccepted")
    assert untouched > total / 2
    shell.run(walk)  # whoever looks at every page there is meets only those that are described
    assert meminfo_mib(shell, "Unaccepted") > total / 2
    free = meminfo_mib(shell, "MemFree")
    assert free > untouched, "what is not described counts as free"
    filler = base64.b64encode(FILLER.encode()).decode()
    shell.run(f"echo {filler} | busybox base64 -d > /tmp/fill.py")
    assert "0 wrong" in shell.run(f"python3 -I -S /tmp/fill.py {free * 9 // 10}")
    assert meminfo_mib(shell, "Unaccepted") < untouched / 4
    shell.run(walk)
    assert meminfo_mib(shell, "MemFree") > free * 9 // 10
    shell.run("echo 32 > /proc/sys/vm/nr_hugepages; grep 'HugePages_Total: *32' /proc/meminfo")
    shell.run("echo 0 > /proc/sys/vm/nr_hugepages")
    assert "BUG" not in shell.run("dmesg")


def test_modules_load_on_demand(shell: Console) -> None:
    for name in ("xfs", "btrfs", "wireguard", "vxlan", "macvlan", "ip_tables", "ip6table_nat"):
        shell.run(f"modprobe {name} && [ -d /sys/module/{name} ]")


def test_the_tuned_kernels_configuration_can_be_read(
    case: tuple[BootImage, MachineType], shell: Console
) -> None:
    if case[0].origin is KernelOrigin.TUNED:
        config = shell.run("zcat /proc/config.gz | grep -E 'EROFS|KPROBES'")
        assert "CONFIG_EROFS_FS=y" in config
        assert "CONFIG_KPROBES=y" not in config


def test_the_tracepoint_of_the_port_watch_is_there(shell: Console) -> None:
    shell.run("[ -e /sys/kernel/tracing/events/sock/inet_sock_set_state/enable ]")


def test_python_imports_only_compiled_code(shell: Console) -> None:
    program = "import sys, asyncio, ctypes, hashlib, json, lzma, ssl, subprocess, zlib; "
    program += "specs = [m.__spec__ for m in list(sys.modules.values()) if m.__spec__]; "
    program += "print([s.name for s in specs if str(s.origin).endswith('.py') and not s.cached])"
    assert "[]" in shell.run(f'python3 -I -S -c "{program}"')
    compiled = shell.run("find /usr/lib/isthmus /usr/lib/python3.13 -name '*.pyc' | wc -l")
    sources = shell.run("find /usr/lib/isthmus /usr/lib/python3.13 -name '*.py' | wc -l")
    # guest/rootfs is laid over the image; start.pyc is run by its path.
    assert int(compiled.split()[-1]) >= int(sources.split()[-1]) > 100


def test_bsdtar_keeps_owners_and_names_that_are_not_ascii(shell: Console) -> None:
    shell.run("mkdir -p /tmp/t && cd /tmp/t && touch 'naïve-日本' && chown 12:34 'naïve-日本'")
    shell.run("export LANG=C.UTF-8; bsdtar -cf /tmp/t.tar --xattrs -C /tmp/t .")
    listing = shell.run("LANG=C.UTF-8 bsdtar -tvf /tmp/t.tar --numeric-owner; cd /")
    assert "naïve-日本" in listing
    assert " 12 " in " ".join(listing.split())


def test_the_agent_is_started_and_started_again_and_the_machine_ends(
    case: tuple[BootImage, MachineType],
) -> None:
    """The whole life of a machine; its end must be QEMU's end, on every machine type."""
    image, machine = case
    watch = (
        "busybox sh -c 'while ! busybox pidof python3 > /dev/null; do busybox usleep "
        "50000; done; for n in 1 2; do p=$(busybox pidof python3); busybox kill -9 $p; "
        'while [ "$(busybox pidof python3 || echo $p)" = $p ]; do '
        "busybox usleep 50000; done; done; echo restarted-''twice; busybox poweroff' &"
    )
    with booted(image, machine, *SHELL) as console:
        console.wait_for(r"^~ # |^/ # |^# ")
        console.run("mount -t proc proc /proc")
        console.type(f"{watch} exec /sbin/init")
        console.wait_for(r"agent: ended early, starting again in 1 s")
        console.wait_for(r"agent: ended early, starting again in 2 s")
        console.wait_for(r"restarted-twice")
        console.wait_for(r"shutdown: stopping")
        assert console.wait_for_end() == 0


def test_an_ordinary_boot_ends_with_the_agent(case: tuple[BootImage, MachineType]) -> None:
    image, machine = case
    with booted(image, machine) as console:
        console.wait_for(r"agent: ready")
