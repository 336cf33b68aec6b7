"""`python -m vm.image`: prepare, build and look at what the VM boots. A build tool: it prints."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from vm.image import kernel_tuned, prepare, resolution, update, update_state
from vm.image.archive import ArchiveClient, suites
from vm.image.cache import Cache
from vm.image.errors import ImageError
from vm.image.publish import publish
from vm.image.update_state import Generation
from vm.spec import BootImage

REPORT_INTERVAL_S = 2.0


class Printer:
    """A Progress that prints a line for each step, and for long ones one every two seconds."""

    def __init__(self) -> None:
        self._label = ""
        self._printed = 0.0

    def __call__(self, label: str, done: int, total: int) -> None:
        """Report as Progress says."""
        now = time.monotonic()
        last = total > 0 and done >= total
        if label == self._label and not last and now - self._printed < REPORT_INTERVAL_S:
            return
        if label == self._label and last and self._printed == float("inf"):
            return
        percent = f" {100 * done // total} %" if total else ""
        print(f"{label}{percent}", flush=True)
        self._label, self._printed = label, float("inf") if last else now


def _show(image: BootImage) -> None:
    for name in ("origin", "release", "kernel", "initrd", "system"):
        print(f"{name:8} {getattr(image, name)}")


def _prepare(arguments: argparse.Namespace) -> None:
    _show(prepare.prepare(Printer()))


def _kernel(arguments: argparse.Namespace) -> None:
    """Build the tuned kernel and put it on trial."""
    progress, cache = Printer(), Cache()
    kernel_tuned.check_tools()
    print(f"configuration: {kernel_tuned.CONFIG}\n{kernel_tuned.CONFIG.read_text()}")
    prepare.prepare(progress, cache=cache)  # settles which version of the source it is
    state = update.read_state(cache)
    selected = state.selected
    pinned = selected and resolution.load(cache.root / prepare.RESOLUTIONS, selected.resolution)
    if not selected or not pinned:
        raise SystemExit("the image in use is a release's: there is nothing to build")
    with cache.locked("kernel.lock", on_wait=lambda: progress("waiting for another build", 0, 0)):
        key = kernel_tuned.key(pinned.source.sha256, kernel_tuned.compiler())
        entry = cache.find(kernel_tuned.KIND, key)
        if entry is None:
            client = ArchiveClient(cache.downloads)
            source = client.packages([pinned.source.package], progress, "kernel source")
            deb = source[pinned.source.name]
            jobs = arguments.jobs or os.cpu_count() or 1
            entry = kernel_tuned.build(cache, key, deb, str(pinned.source), jobs, progress)
    generation = Generation(selected.resolution, entry.name)
    update.change_state(cache, lambda state: update_state.propose(state, generation))
    print(f"log and configuration: {entry.path}")
    _show(prepare.prepare(progress, cache=cache))


def _update(arguments: argparse.Namespace) -> None:
    new = update.update(Printer())
    print("there is a newer image: the next start tries it" if new else "nothing newer")


def _export(arguments: argparse.Namespace) -> None:
    progress, cache = Printer(), Cache()
    publish(cache, prepare.prepare(progress, cache=cache), arguments.directory, progress)


def _info(arguments: argparse.Namespace) -> None:
    cache = Cache()
    print(f"cache    {cache.root}")
    print(f"mirrors  {', '.join(suite.address for suite in suites())}")
    state = update.read_state(cache)
    for name in ("good", "candidate", "previous", "rejected"):
        print(f"{name:9} {getattr(state, name)}")
    for entry in cache.entries():
        size = sum(path.stat().st_size for path in entry.path.iterdir())
        print(f"{entry.name}  {size >> 20} MiB  {dict(entry.meta)}")


def main() -> int:
    """Parse the command line and do what it says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m vm.image", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("prepare", help="kernel and system image").set_defaults(run=_prepare)
    commands.add_parser("system", help="the same as prepare").set_defaults(run=_prepare)
    kernel = commands.add_parser("kernel", help="compile the tuned kernel")
    kernel.add_argument("-j", "--jobs", type=int, default=0, help="compilers at a time")
    kernel.set_defaults(run=_kernel)
    commands.add_parser("update", help="look for newer packages").set_defaults(run=_update)
    export = commands.add_parser("export", help="copy the image, for a release")
    export.add_argument("directory", type=Path)
    export.set_defaults(run=_export)
    commands.add_parser("info", help="what there is").set_defaults(run=_info)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except ImageError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
