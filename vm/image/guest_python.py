"""Running the image's own Python while the image is made: byte code, and the agent's bundle.

It runs on the build host through the image's own dynamic loader, without root and without a
chroot. So byte code is always of the version that will read it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from vm.image import packages
from vm.image.progress import Progress, silent
from vm.image.tools import run_tool

CODE_DIRECTORY = "usr/lib/isthmus"
"""Where wire, guest and start.py are in the image."""
LIBRARY_DIRECTORIES = ("usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib")
LOADER = "usr/lib64/ld-linux-x86-64.so.2"
START = f"{CODE_DIRECTORY}/start"
BUNDLE = f"{CODE_DIRECTORY}/agent.bundle"
TIMEOUT_S = 600

_WRITE_BUNDLE = """
import importlib.util, marshal, sys
root, code, target = sys.argv[1:]
sys.path.insert(0, f"{root}/{code}")
before = set(sys.modules)
import guest.agent.main
index, body = {}, b""
for name, module in sorted(sys.modules.items()):
    spec = module.__spec__
    if name in before or spec is None or not spec.cached or not spec.origin.endswith(".py"):
        continue
    with open(spec.cached, "rb") as file:
        data = file.read()[16:]  # after magic number, flags and hash (PEP 552)
    is_package = spec.submodule_search_locations is not None
    index[name] = (spec.origin.removeprefix(root), is_package, len(body), len(body) + len(data))
    body += data
packed = marshal.dumps(index)
with open(target, "wb") as file:
    file.write(len(packed).to_bytes(4, "little") + packed + body)
"""


def run_guest_python(step: str, root: Path, arguments: Sequence[str]) -> str:
    """Run the Python of the tree at `root`; returns what it prints.

    Raises BuildFailed, named by `step`.
    """
    argv = [str(root / LOADER), "--library-path", str(root / LIBRARY_DIRECTORIES[0])]
    argv += [str(root / "usr/bin" / packages.PYTHON), "-S", "-s", "-P", "-B", *arguments]
    environment = {"PYTHONHOME": str(root / "usr"), "PYTHONHASHSEED": "0"}
    return run_tool(step, argv, timeout_s=TIMEOUT_S, environment=environment)


def compile_python(root: Path, directory: str, progress: Progress = silent) -> None:
    """Compile every module below `root`/`directory`.

    Into unchecked hash-based .pyc files (PEP 552): the guest neither looks at the sources nor
    could write byte code, its root being read-only. Raises BuildFailed.
    """
    progress("compiling Python", 0, 1)
    options = ["-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    options += ["-s", str(root), "-p", "/", str(root / directory)]
    run_guest_python("compiling Python for the guest", root, options)
    progress("compiling Python", 1, 1)


def bundle_agent(root: Path) -> None:
    """Write what the agent imports into one file, and its starter beside it.

    After `compile_python`. Raises BuildFailed, for one when the agent cannot be imported.
    """
    arguments = ["-c", _WRITE_BUNDLE, str(root), CODE_DIRECTORY, str(root / BUNDLE)]
    run_guest_python("bundling the agent", root, arguments)
    # Run by its path, a module is compiled each time, unless it is byte code itself.
    version = packages.PYTHON.removeprefix("python").replace(".", "")
    start = root / START
    compiled = start.parent / "__pycache__" / f"{start.name}.cpython-{version}.pyc"
    shutil.copyfile(compiled, start.with_suffix(".pyc"))
