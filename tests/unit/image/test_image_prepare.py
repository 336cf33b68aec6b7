"""What `prepare` chooses when everything is in the cache, and images of releases."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.unit.image.test_image_modules import elf_file
from vm.image import kernel_debian, kernel_tuned, prepare, release, resolution, system, update
from vm.image.cache import Cache, Entry
from vm.image.errors import BuildFailed, ReleaseInvalid
from vm.image.resolution import Pinned, Resolution
from vm.image.tree import File, Link, Tree
from vm.image.update_state import Generation, UpdateState, propose
from vm.spec import KernelOrigin


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def pinned(name: str, version: str = "1") -> Pinned:
    url = f"http://mirror/debian/pool/main/{name}_{version}.deb"
    return Pinned(name, version, url, 7, digest(name + version))


def resolved(version: str = "1") -> Resolution:
    system_packages = (pinned("busybox-static"), pinned("python3.13-minimal"))
    kernel, source = pinned("linux-image", version), pinned("linux-source", version)
    return Resolution(system_packages, kernel, source, resolution.question())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("ISTHMUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ISTHMUS_IMAGE", raising=False)
    # Any attempt to fetch fails at once.
    monkeypatch.setenv("ISTHMUS_DEBIAN_MIRROR", "http://127.0.0.1:1/debian")
    return Cache()


def add_kernel(cache: Cache, found: Resolution, origin: KernelOrigin, **meta: str) -> Entry:
    tuned = origin is KernelOrigin.TUNED
    names = ("vmlinux", "bzImage") if tuned else ("bzImage", "initrd.cpio")

    def builder(directory: Path) -> dict[str, str]:
        for name in (*names, "modules.tar"):
            (directory / name).write_text(f"{origin} {name} {found.id}")
        return {"release": f"6-{origin}", **meta}

    if tuned:
        return cache.build(kernel_tuned.KIND, digest(found.id), builder)
    return cache.build(kernel_debian.KIND, prepare._debian_key(found), builder)


def add_system(cache: Cache, found: Resolution, kernel: Entry, tuned: str = "") -> Entry:
    key = system.system_key(prepare._base_key(found), system.own_files(), kernel.name)

    def builder(directory: Path) -> dict[str, str]:
        (directory / "system.erofs").write_text(kernel.name)
        return {"resolution": found.id, "tuned": tuned, "release": kernel.meta["release"]}

    return cache.build(system.KIND, key, builder)


def select(cache: Cache, found: Resolution, tuned: str = "") -> None:
    resolution.save(found, cache.root / prepare.RESOLUTIONS)
    update.change_state(cache, lambda state: propose(state, Generation(found.id, tuned)))


def test_a_cached_image_is_returned_without_the_network(cache: Cache) -> None:
    found = resolved()
    kernel = add_kernel(cache, found, KernelOrigin.DEBIAN)
    entry = add_system(cache, found, kernel)
    select(cache, found)
    image = prepare.prepare(cache=cache)
    assert image.origin is KernelOrigin.DEBIAN
    assert (image.kernel, image.initrd) == (kernel.file("bzImage"), kernel.file("initrd.cpio"))
    assert image.system == entry.file("system.erofs")
    assert image.release == "6-debian"


def tuned_cache(cache: Cache, config: str) -> Resolution:
    """A cache with both kernels, the tuned one selected, and both system images."""
    found = resolved()
    debian = add_kernel(cache, found, KernelOrigin.DEBIAN)
    tuned = add_kernel(cache, found, KernelOrigin.TUNED, config=config)
    add_system(cache, found, debian)
    add_system(cache, found, tuned, tuned.name)
    select(cache, found, tuned.name)
    return found


def test_the_tuned_kernel_is_preferred(cache: Cache) -> None:
    tuned_cache(cache, kernel_tuned.config_digest())
    image = prepare.prepare(cache=cache)
    assert (image.origin, image.kernel.name, image.initrd) == (KernelOrigin.TUNED, "vmlinux", None)
    assert prepare.prepare(pvh=False, cache=cache).kernel.name == "bzImage"


def test_a_tuned_kernel_of_another_configuration_is_not_used(cache: Cache) -> None:
    tuned_cache(cache, "of yesterday")
    image = prepare.prepare(cache=cache)
    assert image.origin is KernelOrigin.DEBIAN
    # Its boot says nothing about the kernel on trial, which was not used.
    before = update.read_state(cache)
    update.confirm_boot(image, cache)
    assert update.read_state(cache) == before


def test_a_damaged_tuned_kernel_is_not_used(cache: Cache) -> None:
    tuned_cache(cache, kernel_tuned.config_digest())
    prepare.prepare(cache=cache).kernel.write_text("damaged")
    assert prepare.prepare(cache=cache).origin is KernelOrigin.DEBIAN


def test_a_failed_update_gives_the_image_before_it(cache: Cache) -> None:
    for version in ("1", "2"):
        found = resolved(version)
        add_system(cache, found, add_kernel(cache, found, KernelOrigin.DEBIAN))
        select(cache, found)
        image = prepare.prepare(cache=cache)
        if version == "1":
            first = image
            update.confirm_boot(image, cache)
    assert image != first
    assert update.boot_failed(image, cache) is True
    assert prepare.prepare(cache=cache) == first
    select(cache, resolved("2"))  # the archive still offers it
    assert prepare.prepare(cache=cache) == first


def test_a_lost_resolution_falls_to_the_one_before(cache: Cache) -> None:
    for version in ("1", "2"):
        found = resolved(version)
        add_system(cache, found, add_kernel(cache, found, KernelOrigin.DEBIAN))
        select(cache, found)
        if version == "1":
            first = prepare.prepare(cache=cache)
            update.confirm_boot(first, cache)
    (cache.root / prepare.RESOLUTIONS / f"{found.id}.json").write_text("{")
    assert prepare.prepare(cache=cache) == first


def test_a_resolution_is_kept_as_it_is(cache: Cache) -> None:
    found = resolved()
    directory = cache.root / prepare.RESOLUTIONS
    resolution.save(found, directory)
    assert resolution.load(directory, found.id) == found
    assert resolution.load(directory, "absent") is None
    path = directory / f"{found.id}.json"
    path.write_text(path.read_text().replace(digest("linux-image1"), digest("other")))
    assert resolution.load(directory, found.id) is None  # not what it was


def test_a_resolution_of_another_question_is_not_used(cache: Cache) -> None:
    directory = cache.root / prepare.RESOLUTIONS
    other = Resolution((pinned("busybox-static"),), pinned("a"), pinned("b"), "old question")
    resolution.save(other, directory)
    assert resolution.load(directory, other.id) is None


def test_a_pinned_package_is_fetched_from_where_it_was_found() -> None:
    package = pinned("tool").package
    assert (package.archive, package.file.path) == ("http://mirror/debian", "pool/main/tool_1.deb")


def test_our_own_files_are_all_there() -> None:
    own = system.own_files()
    assert own.file("etc/inittab").startswith(b"#")
    boot = own.find("etc/init.d/boot")
    assert isinstance(boot, File) and boot.mode == 0o755
    assert b"def main" in own.file("usr/lib/isthmus/guest/agent/main.py")
    assert own.find("usr/lib/isthmus/wire/__init__.py") is not None
    assert own.find("usr/libexec/isthmus") is not None
    code = [path for path in own.nodes if path.startswith("usr/lib/isthmus/guest/rootfs")]
    assert code == []  # it is laid over the image, not carried in the package


def test_applets_do_not_take_the_place_of_programs() -> None:
    tree = Tree()
    tree.add("usr/sbin/mke2fs", File(0o755, b""))
    system.link_applets(tree, "bin/sh\nsbin/mke2fs\nusr/bin/mke2fs\nusr/bin/dpkg\nlinuxrc\n")
    assert tree.nodes["usr/bin/sh"] == Link("/usr/bin/busybox")
    assert sorted(tree.nodes) == ["usr", "usr/bin", "usr/bin/sh", "usr/sbin", "usr/sbin/mke2fs"]


def test_a_tree_with_a_library_missing_is_refused() -> None:
    strings = b"\0libfar.so.1\0"
    program = elf_file({".dynamic": (1).to_bytes(8, "little") * 2 + bytes(16), ".dynstr": strings})
    tree = Tree()
    tree.add("usr/bin/tool", File(0o755, program))
    with pytest.raises(BuildFailed) as caught:
        system.check_libraries(tree)
    assert caught.value.log_tail == ("usr/bin/tool needs libfar.so.1",)
    tree.add("usr/lib/x86_64-linux-gnu/libfar.so.1", Link("libfar.so.1.2"))
    tree.add("usr/lib/x86_64-linux-gnu/libfar.so.1.2", File(0o644, b""))
    system.check_libraries(tree)


# --- releases ---------------------------------------------------------------------------------


def test_a_release_is_used_before_anything_else(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned_cache(cache, kernel_tuned.config_digest())
    directory = tmp_path / "image"
    release.export_release(prepare.prepare(cache=cache), directory)
    monkeypatch.setenv("ISTHMUS_IMAGE", str(directory))
    image = prepare.prepare()
    assert image.kernel == directory / "vmlinux"
    assert prepare.prepare(pvh=False).kernel == directory / "bzImage"
    assert (image.origin, image.release) == (KernelOrigin.TUNED, "6-tuned")
    update.confirm_boot(image)
    assert update.boot_failed(image) is False
    assert update.read_state(cache) == UpdateState(candidate=update.read_state(cache).candidate)


@pytest.mark.parametrize("name", ["bzImage", "initrd.cpio", "system.erofs", "manifest.json"])
def test_a_damaged_release_is_refused(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    found = resolved()
    add_system(cache, found, add_kernel(cache, found, KernelOrigin.DEBIAN))
    select(cache, found)
    directory = tmp_path / "image"
    release.export_release(prepare.prepare(cache=cache), directory)
    monkeypatch.setenv("ISTHMUS_IMAGE", str(directory))
    assert prepare.prepare().initrd == directory / "initrd.cpio"
    path = directory / name
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ReleaseInvalid) as caught:
        prepare.prepare()
    assert caught.value.path == directory
    path.unlink()
    with pytest.raises(ReleaseInvalid):
        prepare.prepare()


def test_a_release_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Cache
) -> None:
    monkeypatch.setenv("ISTHMUS_IMAGE", str(tmp_path / "nowhere"))
    with pytest.raises(ReleaseInvalid):
        prepare.prepare()
