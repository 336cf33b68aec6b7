"""`make wine-lock`: choose the newest Windows packages, and pin them in requirements.txt."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
LOCK = HERE / "requirements.txt"
TARGET = ("--platform", "win_amd64", "--python-version", "3.11", "--only-binary", ":all:")
HEADER = f"# Made by `make wine-lock` from pyproject.toml and {HERE.name}/requirements.in.\n"
OURS = "isthmus"


def main() -> None:
    """Ask the package index, and write the lock file."""
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]
    # Without their markers, which pip would judge by this host.
    wanted = [
        line.partition(";")[0]
        for line in project["dependencies"]
        if not line.startswith(OURS) and "'linux'" not in line
    ]
    with tempfile.TemporaryDirectory() as directory:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", *TARGET, "--dest", directory]
        subprocess.run([*pip, "-r", str(HERE / "requirements.in"), *wanted], check=True)
        lines = []
        for wheel in sorted(Path(directory).iterdir()):
            name, version = wheel.name.split("-")[:2]
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            lines.append(f"{name.replace('_', '-')}=={version} --hash=sha256:{digest}\n")
    LOCK.write_text(HEADER + "".join(lines))


if __name__ == "__main__":
    main()
