"""Starting: from nothing to the first command's end, with each kernel there is."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from bench.harness import Row, print_table
from service.errors import ServiceError
from service.machine import Machine
from service.settings import SettingsFile
from vm.image.prepare import prepare_each
from vm.spec import BootImage, KernelOrigin
from wire.agent import Spawn, Spawned
from wire.common import Exited
from wire.frame import Frame
from wire.places import Places

_ROUNDS = 5


class _FixedImage(Machine):
    """A machine that boots a given image, whichever is preferred."""

    def __init__(self, places: Places, image: BootImage) -> None:
        settings = SettingsFile(Path(places.home) / "wslconfig")
        super().__init__(
            places, settings, lambda event: None, {}, lambda vm, link: None, lambda: None
        )
        self._fixed = image

    async def prepare_image(self, report: object) -> BootImage:
        return self._fixed


class _Session:
    """Waits for the end of a process; its output does not matter here."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[Exited] = asyncio.get_running_loop().create_future()

    def on_frame(self, frame: Frame) -> None:
        pass

    def on_exit(self, exited: Exited) -> None:
        self.ended.set_result(exited)

    def on_lost(self, error: ServiceError) -> None:
        self.ended.set_exception(error)


async def _boot_once(image: BootImage) -> float:
    """Seconds from the machine's start to the end of its first command."""
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as home:
        places = Places(home, home)
        Path(places.logs).mkdir()
        machine = _FixedImage(places, image)
        started = time.perf_counter()
        link = await machine.ensure_running(lambda *progress: None)
        session = _Session()
        spawn = Spawn(
            session=link.open_session(session), distribution="", argv=("/bin/busybox", "true")
        )
        await link.request(spawn, Spawned)
        await session.ended
        elapsed = time.perf_counter() - started
        await machine.shutdown(force=True)
        return elapsed


def bench_boot() -> None:
    """Boot to the first command, tuned kernel against Debian's."""
    medians: dict[KernelOrigin, float] = {}
    for image in prepare_each():
        times = [asyncio.run(_boot_once(image)) for _ in range(_ROUNDS)]
        medians[image.origin] = statistics.median(times)
    stock = medians[KernelOrigin.DEBIAN]
    rows = [Row("Debian's kernel, q35", f"{stock:.2f} s")]
    tuned = medians.get(KernelOrigin.TUNED)
    if tuned is None:
        rows.append(Row("our kernel", "not built: `make kernel`"))
    else:
        ratio = tuned / stock
        rows.append(Row("our kernel, microvm", f"{tuned:.2f} s", "Debian's", ratio, "≤ 0.6"))
    print_table("Boot to the first command's end", rows)
