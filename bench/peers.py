"""Others who start a Debian: debvm, and QEMU by hand, with Debian's kernel for clouds.

Both start the same image, which debvm makes on the host. debvm is measured until ssh runs a command
in it, QEMU by hand until the kernel's first process says something; so is `lx -e true`, which has a
service to start as well. All have the accelerator that Isthmus has chosen.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.footprint import start_from_nothing_s
from bench.harness import Row, print_table
from vm.cache import JsonCache
from vm.find import find_qemu
from vm.probe import choose_accelerator

_ROUNDS = 3
_LIMIT_S = 300.0
_READY = "first-process-runs"
_WRAPPER = """\
#!{python} -I
import os, sys
argv = [word.replace("accel=kvm:tcg", "accel={accelerator}") for word in sys.argv[1:]]
if "host" in argv and {accelerator!r} == "tcg":
    argv[argv.index("host")] = "max"
os.execv({real!r}, [{real!r}, *argv])
"""
_TOOLS = ("debvm-create", "debvm-run", "ssh", "ssh-keygen")


class Peer:
    """The image, and how it is started."""

    def __init__(self, directory: Path, accelerator: str) -> None:
        self._directory = directory
        self._image = directory / "image.ext4"
        self._key = directory / "key"
        self._accelerator = accelerator
        real = shutil.which("qemu-system-x86_64")
        assert real is not None
        self._qemu = directory / "bin" / "qemu-system-x86_64"
        self._qemu.parent.mkdir()
        self._qemu.write_text(
            _WRAPPER.format(python=sys.executable, real=real, accelerator=accelerator)
        )
        self._qemu.chmod(0o755)

    def make(self) -> None:
        """Make the image, from Debian's archive."""
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key)]
        subprocess.run(keygen, check=True)
        options = ["-k", f"{self._key}.pub", "-r", "bookworm", "-o", str(self._image)]
        options += ["--skip=kernel", "--", "--include=linux-image-cloud-amd64", "--quiet"]
        subprocess.run(["debvm-create", *options], check=True, stdout=subprocess.DEVNULL)
        for name in ("vmlinuz", "initrd.img"):
            (self._directory / name).write_bytes(self._read(f"/{name}"))

    def _read(self, link: str) -> bytes:
        """The file in the image that a link of its root directory leads to."""
        debugfs = ["/sbin/debugfs", str(self._image), "-R"]
        status = subprocess.run([*debugfs, f"stat {link}"], check=True, capture_output=True)
        target = status.stdout.decode().partition('Fast link dest: "')[2].partition('"')[0]
        return subprocess.run(
            [*debugfs, f"cat /{target.lstrip('/')}"], check=True, capture_output=True
        ).stdout

    def debvm_s(self) -> float:
        """Seconds until ssh has run a command in it."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        argv = ["debvm-run", "-i", str(self._image), "-s", str(port), "--", "-snapshot"]
        path = f"{self._qemu.parent}:{os.environ['PATH']}"
        started = time.perf_counter()
        with _running(argv, {**os.environ, "PATH": path, "TERM": "dumb"}):
            options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
            options += ["-o", "ConnectTimeout=5", "-o", "LogLevel=QUIET", "-i", str(self._key)]
            ssh = ["ssh", *options, "-p", str(port), "root@127.0.0.1", "true"]
            while subprocess.run(ssh, check=False, stdin=subprocess.DEVNULL).returncode:
                if time.perf_counter() - started > _LIMIT_S:
                    raise TimeoutError("debvm's machine does not answer ssh")
                time.sleep(0.05)
            return time.perf_counter() - started

    def plain_s(self) -> float:
        """Seconds until its kernel's first process has said something."""
        argv = [str(self._qemu), "-nodefaults", "-display", "none", "-no-reboot", "-m", "1G"]
        argv += ["-machine", f"q35,accel={self._accelerator}", "-serial", "stdio", "-snapshot"]
        if self._accelerator == "tcg":
            argv += ["-cpu", "max"]
        argv += ["-kernel", str(self._directory / "vmlinuz")]
        argv += ["-initrd", str(self._directory / "initrd.img")]
        argv += ["-drive", f"format=raw,file={self._image},if=virtio,cache=unsafe"]
        append = "root=/dev/vda ro quiet console=ttyS0 panic=-1 init=/bin/echo -- " + _READY
        started = time.perf_counter()
        with _running([*argv, "-append", append], dict(os.environ)) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip().endswith(_READY.encode()):
                    return time.perf_counter() - started
        raise RuntimeError("Debian's kernel for clouds did not start its first process")


@contextlib.contextmanager
def _running(argv: Sequence[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A machine that is ended afterwards, with all that its command has started."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        process_group=0,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.communicate()


def _accelerator() -> str:
    """The one that Isthmus has chosen on this host."""

    async def choose(cache: JsonCache) -> str:
        report = await choose_accelerator(await find_qemu(cache=cache), cache)
        assert report.chosen is not None
        return str(report.chosen.value)

    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(choose(JsonCache(Path(directory) / "host.json")))


def bench_peers(rounds: int = _ROUNDS) -> None:
    """The table; a line that says why there is none, where something is not installed."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        print(f"\nNot compared with debvm: {', '.join(missing)} missing.")
        return
    ours = start_from_nothing_s()
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as name:
        peer = Peer(Path(name), _accelerator())
        peer.make()
        debvm = statistics.median(peer.debvm_s() for _ in range(rounds))
        plain = statistics.median(peer.plain_s() for _ in range(rounds))
    what = "`lx -e true`, nothing running, a snapshot there"
    rows = [
        Row("debvm, until ssh has run `true`", f"{debvm:.2f} s"),
        Row(what, f"{ours:.2f} s", "debvm's", ours / debvm),
        Row("QEMU by hand, cloud kernel, until its first process", f"{plain:.2f} s"),
        Row(what, f"{ours:.2f} s", "by hand", ours / plain),
    ]
    print_table("From nothing to the first command's end, and others", rows)


if __name__ == "__main__":
    bench_peers()
