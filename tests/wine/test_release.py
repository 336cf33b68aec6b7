"""A release's wheels: what is in them, and that they are all it takes, on Linux too."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.cli_harness import BOOT_TIMEOUT_S, TINY, require
from vm.image.kernel_debian import META_PACKAGE
from vm.image.publish import LICENCES, SBOM, SOURCES

pytestmark = pytest.mark.wine

IMAGE = "isthmus_image"
PROGRAMS = ("qemu-system-x86_64", "qemu-img")
"""All that a host must have, beside Python."""
INSTALL_TIMEOUT_S = 300


@pytest.fixture(scope="module")
def image(wheels: Path) -> Iterator[zipfile.ZipFile]:
    """The wheel of the image, opened."""
    (path,) = wheels.glob("isthmus_image-*.whl")
    with zipfile.ZipFile(path) as wheel:
        yield wheel


def test_every_package_has_its_licence_and_its_source(image: zipfile.ZipFile) -> None:
    document = json.loads(image.read(f"{IMAGE}/{SBOM}"))
    offer = image.read(f"{IMAGE}/{SOURCES}").decode()
    names = [package["name"] for package in document["packages"]]
    assert {"busybox-static", "libc6", "libgcc-s1"} <= set(names)
    assert any(name.startswith("linux-") for name in names), "and a kernel"
    for package in document["packages"]:
        name, version = package["name"], package["versionInfo"]
        assert version in offer, f"the offer leaves {name} {version} out"
        if not name.startswith("linux-source"):  # the sources themselves are not shipped
            assert image.read(f"{IMAGE}/{LICENCES}/{name}").strip(), name
    assert META_PACKAGE not in names
    assert b"GNU GENERAL PUBLIC LICENSE" in image.read(f"{IMAGE}/{LICENCES}/common/GPL-2")


def test_every_file_is_what_the_manifest_says(image: zipfile.ZipFile) -> None:
    manifest = json.loads(image.read(f"{IMAGE}/manifest.json"))
    for name in ("bzImage", "system.erofs", "kernel.config", SBOM, SOURCES):
        data = image.read(f"{IMAGE}/{name}")
        recorded = manifest["files"][name]
        assert (len(data), hashlib.sha256(data).hexdigest()) == (
            recorded["size"],
            recorded["sha256"],
        )


class Bare:
    """Isthmus installed from a release where there is no compiler, no checkout and no cache."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            "PATH": str(directory / "bin"),
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "ISTHMUS_HOME": str(directory / "home"),
            "ISTHMUS_CACHE": str(directory / "cache"),
        }

    def install(self, wheels: Path) -> None:
        """Make the environment, and let pip fetch what the wheels depend on."""
        (self.directory / "bin").mkdir(parents=True)
        for name in PROGRAMS:
            found = shutil.which(name)
            require(found is not None, f"{name} is not installed")
            assert found is not None
            (self.directory / "bin" / name).symlink_to(found)
        venv = self.directory / "venv"
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True, timeout=120)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        pip += ["--disable-pip-version-check", "--find-links", str(wheels)]
        environment = {**os.environ, "PATH": self.environment["PATH"]}  # pip's proxies and mirrors
        subprocess.run(
            [*pip, "isthmus", "isthmus-image"],
            check=True,
            timeout=INSTALL_TIMEOUT_S,
            env=environment,
        )

    def run(self, *args: str, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run `isthmus args…` to its end."""
        return subprocess.run(
            [str(self.directory / "venv" / "bin" / "isthmus"), *args],
            input=input,
            capture_output=True,
            timeout=BOOT_TIMEOUT_S,
            env=self.environment,
            cwd="/",
            check=False,
        )

    def end(self) -> None:
        """Shut the machine down, and end the service."""
        self.run("--shutdown")
        for process in psutil.process_iter(["cmdline"]):
            if self.environment["ISTHMUS_HOME"] in (process.info["cmdline"] or ()):
                process.terminate()
                process.wait(60)

    def ok(self, *args: str, input: bytes = b"") -> bytes:
        """The output of a command that must succeed."""
        done = self.run(*args, input=input)
        assert done.returncode == 0, (args, done)
        return done.stdout


@pytest.fixture(scope="module")
def bare(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    """A `Bare` with the release installed; its service ends with the tests."""
    installed = Bare(tmp_path_factory.mktemp("bare"))
    installed.install(wheels)
    try:
        yield installed
    finally:
        installed.end()
        shutil.rmtree(installed.directory)


def test_it_runs_where_nothing_can_be_built(bare: Bare, tiny_tar: Path) -> None:
    for name in ("cc", "gcc", "musl-gcc", "make", "mkfs.erofs", "mmdebstrap"):
        assert shutil.which(name, path=bare.environment["PATH"]) is None
    place = bare.directory / TINY
    bare.ok("--import", TINY, str(place), str(tiny_tar))
    assert bare.run("-e", "sh", "-c", "exit 42").returncode == 42
    boot_id = bare.ok("-e", "cat", "/proc/sys/kernel/random/boot_id")
    assert boot_id != Path("/proc/sys/kernel/random/boot_id").read_bytes()
    data = hashlib.shake_256(b"release").digest(3_000_000)
    digest = bare.ok("-e", "sha256sum", input=data).split()[0].decode()
    assert digest == hashlib.sha256(data).hexdigest()
    bare.ok("-e", "sh", "-c", "echo kept > /root/kept")
    bare.ok("--shutdown")
    assert bare.ok("-e", "cat", "/root/kept") == b"kept\n"
    # What it boots came with the release: nothing was fetched or built.
    built = [path.name for path in (bare.directory / "cache").glob("entries/*")]
    assert [name for name in built if not name.startswith("snapshot")] == []
    assert not (bare.directory / "cache" / "downloads").exists()
