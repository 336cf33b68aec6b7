"""Drives against what else QEMU has to show a host's directory: virtio-9p, virtiofs; and ext4.

All of them show the same tree to the same machine, in one run. A wrapper around QEMU adds the
peers' devices to it, which is why it cannot be run on Windows. `python -m bench.drives ROUNDS
SUBJECT…` measures a part.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.harness import BIN, Isthmus

_DIRECTORIES = 270
_FILES = 3000
_UNTARRED = 600
_READ_MIB = 100
_WRITTEN_MIB = 50
_ROUNDS = 3
_EVENTS = 20
_VIRTIOFSD = "/usr/lib/qemu/virtiofsd"

_WRAPPER = """\
#!{python} -I
import os, sys
real, argv = {real!r}, sys.argv[1:]
if "-name" in argv:
    board = argv.index("-machine") + 1
    kind = "device" if argv[board].startswith("microvm") else "pci"
    nine = "virtio-9p-" + kind + ",fsdev=peer,mount_tag=peer"
    # The one free transport that every kernel can use (vm.argv, _MMIO_BUSES); virtiofs takes the
    # balloon's, which nothing here needs.
    argv += ["-fsdev", "local,id=peer,security_model=none,path={tree}", "-device"]
    argv += [nine + (",bus=virtio-mmio-bus.7" if kind == "device" else "")]
    if {socket!r}:
        argv[board] += ",memory-backend=shared"
        memory = argv[argv.index("-m") + 1]
        argv += ["-object", "memory-backend-memfd,id=shared,share=on,size=" + memory]
        argv += ["-chardev", "socket,id=virtiofs,path={socket}"]
        for at, word in enumerate(argv):
            if word.startswith("virtio-balloon"):
                bus = ",bus=virtio-mmio-bus.6" if kind == "device" else ""
                argv[at] = "vhost-user-fs-" + kind + ",chardev=virtiofs,tag=virtiofs" + bus
os.execv(real, [real, *argv])
"""


@dataclass(frozen=True)
class Subject:
    """One way to show the tree at /t: shell commands that begin it, and end it, cold."""

    name: str
    mount: str
    unmount: str = "umount /t"


EXT4 = Subject("ext4 in the machine", "sync; echo 3 > /proc/sys/vm/drop_caches", "true")
OURS = Subject("Isthmus", "mount -t drvfs -o noatime C: /t && stat /t/tree >/dev/null")
SUBJECTS = (
    OURS,
    Subject("9p, loose", "mount -t 9p -o trans=virtio,cache=loose,msize=512000,noatime peer /t"),
    Subject("9p, none", "mount -t 9p -o trans=virtio,cache=none,msize=512000,noatime peer /t"),
    Subject("virtiofs", "mount -t virtiofs -o noatime virtiofs /t"),
    EXT4,
)


@dataclass(frozen=True)
class Row:
    """One command, timed; `before` is done before each run of it, untimed."""

    what: str
    command: str
    is_cold: bool = False
    before: str = ""


_TAR = "tar cf - {t}/tree/src 2>/dev/null | cat >/dev/null"
_WRITE = f"dd if=/zeros of={{t}}/new/f bs=1M count={_WRITTEN_MIB} conv=fsync 2>/dev/null"
_NEW = "rm -rf {t}/new; mkdir {t}/new; sync"
ROWS = (
    Row("find, cold", "find {t}/tree >/dev/null", is_cold=True),
    Row("find, warm", "find {t}/tree >/dev/null"),
    Row("ls -lR, warm", "ls -lR {t}/tree >/dev/null"),
    Row("git status, warm", "git -C {t}/tree status --short"),
    Row(f"tar of {_FILES} files, cold", _TAR, is_cold=True),
    Row(f"tar of {_FILES} files, warm", _TAR),
    Row(f"untar {_UNTARRED} files", "tar xf /untar.tar -C {t}/new", before=_NEW),
    Row(f"read {_READ_MIB} MiB, cold", "cat {t}/large >/dev/null", is_cold=True),
    Row(f"write {_WRITTEN_MIB} MiB and fsync", _WRITE, before=_NEW),
)


def make_tree(root: Path) -> None:
    """The tree that all show: a git checkout of small files, and a large one."""
    source = random.Random(1)
    tree = root / "tree"
    directories: list[Path] = []
    for number in range(_DIRECTORIES):
        parent = source.choice(directories) if number % 3 else tree / "src"
        directories.append(parent / f"directory{number:03}")
        directories[-1].mkdir(parents=True)
    for number in range(_FILES):
        path = source.choice(directories) / f"file{number:04}.c"
        path.write_bytes(source.randbytes(source.randrange(200, 8000)))
    (root / "large").write_bytes(source.randbytes(_READ_MIB << 20))
    git = ["git", "-C", str(tree), "-c", "user.name=b", "-c", "user.email=b@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "tree"]):
        subprocess.run([*git, *command], check=True, stdout=subprocess.DEVNULL)


def _libraries(program: str) -> list[str]:
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return [word for word in listed.split() if word.startswith("/")]


def rootfs(tree: Path) -> bytes:
    """A distribution of busybox and the host's git, with the tree on its own disk at /e."""
    git = shutil.which("git")
    busybox = shutil.which("busybox")
    assert git is not None and busybox is not None, "git and busybox-static are needed"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        tar.add(busybox, "bin/busybox")
        for applet in subprocess.run(
            [busybox, "--list"], check=True, capture_output=True, text=True
        ).stdout.split():
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        for path in (git, *_libraries(git)):
            tar.add(path, path.lstrip("/"))
        for name in ("t", "etc", "proc", "sys", "dev", "run", "tmp", "mnt", "root"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
        texts = {
            "etc/passwd": b"root:x:0:0::/root:/bin/sh\n",
            "etc/wsl.conf": b"[automount]\nenabled = false\n",
            "root/.gitconfig": b"[safe]\ndirectory = *\n",
            "untar.tar": _small_tar(),
            "zeros": random.Random(2).randbytes(_WRITTEN_MIB << 20),
        }
        for name, text in texts.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
        tar.add(tree, "e")
    return buffer.getvalue()


def _small_tar() -> bytes:
    buffer = io.BytesIO()
    source = random.Random(3)
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(_UNTARRED):
            info = tarfile.TarInfo(f"d{number % 30}/file{number}")
            info.size = source.randrange(100, 6000)
            tar.addfile(info, io.BytesIO(source.randbytes(info.size)))
    return buffer.getvalue()


@contextlib.contextmanager
def _virtiofsd(directory: Path, tree: Path) -> Iterator[str]:
    """The socket of a virtiofsd, "" where there is none or it does not run."""
    path = directory / "virtiofs.socket"
    if not os.access(_VIRTIOFSD, os.X_OK):
        yield ""
        return
    options = ["-o", f"source={tree}", "-o", "cache=auto", "-o", "sandbox=chroot"]
    with subprocess.Popen(
        [_VIRTIOFSD, f"--socket-path={path}", *options],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 5
        while not path.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            yield str(path) if path.exists() else ""
        finally:
            process.kill()


class Bench:
    """A machine with every subject in it."""

    def __init__(self, isthmus: Isthmus, tree: Path) -> None:
        self._isthmus = isthmus
        self._tree = tree

    def script(self, text: str) -> str:
        """Run a script as root in the distribution; returns its output. Raises RuntimeError."""
        done = self._isthmus.run("-u", "root", "-e", "sh", "-c", text, check=False)
        if done.returncode:
            raise RuntimeError(f"{text!r}: {done.stderr.decode()}")
        return done.stdout.decode()

    def time(self, command: str) -> float:
        """Seconds that a command takes in the guest."""
        # /proc/uptime counts hundredths of a second, and reading it starts no program.
        script = f"read a x </proc/uptime; {command} || exit 1; read b x </proc/uptime; echo $a $b"
        before, after = self.script(script).split()[-2:]
        return float(after) - float(before)

    def measure(self, subject: Subject, row: Row, rounds: int) -> float:
        """The median of some runs of one row; the subject is mounted for it, and then no more."""
        root = "/e" if subject is EXT4 else "/t"
        command, before = row.command.format(t=root), row.before.format(t=root)
        durations = []
        self.script(subject.mount)
        try:
            if not row.is_cold and not before:
                # Twice: what the first changes, as times of access, the second asks for.
                self.script(f"{command}; {command}")
            for number in range(rounds):
                if row.is_cold and number:
                    self.script(subject.unmount)
                    self.script(subject.mount)
                if before:
                    self.script(before)
                durations.append(self.time(command))
        finally:
            self.script(subject.unmount)
        return statistics.median(durations)

    def events(self) -> float:
        """Milliseconds from a host program's new file to the line of who watches it in Linux."""
        directory = self._tree / "events"
        directory.mkdir()
        native = Path(__file__).parents[1] / "guest" / "native"
        subprocess.run(["make", "-s", "-C", native, "build/listen-test"], check=True)
        shutil.copy(native / "build" / "listen-test", self._tree)
        self.script(OURS.mount)
        durations: list[float] = []
        with subprocess.Popen(
            [BIN / "lx", "-u", "root", "-e", "/t/listen-test", "/t/events"],
            env=self._isthmus.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        ) as watcher:
            assert watcher.stdout is not None
            if watcher.stdout.readline() != b"listening\n":
                raise RuntimeError("the listener has not begun")
            for number in range(_EVENTS):
                time.sleep(0.1)  # alone: what comes at once is put together
                began = time.perf_counter()
                (directory / f"file{number}").touch()
                while f" file{number}\n".encode() not in (line := watcher.stdout.readline()):
                    if not line:
                        raise RuntimeError("the listener has ended")
                durations.append((time.perf_counter() - began) * 1000)
            watcher.terminate()
        self.script(OURS.unmount)
        return statistics.median(durations)


@contextlib.contextmanager
def machine() -> Iterator[Bench]:
    """A machine with the tree, the wrapper around QEMU, and a distribution."""
    with (
        tempfile.TemporaryDirectory(prefix="isthmus-bench-") as name,
        contextlib.ExitStack() as keep,
    ):
        home = Path(name)
        tree = home / "wine" / "drive_c"
        tree.mkdir(parents=True)
        make_tree(tree)
        links = home / "wine" / "dosdevices"
        links.mkdir()
        (links / "c:").symlink_to("../drive_c")
        socket = keep.enter_context(_virtiofsd(home, tree))
        real = shutil.which("qemu-system-x86_64")
        assert real is not None
        wrapper = home / "bin" / "qemu-system-x86_64"
        wrapper.parent.mkdir()
        wrapper.write_text(
            _WRAPPER.format(python=sys.executable, real=real, tree=tree, socket=socket)
        )
        wrapper.chmod(0o755)
        image_tool = shutil.which("qemu-img")
        assert image_tool is not None
        (wrapper.parent / "qemu-img").symlink_to(image_tool)
        (home / "state").mkdir()
        isthmus = Isthmus(str(home / "state"))
        isthmus.environment["WINEPREFIX"] = str(home / "wine")
        isthmus.environment["PATH"] = f"{wrapper.parent}:{os.environ['PATH']}"
        isthmus.run("--import", "bench", str(home / "disk"), "-", input=rootfs(tree))
        try:
            yield Bench(isthmus, tree)
        finally:
            isthmus.end()


def bench_drives(only: Sequence[str] = (), rounds: int = _ROUNDS) -> None:
    """The table; `only` names subjects. Each row is measured on all of them in turn."""
    subjects = [subject for subject in SUBJECTS if not only or subject.name in only]
    with machine() as bench:
        print("\n### Drives\n\nSeconds; lower is better.\n")
        print("| | " + " | ".join(subject.name for subject in subjects) + " |")
        print("| --- |" + " --- |" * len(subjects), flush=True)
        for row in ROWS:
            cells = []
            for subject in subjects:
                try:
                    cells.append(f"{bench.measure(subject, row, rounds):.2f}")
                except RuntimeError as error:
                    print(f"{subject.name}: {row.what}: {error}", file=sys.stderr)
                    cells.append("-")
            print(f"| {row.what} | " + " | ".join(cells) + " |", flush=True)
        if OURS in subjects:
            print(f"\nA host program's new file to inotify in Linux: {bench.events():.0f} ms.")


if __name__ == "__main__":
    bench_drives(sys.argv[2:], int(sys.argv[1]) if sys.argv[1:] else _ROUNDS)
