"""The program installed once more, beside the checkout: of another version, or for another user."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import venv
from pathlib import Path

from wire.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("guest", "interop", "netbridge", "service", "shell", "vm", "wire")
_NOT_RUN = ("mypy*", "*__mypyc*", "hypothesis*", "pip*", "ruff*", "setuptools*", "__editable__*")
"""Tools that are large and that Isthmus does not import."""


def install(place: Path, *, version: str = VERSION) -> Path:
    """Install into the directory `place`, which must exist; returns its `isthmus`.

    Everybody who can enter `place` can run it.
    """
    packages, libraries = place / "packages", place / "libraries"
    ignored = shutil.ignore_patterns("__pycache__")
    for package in _PACKAGES:
        shutil.copytree(ROOT / package, packages / package, ignore=ignored)
    ignored = shutil.ignore_patterns("__pycache__", *_NOT_RUN)
    shutil.copytree(sysconfig.get_path("purelib"), libraries, ignore=ignored)
    if version != VERSION:
        file = packages / "wire" / "version.py"
        text = file.read_text()
        assert VERSION in text
        file.write_text(text.replace(VERSION, version))
    venv.create(place / "venv", symlinks=True)
    name = f"python3.{sys.version_info.minor}"
    own = place / "venv" / "lib" / name / "site-packages" / "isthmus.pth"
    own.write_text(f"{packages}\n{libraries}\n")
    program = place / "isthmus"
    interpreter = place / "venv" / "bin" / "python3"
    program.write_text(f"#!{interpreter} -I\nfrom shell.main import main\nmain()\n")
    program.chmod(0o755)
    return program
