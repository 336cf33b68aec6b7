"""The content-addressed cache of downloads and of everything that is built from them.

Layout of the directory (`platformdirs.user_cache_dir("isthmus")`, or ISTHMUS_CACHE)::

    downloads/<sha256>       files of the Debian archive, exactly as signed
    entries/<kind>-<key>/    what was built: files, and manifest.json with their sizes and digests
    work/                    unfinished builds; whatever is left there is garbage
    lock, work.lock …        who builds

An entry's key is a hash of everything that went into it, so an entry is never changed, only
replaced when damaged. It appears by a rename, after its files have reached the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vm.files import replace, sync_directory, write_atomically
from vm.image.digest import digest_file
from vm.image.errors import CacheBusy

_log = logging.getLogger(__name__)

KEY_CHARACTERS = 20
"""Of the SHA-256 in an entry's name: 80 bits."""
MANIFEST = "manifest.json"
VERIFIED = "verified.json"
LOCK_TIMEOUT_S = 900.0
PRIVATE = 0o700

Meta = Mapping[str, str]


@dataclass(frozen=True)
class Entry:
    """A finished build whose files have been found to be what they should."""

    path: Path
    meta: Meta
    """What the build says about itself."""

    @property
    def name(self) -> str:
        """`<kind>-<key>`, its name in the cache."""
        return self.path.name

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return self.path / name


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the cache is: ISTHMUS_CACHE, or the user's cache directory."""
    named = environment.get("ISTHMUS_CACHE")
    if named:
        return Path(named).absolute()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("isthmus", appauthor=False))


def _stamp(path: Path) -> list[int]:
    """What changes when somebody writes to the file."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _read_json(path: Path) -> dict[str, object]:
    """A JSON object from a file; empty when there is none that can be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_manifest(directory: Path, meta: Meta) -> None:
    """Describe the files of `directory` in its manifest and bring all of them to the disk."""
    files = {}
    for path in sorted(directory.rglob("*")):
        if not path.is_file():
            continue
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        name = path.relative_to(directory).as_posix()
        files[name] = {"size": path.stat().st_size, "sha256": digest_file(path)}
    content = {"format": 1, "files": files, "meta": dict(meta)}
    write_atomically(directory / MANIFEST, json.dumps(content, indent=1).encode())


def check_manifest(directory: Path, stamps: Mapping[str, object]) -> tuple[Meta, str]:
    """The manifest's meta and "", or {} and what is wrong with the files of `directory`.

    A file whose stamp is in `stamps` is taken as unchanged since its digest was last compared:
    reading 100 MB at every start would cost more than restoring the machine.
    """
    manifest = _read_json(directory / MANIFEST)
    files, meta = manifest.get("files"), manifest.get("meta")
    if manifest.get("format") != 1 or not isinstance(files, dict) or not isinstance(meta, dict):
        return {}, f"{MANIFEST} is missing or damaged"
    for name, expected in files.items():
        path = directory / name
        try:
            if stamps.get(name) == _stamp(path):
                continue
            if path.stat().st_size != expected["size"]:
                return {}, f"{name} has a wrong size"
            if digest_file(path) != expected["sha256"]:
                return {}, f"{name} has changed"
        except FileNotFoundError:
            return {}, f"{name} is missing"
        except (OSError, TypeError, KeyError) as error:
            return {}, f"{name}: {error}"
    return {str(key): str(value) for key, value in meta.items()}, ""


def file_stamps(directory: Path) -> dict[str, object]:
    """The stamps of all files that the manifest of `directory` names."""
    files = _read_json(directory / MANIFEST).get("files")
    return {name: _stamp(directory / name) for name in files} if isinstance(files, dict) else {}


class Cache:
    """The cache at `root`, which is made with access for its owner only."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_directory()
        self.downloads = self.root / "downloads"
        self._entries = self.root / "entries"
        self._work = self.root / "work"

    @contextlib.contextmanager
    def locked(
        self,
        name: str = "lock",
        timeout_s: float = LOCK_TIMEOUT_S,
        on_wait: Callable[[], None] | None = None,
    ) -> Iterator[None]:
        """Hold the lock file `name`; `on_wait` is called once if another process has it.

        The operating system drops the lock of a process that dies. Raises CacheBusy.
        """
        from filelock import FileLock, Timeout  # who only looks for an entry needs no lock

        self._make(self.root)
        path = self.root / name
        lock = FileLock(path, timeout=timeout_s)
        try:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if on_wait:
                    on_wait()
                lock.acquire()
        except Timeout:
            raise CacheBusy(path, timeout_s) from None
        try:
            yield
        finally:
            lock.release()

    def find(self, kind: str, key: str) -> Entry | None:
        """The entry, if it is there and undamaged."""
        return self.named(self.entry_name(kind, key))

    @staticmethod
    def entry_name(kind: str, key: str) -> str:
        """What the entry of that kind with that key is called."""
        return f"{kind}-{key[:KEY_CHARACTERS]}"

    def named(self, name: str) -> Entry | None:
        """The entry called `name`, if it is there and undamaged; counts as a use of it."""
        entry = self._load(name)
        if entry is not None:
            with contextlib.suppress(OSError):
                os.utime(entry.path)  # for `uses`
        return entry

    def _load(self, name: str) -> Entry | None:
        path = self._entries / name
        if not name or Path(name).name != name or not path.is_dir():
            return None
        stamps = _read_json(path / VERIFIED)
        meta, wrong = check_manifest(path, stamps)
        if wrong:
            _log.warning("%s is damaged, and not used: %s", name, wrong)
            return None
        self._remember(path, stamps)
        return Entry(path, meta)

    def uses(self) -> list[tuple[str, float]]:
        """Every entry's name, and when it was last found or built (seconds since the epoch)."""
        if not self._entries.is_dir():
            return []
        return [(path.name, path.stat().st_mtime) for path in self._entries.iterdir()]

    def entries(self, kind: str = "") -> list[Entry]:
        """All undamaged entries of `kind`, newest first."""
        if not self._entries.is_dir():
            return []
        paths = [
            p for p in self._entries.iterdir() if p.name.startswith(f"{kind}-" if kind else "")
        ]
        paths.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return [entry for path in paths if (entry := self._load(path.name)) is not None]

    def build(self, kind: str, key: str, builder: Callable[[Path], Meta]) -> Entry:
        """Have `builder` fill an empty directory, and publish that as the entry `kind`-`key`.

        The caller holds a lock under which nobody else builds this kind. `builder` returns the
        entry's meta; what it raises leaves nothing behind.
        """
        self._make(self._entries)
        self._make(self._work)
        target = self._entries / self.entry_name(kind, key)
        with self.scratch() as directory:
            result = directory / "entry"
            result.mkdir()
            meta = builder(result)
            write_manifest(result, meta)
            sync_directory(result)
            if target.exists():  # damaged, or find() would have returned it
                replace(target, directory / "damaged")
            replace(result, target)
        sync_directory(self._entries)
        self._remember(target, {})
        return Entry(target, meta)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory on the cache's file system that is removed afterwards."""
        self._make(self._work)
        self._sweep()
        directory = Path(tempfile.mkdtemp(dir=self._work, prefix=f"{os.getpid()}-"))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what interrupted runs have left: work of processes that are no more."""
        import psutil

        for path in self._work.iterdir():
            owner = path.name.partition("-")[0]
            if not owner.isdecimal() or not psutil.pid_exists(int(owner)):
                shutil.rmtree(path, ignore_errors=True)

    def remove(self, name: str) -> None:
        """Take an entry out; one that is in use (on Windows) stays until the next time."""
        with self.scratch() as directory, contextlib.suppress(OSError):
            os.replace(self._entries / name, directory / "removed")

    def _remember(self, path: Path, stamps: Mapping[str, object]) -> None:
        """Note that the files of an entry are what they should be now."""
        current = file_stamps(path)
        if current != stamps:
            write_atomically(path / VERIFIED, json.dumps(current).encode())

    def _make(self, directory: Path) -> None:
        # The root first, for mkdir() gives `mode` to the last directory only.
        self.root.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        directory.mkdir(mode=PRIVATE, exist_ok=True)


def check_remembered(directory: Path, cache: Cache) -> tuple[Meta, str]:
    """`check_manifest` for a directory outside of the cache, remembered inside of it."""
    identity = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:KEY_CHARACTERS]
    cache.root.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    memory = cache.root / f"release-{identity}.json"
    stamps = _read_json(memory)
    meta, wrong = check_manifest(directory, stamps)
    if not wrong:
        current = file_stamps(directory)
        if current != stamps:
            write_atomically(memory, json.dumps(current).encode())
    return meta, wrong
