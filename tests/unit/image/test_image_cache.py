"""The cache: what is published is whole, what is damaged is not used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vm.image.cache import Cache, cache_directory, check_remembered
from vm.image.errors import CacheBusy

KEY = "k" * 64


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def fill(directory: Path) -> dict[str, str]:
    (directory / "kernel").write_bytes(b"kernel" * 100)
    (directory / "sub").mkdir()
    (directory / "sub" / "part").write_bytes(b"part")
    return {"release": "6.12"}


def touch_differently(path: Path, data: bytes) -> None:
    """Overwrite a file; its time differs even on file systems with coarse ones."""
    before = path.stat().st_mtime_ns
    path.write_bytes(data)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def test_an_entry_is_found_again_with_what_it_says_of_itself(cache: Cache) -> None:
    assert cache.find("kernel", KEY) is None
    built = cache.build("kernel", KEY, fill)
    found = Cache(cache.root).find("kernel", KEY)
    assert found == built
    assert found.meta == {"release": "6.12"}
    assert found.file("kernel").read_bytes() == b"kernel" * 100
    assert cache.named(found.name) == found
    assert [entry.name for entry in cache.entries("kernel")] == [found.name]
    assert cache.entries("system") == []


def test_a_build_that_fails_leaves_nothing(cache: Cache) -> None:
    def broken(directory: Path) -> dict[str, str]:
        fill(directory)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.build("kernel", KEY, broken)
    assert cache.find("kernel", KEY) is None
    assert list((cache.root / "work").iterdir()) == []


@pytest.mark.parametrize("name", ["kernel", "sub/part"])
@pytest.mark.parametrize("data", [b"", b"kernel" * 99 + b"kernes", b"pars", b"longer" * 1000])
def test_a_damaged_entry_is_not_used_and_can_be_built_again(
    cache: Cache, name: str, data: bytes
) -> None:
    entry = cache.build("kernel", KEY, fill)
    touch_differently(entry.file(name), data)
    assert cache.find("kernel", KEY) is None
    assert cache.entries("kernel") == []
    again = cache.build("kernel", KEY, fill)
    assert again.file("kernel").read_bytes() == b"kernel" * 100
    assert cache.find("kernel", KEY) == again


def test_an_entry_with_a_missing_file_is_not_used(cache: Cache) -> None:
    entry = cache.build("kernel", KEY, fill)
    entry.file("sub/part").unlink()
    assert cache.find("kernel", KEY) is None


@pytest.mark.parametrize(
    "manifest", [b"", b"{", b"[]", b'{"format": 2, "files": {}, "meta": {}}', b'{"format": 1}']
)
def test_an_entry_with_a_damaged_manifest_is_not_used(cache: Cache, manifest: bytes) -> None:
    entry = cache.build("kernel", KEY, fill)
    entry.file("manifest.json").write_bytes(manifest)
    assert cache.find("kernel", KEY) is None


def test_a_lost_memory_of_checks_costs_only_another_check(cache: Cache) -> None:
    entry = cache.build("kernel", KEY, fill)
    entry.file("verified.json").write_bytes(b"nonsense")
    assert cache.find("kernel", KEY) == entry
    entry.file("verified.json").unlink()
    assert cache.find("kernel", KEY) == entry


def test_a_file_that_was_only_touched_is_still_good(cache: Cache) -> None:
    entry = cache.build("kernel", KEY, fill)
    touch_differently(entry.file("kernel"), b"kernel" * 100)
    assert cache.find("kernel", KEY) == entry


@pytest.mark.parametrize("name", ["", ".", "..", "../work", "a/b"])
def test_a_name_leads_nowhere_else(cache: Cache, name: str) -> None:
    cache.build("kernel", KEY, fill)
    assert cache.named(name) is None


def test_leftovers_of_processes_that_are_gone_are_removed(cache: Cache) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    work = cache.root / "work"
    for name in (f"{gone.pid}-abc", "nonsense"):
        (work / name).mkdir(parents=True)
        (work / name / "half").write_bytes(b"x")
    (work / f"{os.getpid()}-mine").mkdir()
    with cache.scratch() as scratch:
        assert {path.name for path in work.iterdir()} == {f"{os.getpid()}-mine", scratch.name}
    assert not scratch.exists()


HOLDER = """
import sys
from pathlib import Path
from vm.image.cache import Cache
with Cache(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_builder_waits_and_says_so(cache: Cache) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(cache.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert holder.stdin is not None and holder.stdout is not None
    with holder:
        assert holder.stdout.readline().strip() == b"locked"
        with pytest.raises(CacheBusy), cache.locked(timeout_s=0.05):
            pass
        # Told that it has to wait, the holder lets go: by dying, which must be enough.
        waited: list[bool] = []

        def on_wait() -> None:
            waited.append(True)
            holder.kill()

        with cache.locked(timeout_s=60, on_wait=on_wait):
            assert waited == [True]


def test_the_directory_comes_from_the_environment(tmp_path: Path) -> None:
    assert cache_directory({"ISTHMUS_CACHE": str(tmp_path)}) == tmp_path
    assert cache_directory({}).name in ("isthmus", "Cache")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_the_cache_is_the_owners_only(cache: Cache) -> None:
    cache.build("kernel", KEY, fill)
    assert cache.root.stat().st_mode & 0o077 == 0


def test_a_directory_outside_is_checked_without_being_written_to(
    cache: Cache, tmp_path: Path
) -> None:
    entry = cache.build("kernel", KEY, fill)
    outside = tmp_path / "outside"
    entry.path.rename(outside)
    before = sorted(outside.iterdir())
    for _ in range(2):
        assert check_remembered(outside, cache) == ({"release": "6.12"}, "")
    assert sorted(outside.iterdir()) == before
    touch_differently(outside / "kernel", b"other")
    assert check_remembered(outside, cache)[1] == "kernel has a wrong size"
