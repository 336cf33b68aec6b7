"""Two users on one host, and hosts on which something is missing: kept apart, said clearly."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli_harness import (
    BOOT_TIMEOUT_S,
    PROGRAM,
    TINY,
    Isthmus,
    make_tiny,
    require,
)
from tests.integration.installed import install
from vm.image.cache import write_manifest
from vm.image.prepare import prepare

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

BOB = 54321
"""A user id that nobody has: all he can do is what others may."""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that everybody can enter, unlike pytest's."""
    path = Path(tempfile.mkdtemp(prefix="isthmus-users-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def program(place: Path) -> Path:
    """An installation that everybody can run, with an image that everybody can read."""
    require(os.geteuid() == 0, "only root can be another user")
    directory = place / "program"
    directory.mkdir(mode=0o755)
    old_mask = os.umask(0o022)
    try:
        image = prepare()
        released = place / "image"
        released.mkdir()
        for file in filter(None, (image.kernel, image.initrd, image.system)):
            shutil.copyfile(file, released / file.name)
        write_manifest(released, {"origin": image.origin.value, "release": image.release})
        for file in released.iterdir():
            file.chmod(0o644)
        return install(directory)
    finally:
        os.umask(old_mask)


class BobsIsthmus(Isthmus):
    """An Isthmus of another user's."""

    def __init__(self, home: Path, program: Path, image: Path) -> None:
        home.parent.mkdir(mode=0o700)
        os.chown(home.parent, BOB, BOB)
        self._program = program
        super().__init__(home)
        home.mkdir(mode=0o700, exist_ok=True)
        os.chown(home, BOB, BOB)
        os.chmod(self.environment["ISTHMUS_WSLCONFIG"], 0o644)
        self.environment |= {
            "HOME": str(home.parent),
            "ISTHMUS_CACHE": str(home.parent / "cache"),
            "ISTHMUS_IMAGE": str(image),
        }

    def run(  # type: ignore[override]
        self, *args: str, input: bytes = b"", timeout: float = BOOT_TIMEOUT_S
    ) -> subprocess.CompletedProcess[bytes]:
        return as_bob(self._program, *args, env=self.environment, input=input, timeout=timeout)


def as_bob(
    *argv: str | Path, env: dict[str, str], input: bytes = b"", timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """Run a program as the other user."""
    return subprocess.run(
        ["setpriv", f"--reuid={BOB}", f"--regid={BOB}", "--clear-groups", *argv],
        input=input,
        capture_output=True,
        timeout=timeout,
        env=env,
        cwd="/",
        check=False,
    )


@pytest.fixture
def bob(place: Path, program: Path, request: pytest.FixtureRequest) -> Iterator[BobsIsthmus]:
    """Bob's Isthmus, in which nothing has happened yet."""
    directory = place / f"bob-{len(list(place.iterdir()))}"
    isthmus = BobsIsthmus(directory / "home", program, place / "image")
    try:
        yield isthmus
    finally:
        isthmus.end()


# -- apart -----------------------------------------------------------------------------------------


def test_two_users_at_once(cli: Isthmus, bob: BobsIsthmus, place: Path) -> None:
    """Each has a service and a machine; neither gets at what is the other's."""
    tar = make_tiny(place / "tiny.tar")
    tar.chmod(0o644)
    bob.make(TINY, tar)
    boot_id = ("-e", "cat", "/proc/sys/kernel/random/boot_id")
    assert cli.text(*boot_id) != bob.text(*boot_id)
    for isthmus, uid in ((cli, os.getuid()), (bob, BOB)):
        assert isthmus.service().uids().effective == uid
        assert isthmus.qemu().uids().effective == uid
        # Bob is root in his own Linux, and nowhere else.
        assert isthmus.text("-e", "id", "-u") == "0"

    run = Path(cli.json("--status", "--json")["directory"]) / "run"
    run = run if run.exists() else next(Path("/tmp").glob(f"isthmus-{os.getuid()}-*"))
    closed = [cli.home, cli.home / "distributions.json", cli.home / "logs" / "service.log"]
    closed += [*cli.disks(), run, run / "service"]
    pid = cli.qemu().pid
    closed += [Path(f"/proc/{pid}/environ"), Path(f"/proc/{pid}/fd"), Path(f"/proc/{pid}/mem")]
    for path in closed:
        done = as_bob("cat", path, env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
        assert b"Permission denied" in done.stderr, (path, done)

    stolen = dict(bob.environment, ISTHMUS_HOME=str(cli.home))
    done = as_bob(bob._program, "-e", "true", env=stolen)
    assert done.returncode == 253, done
    assert b"Permission denied" in done.stderr
    assert b"ISTHMUS_HOME" in done.stderr
    assert cli.text("-e", "echo", "undisturbed") == "undisturbed"


CONNECT = """
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(bytes.fromhex(sys.argv[2]))
sys.stdout.write(repr(sock.recv(100)))
"""


def test_the_service_does_not_rely_on_the_directory_alone(cli: Isthmus, bob: BobsIsthmus) -> None:
    """Let in by mistake, another user is not heard: the service asks the kernel who it is."""
    cli.ok("-e", "true")
    # No path of pytest's can be entered, so the socket gets a name where everybody may go.
    run = Path(cli.json("--status", "--json")["directory"]) / "run"
    run = run if run.exists() else next(Path("/tmp").glob(f"isthmus-{os.getuid()}-*"))
    name = bob.home.parent.parent / "service"
    os.link(run / "service", name)
    os.chmod(name, 0o666)
    try:
        done = as_bob(
            bob._program.parent / "venv" / "bin" / "python3",
            *("-c", CONNECT, str(name), "00" * 64),
            env={},
        )
        heard = done.stdout + done.stderr
        assert b"b''" in heard or b"BrokenPipe" in heard or b"ConnectionReset" in heard, done
        assert b"PermissionError" not in heard
    finally:
        os.chmod(name, 0o600)
        name.unlink()
    assert cli.text("-e", "echo", "works") == "works"


def test_a_run_directory_that_somebody_else_has_made(bob: BobsIsthmus) -> None:
    """In /tmp, under the name that Bob's would have: whoever listens there, Bob does not talk."""
    long_home = bob.home.parent / ("x" * 90)
    bob.environment["ISTHMUS_HOME"] = str(long_home)
    assert bob.run("--status").returncode == 0
    (run,) = Path("/tmp").glob(f"isthmus-{BOB}-*")
    bob.home = long_home
    bob.end()
    shutil.rmtree(run)
    run.mkdir(mode=0o777)
    run.chmod(0o777)
    try:
        done = bob.run("--status")
        assert done.returncode == 253, done
        assert b"belongs to another user" in done.stderr
    finally:
        shutil.rmtree(run)


# -- state that cannot be used ---------------------------------------------------------------------


def test_a_state_directory_that_is_read_only(bob: BobsIsthmus) -> None:
    bob.home.chmod(0o500)
    done = bob.run("--list")
    assert done.returncode == 253, done
    said = done.stderr.decode()
    assert str(bob.home) in said and "Permission denied" in said and "ISTHMUS_HOME" in said
    assert "Traceback" not in said


def test_a_state_directory_that_becomes_read_only(bob: BobsIsthmus) -> None:
    """What needs no change goes on; a change is refused and undone."""
    assert bob.run("--status").returncode == 0
    bob.home.chmod(0o500)
    try:
        assert bob.run("--list").returncode == 255  # nothing is installed: as ever
        done = bob.run("--import", "new", str(bob.home / "new"), "/dev/null")
        assert done.returncode == 255
        said = done.stderr.decode()
        assert "Permission denied" in said or "writable" in said
        assert "Traceback" not in said and "bug" not in said
    finally:
        bob.home.chmod(0o700)
    assert not (bob.home / "new").exists()


def test_a_registry_that_may_not_be_read(bob: BobsIsthmus) -> None:
    """It is not damaged as far as anybody knows, so it stays as it is."""
    assert bob.run("--status").returncode == 0
    bob.end()
    registry = bob.home / "distributions.json"
    registry.write_bytes(b'{"version": 1, "default": "", "distributions": []}')
    registry.chmod(0o000)  # of root's, too
    done = bob.run("--list")
    assert done.returncode == 253, done
    assert b"list of distributions could not be read" in done.stderr
    assert b"Make it readable" in done.stderr
    assert stat.S_IMODE(registry.stat().st_mode) == 0
    assert json.loads(registry.read_bytes())["version"] == 1


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"{", b'{"version": 99}'])
def test_a_registry_that_cannot_be_understood(fresh: Isthmus, content: bytes) -> None:
    """It is set aside and never overwritten: it is the only record of where the disks are."""
    fresh.home.mkdir(parents=True, exist_ok=True)
    (fresh.home / "distributions.json").write_bytes(content)
    done = fresh.run("--list")
    assert done.returncode == 253, done
    (kept,) = fresh.home.glob("distributions.json.damaged-*")
    said = done.stderr.decode()
    assert str(kept) in said and "--import-in-place" in said
    assert kept.read_bytes() == content
    assert b"--install" in fresh.run("--list").stderr
    assert kept.read_bytes() == content


# -- hosts that lack something ---------------------------------------------------------------------


def test_no_qemu(fresh: Isthmus) -> None:
    fresh.environment["ISTHMUS_QEMU"] = str(fresh.home / "nowhere")
    done = fresh.run("--system", "-e", "true")
    assert done.returncode == 255, done
    said = done.stderr.decode()
    assert "was not found" in said and "ISTHMUS_QEMU" in said and "apt install" in said
    assert said.splitlines()[-1].endswith("ISTHMUS_E_VM")
    assert fresh.run("--list").returncode == 255  # the service goes on


def test_too_little_memory(fresh: Isthmus) -> None:
    """The host refuses the guest's memory; what to do about it is said, and doing it helps."""
    wslconfig = Path(fresh.environment["ISTHMUS_WSLCONFIG"])
    wslconfig.write_text("[wsl2]\nmemory=4GB\nswap=0\n")
    limited = 'ulimit -v 3000000; exec "$0" "$@"'
    done = subprocess.run(
        ["bash", "-c", limited, PROGRAM, "--system", "-e", "true"],
        env=fresh.environment,
        capture_output=True,
        timeout=BOOT_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 255, done
    said = done.stderr.decode()
    assert "memory" in said and "give the machine less" in said
    assert not fresh.qemus()
    wslconfig.write_text("[wsl2]\nmemory=512MB\nswap=0\n")
    assert fresh.text("--system", "-e", "echo", "works", timeout=BOOT_TIMEOUT_S) == "works"
