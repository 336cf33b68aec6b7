"""ELF files and kernel modules."""

from __future__ import annotations

import contextlib
import lzma
import struct
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vm.image import elf
from vm.image.errors import BuildFailed
from vm.image.initramfs import make_initramfs
from vm.image.kernel_modules import boot_script, modules_tree, pick_modules, root_modules
from vm.image.modules import (
    Module,
    load_order,
    module_name,
    modules_alias,
    modules_dep,
    read_module,
)


def elf_file(sections: dict[str, bytes]) -> bytes:
    """A 64-bit ELF file that consists of named sections."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (*sections, ".shstrtab"))
    contents = [b"", *sections.values(), names]
    offset, headers, body = 64, b"", b""
    for name, data in zip(["", *sections, ".shstrtab"], contents, strict=True):
        name_offset = names.index(name.encode() + b"\0") if name else 0
        headers += struct.pack("<IIQQQQIIQQ", name_offset, 1, 0, 0, offset, len(data), 0, 0, 1, 0)
        body += data
        offset += len(data)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQ", 1, 62, 1, 0, 0, offset)
    header += struct.pack("<IHHHHHH", 0, 64, 0, 0, 64, len(contents), len(contents) - 1)
    return header + body + headers


def module_file(**information: str) -> bytes:
    entries = [
        f"{key}={value}" for key, values in information.items() for value in values.split("|")
    ]
    return elf_file({".modinfo": b"\0".join(entry.encode() for entry in entries) + b"\0"})


def module(name: str, *depends: str, aliases: tuple[str, ...] = ()) -> Module:
    return Module(f"kernel/{name}.ko", name, depends, aliases)


def test_sections_and_needed_libraries() -> None:
    strings = b"\0libc.so.6\0libm.so.6\0"
    dynamic = struct.pack("<qQqQqQqQ", 1, 1, 14, 0, 1, 11, 0, 0)
    data = elf_file({".dynamic": dynamic, ".dynstr": strings})
    assert elf.section(data, ".dynstr") == strings
    assert elf.section(data, ".absent") is None
    assert elf.needed_libraries(data) == ["libc.so.6", "libm.so.6"]
    assert elf.needed_libraries(elf_file({})) == []


@given(st.data())
def test_no_damage_does_more_to_the_elf_reader_than_be_refused(data: st.DataObject) -> None:
    whole = bytearray(elf_file({".dynamic": bytes(32), ".dynstr": b"\0a\0", ".modinfo": b"a=b\0"}))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(whole) - 1))
        whole[position] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    for reader in (elf.needed_libraries, elf.module_information):
        with contextlib.suppress(elf.MalformedElf):
            reader(cut)


def test_what_a_module_says_of_itself() -> None:
    data = module_file(
        depends="net-failover,failover",
        alias="virtio:d00000001v*|devname:net/tun|char-major-10-200",
        softdep="pre: crc32c-x xxhash post: other|pre: last",
    )
    found = read_module("kernel/drivers/net/virtio-net.ko", data)
    assert found.name == "virtio_net"
    assert found.depends == ("net_failover", "failover")
    assert found.soft_before == ("crc32c_x", "xxhash", "last")
    assert found.device_node == ("net/tun", 200)
    assert module("plain").device_node is None


def test_module_names() -> None:
    assert module_name("kernel/a/virtio-rng.ko.xz") == "virtio_rng"


def test_dependencies_are_loaded_first_and_once() -> None:
    modules = {m.name: m for m in (module("a", "b", "c"), module("b", "d"), module("c", "d"))}
    modules["d"] = module("d", "built_in")
    assert [m.name for m in load_order(modules, ["a", "c", "absent"])] == ["d", "b", "c", "a"]
    assert modules_dep(modules).splitlines()[0] == (
        "kernel/a.ko: kernel/c.ko kernel/b.ko kernel/d.ko"
    )


def test_a_cycle_is_refused() -> None:
    modules = {m.name: m for m in (module("a", "b"), module("b", "a"))}
    with pytest.raises(ValueError, match="a → b → a"):
        load_order(modules, ["a"])


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sets(st.sampled_from("abcdefgh"))))
def test_every_order_respects_every_dependency(graph: dict[str, set[str]]) -> None:
    # Only edges to later letters, so that there is no cycle.
    modules = {
        name: module(name, *sorted(other for other in needs if other > name))
        for name, needs in graph.items()
    }
    order = [m.name for m in load_order(modules, sorted(modules))]
    assert sorted(order) == sorted(modules)
    for name, found in modules.items():
        for needed in found.depends:
            assert needed not in modules or order.index(needed) < order.index(name)


def test_aliases() -> None:
    modules = {"tun": module("tun", aliases=("char-major-10-200", "devname:net/tun"))}
    assert modules_alias(modules) == "alias char-major-10-200 tun\n"


def test_modules_are_picked_with_what_they_need_and_unpacked() -> None:
    tun = module_file(
        depends="helper", softdep="pre: wish", alias="devname:net/tun|char-major-10-200"
    )
    available = {
        "kernel/drivers/net/tun.ko.xz": lambda: lzma.compress(tun),
        "kernel/lib/helper.ko": lambda: module_file(depends=""),
        "kernel/lib/wish.ko": lambda: module_file(depends=""),
        "kernel/drivers/net/ethernet/card.ko": lambda: b"never read",
        "modules.builtin": lambda: b"never read either",
    }
    modules, contents = pick_modules(available)
    assert sorted(modules) == ["helper", "tun", "wish"]
    assert contents["tun"] == tun
    tree = modules_tree("6.12.1", modules, contents)
    assert tree.file("lib/modules/6.12.1/kernel/drivers/net/tun.ko") == tun
    assert b"kernel/drivers/net/tun.ko: kernel/lib/helper.ko\n" in tree.file(
        "usr/lib/modules/6.12.1/modules.dep"
    )
    script = tree.file("etc/init.d/modules").decode()
    assert "mkdir -p /dev/net" in script
    assert "mknod -m 666 /dev/net/tun c 10 200" in script


def test_a_kernel_with_everything_built_in_needs_no_boot_script() -> None:
    assert boot_script({}) == ""
    assert modules_tree("6.12.1", {}, {}).nodes == {}


def test_boot_modules_are_loaded_by_one_command() -> None:
    modules = {name: module(name) for name in ("sd_mod", "virtio_net", "btrfs")}
    assert boot_script(modules) == "busybox modprobe -a virtio_net sd_mod\n"


def test_the_initial_file_system_loads_what_the_root_needs_in_order() -> None:
    modules = {m.name: m for m in (module("erofs", "crc"), module("crc"), module("virtio_blk"))}
    order = root_modules(modules)
    assert [m.name for m in order] == ["virtio_blk", "crc", "erofs"]
    archive = make_initramfs(b"BUSYBOX", [(m.name, m.name.encode()) for m in order])
    positions = [archive.index(f"insmod /modules/{m.name}.ko".encode()) for m in order]
    assert positions == sorted(positions)
    assert b"BUSYBOX" in archive


def test_a_module_that_is_none_fails_the_build() -> None:
    for data in (b"text", lzma.compress(b"text")[:-3]):
        with pytest.raises(BuildFailed, match="tun"):
            pick_modules({"kernel/drivers/net/tun.ko.xz": partial(bytes, data)})
