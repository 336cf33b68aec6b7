"""The package is upgraded while the service of the old one runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.cli_harness import BOOT_TIMEOUT_S, TINY, Isthmus, is_gone, wait_until
from tests.integration.installed import install
from wire.version import VERSION

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

OLD, NEW = VERSION, "99.0.1"


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another version of the program, installed beside ours: its `isthmus`."""
    return install(tmp_path_factory.mktemp("upgrade"), version=NEW)


def newer(
    isthmus: Isthmus, upgraded: Path, *args: str, input: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [upgraded, *args],
        env=isthmus.environment,
        input=input,
        capture_output=True,
        timeout=BOOT_TIMEOUT_S,
        check=False,
    )


def test_an_idle_service_makes_way(fresh: Isthmus, upgraded: Path) -> None:
    """Nobody notices; and back again, as whoever goes back to the old version expects."""
    fresh.ok("--status")
    old = fresh.service()
    done = newer(fresh, upgraded, "--status", "--json")
    assert (done.returncode, done.stderr) == (0, b""), done
    assert NEW.encode() in done.stdout
    assert is_gone(old)
    assert fresh.service().cmdline()[0].startswith(str(upgraded.parent))
    assert fresh.json("--status", "--json")["version"] == OLD


def test_what_runs_is_not_ended_by_an_upgrade(
    fresh: Isthmus, upgraded: Path, tiny_tar: Path
) -> None:
    fresh.make(TINY, tiny_tar)
    service, qemu = fresh.service(), fresh.qemu()
    with fresh.started("-e", "sh", "-c", "echo ready; cat", stdin=subprocess.PIPE) as command:
        assert command.stdout.readline() == b"ready\n"
        done = newer(fresh, upgraded, "-e", "true")
        assert done.returncode == 255
        said = done.stderr.decode()
        assert OLD in said and NEW in said and TINY in said and "--shutdown" in said
        assert "Error code: Wsl/Service/CreateInstance/ISTHMUS_E_VERSION" in said.splitlines()
        version = newer(fresh, upgraded, "--version")
        assert (version.returncode, version.stderr) == (0, b"")
        assert NEW.encode() in version.stdout
        command.stdin.write(b"undisturbed\n")
        command.stdin.close()
        assert command.stdout.read() == b"undisturbed\n"
        assert command.status() == 0
    fresh.ok("--terminate", TINY)
    # The machine runs, and nothing in it: the input of the first new command is not lost.
    done = newer(fresh, upgraded, "-e", "cat", input=b"every byte")
    assert (done.returncode, done.stdout) == (0, b"every byte"), done
    assert is_gone(service) and is_gone(qemu)
    assert len(fresh.services()) == len(fresh.qemus()) == 1


def test_shutdown_of_the_new_version_ends_the_old_service(fresh: Isthmus, upgraded: Path) -> None:
    with fresh.started("--system", "-e", "sh", "-c", "echo ready; sleep 300") as command:
        assert command.stdout.readline() == b"ready\n"
        old = fresh.service()
        done = newer(fresh, upgraded, "--shutdown")
        assert (done.returncode, done.stderr) == (0, b"")
        assert command.status() == 252
    wait_until(lambda: is_gone(old), "the old service to end")
    assert not fresh.qemus()


def test_an_import_after_an_upgrade_reads_its_input_once(
    fresh: Isthmus, upgraded: Path, tiny_tar: Path
) -> None:
    fresh.ok("--status")
    place = fresh.home / "places" / TINY
    done = newer(fresh, upgraded, "--import", TINY, str(place), "-", input=tiny_tar.read_bytes())
    assert done.returncode == 0, done
    assert newer(fresh, upgraded, "-e", "echo", "works").stdout == b"works\n"
