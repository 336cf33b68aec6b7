"""Isthmus installed as a Windows user installs it: Python, then `pip install isthmus`.

Nothing of the checkout is on the path of what runs: the wheels of a release are built and
installed, with QEMU and every other dependency as Windows packages of the index.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from tests.integration.cli_harness import PROGRESS
from tests.wine.windows import TIMEOUT_S, Completed, Windows
from tests.wine_harness import COMPILER
from vm.image.cache import cache_directory

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON_LOCK, PACKAGES_LOCK = HERE / "python.txt", HERE / "requirements.txt"
DOWNLOAD_TIMEOUT_S = 600
INSTALL_TIMEOUT_S = 300
PYTHON_DIRECTORY = r"C:\Program Files\Python311"
"""A path with a blank: the default of Python's installer for all users."""


def fetch() -> Path:
    """The directory with `python/` (the interpreter) and `wheels/`, downloaded once.

    By pip, which checks the digests of both lock files.
    """
    locks = PYTHON_LOCK.read_bytes() + PACKAGES_LOCK.read_bytes()
    target = cache_directory() / "wine" / hashlib.sha256(locks).hexdigest()[:20]
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                work = Path(scratch, "work")
                _download(work)
                work.rename(target)
    return target


def _download(directory: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--require-hashes"]
    windows = ("--platform", "win_amd64", "--python-version", "3.11", "--only-binary", ":all:")
    for lock, options in ((PACKAGES_LOCK, windows), (PYTHON_LOCK, ("--no-binary", ":all:"))):
        subprocess.run(
            [*pip, *options, "--requirement", str(lock), "--dest", str(directory / "wheels")],
            check=True,
            timeout=DOWNLOAD_TIMEOUT_S,
        )
    (source,) = (directory / "wheels").glob("*.tar.gz")
    with tarfile.open(source) as archive:
        (name,) = (name for name in archive.getnames() if name.endswith("/data.zip"))
        member = archive.extractfile(name)
        assert member is not None
        data = member.read()
    with zipfile.ZipFile(io.BytesIO(data)) as python:
        python.extractall(directory / "data")
    (program,) = (directory / "data").rglob("python.exe")
    program.parent.rename(directory / "python")
    source.unlink()


def build_wheels(directory: Path) -> Path:
    """The wheels of a release, made from this checkout."""
    subprocess.run(
        [str(ROOT / "tools/build-wheels"), str(directory)], check=True, timeout=INSTALL_TIMEOUT_S
    )
    return directory


class Installation:
    """Isthmus in a Windows, with what tests of it need."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.python = PYTHON_DIRECTORY + r"\python.exe"
        self.isthmus = PYTHON_DIRECTORY + r"\Scripts\isthmus.exe"

    @property
    def directory(self) -> Path:
        """Python's directory, from outside."""
        return self.windows.unix_path(PYTHON_DIRECTORY)

    def run(
        self,
        *args: str,
        input: bytes = b"",
        timeout: float = TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Completed:
        """Run `isthmus args…` to its end."""
        return self.windows.run(
            self.isthmus, *args, input=input, timeout=timeout, environment=environment, cwd=cwd
        )

    def ok(self, *args: str, input: bytes = b"", timeout: float = TIMEOUT_S) -> bytes:
        """Run a command that must succeed without complaint; returns its output."""
        done = self.run(*args, input=input, timeout=timeout)
        lines = done.stderr.splitlines()
        complaints = [line for line in lines if not line.startswith(PROGRESS)]
        assert (done.status, complaints) == (0, []), (args, done, self.logs())
        return done.stdout

    def text(self, *args: str) -> str:
        """As `ok`, its output decoded, with Unix line ends, and without the last one."""
        return self.ok(*args).decode().replace("\r\n", "\n").removesuffix("\n")

    @property
    def home(self) -> Path:
        """Isthmus's directory of this user, from outside."""
        return self.windows.home / "AppData" / "Local" / "isthmus"

    def logs(self) -> str:
        """The ends of the service's log and of the machine's console."""
        texts = []
        for name in ("service.log", "serial.log"):
            with contextlib.suppress(OSError):
                data = (self.home / "logs" / name).read_bytes()[-6000:]
                texts.append(f"-- {name} --\n" + data.decode("utf-8", "replace"))
        return "\n".join(texts)

    def install(self, fetched: Path, wheels: Path) -> None:
        """Unpack Python, and let pip install `isthmus` and the test tools."""
        shutil.copytree(fetched / "python", self.directory)
        add_random_numbers(self.windows)
        # The embeddable Python reads its path from this file, which leaves packages out.
        (pth,) = self.directory.glob("python*._pth")
        pth.write_text(f"{pth.stem}.zip\n.\nLib\\site-packages\nimport site\n")
        (pip,) = (fetched / "wheels").glob("pip-*.whl")
        links = [
            f"--find-links={self.windows.path(place)}" for place in (fetched / "wheels", wheels)
        ]
        packages = ["isthmus", "pytest", "pytest-timeout", "hypothesis"]
        done = self.windows.run(
            *(self.python, self.windows.path(pip) + "/pip", "install", "--no-index", *links),
            *("--quiet", "--no-warn-script-location", *packages),
            timeout=INSTALL_TIMEOUT_S,
        )
        if done.status:
            raise RuntimeError(
                f"pip could not install Isthmus for Windows; `make wine-lock` renews the pinned "
                f"packages.\n{done.text}{done.complaint}"
            )


def add_random_numbers(windows: Windows) -> None:
    """Give a Wine that has no bcryptprimitives.dll the part of it that our dependencies load."""
    target = windows.unix_path(r"C:\windows\system32\bcryptprimitives.dll")
    if not target.exists():
        argv = [COMPILER, "-shared", "-O1", "-Wall", "-Werror", "-o", str(target)]
        argv += [str(HERE / "bcryptprimitives.c"), "-ladvapi32"]
        subprocess.run(argv, check=True, timeout=TIMEOUT_S)


def require_wine() -> None:
    """Raises RuntimeError where there is no Wine, or no compiler for its programs."""
    for program in ("wine", "wineserver", COMPILER):
        if shutil.which(program, path=os.environ.get("PATH")) is None:
            raise RuntimeError(f"{program} is not installed (make test-packages)")
