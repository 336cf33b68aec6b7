"""Starting: from nothing to the first command's end, with each kernel, and from a snapshot."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.footprint import start_from_nothing_s
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
    """A machine that boots a given image, whichever is preferred; or goes on from its snapshot."""

    def __init__(self, places: Places, image: BootImage, *, instant: bool) -> None:
        wslconfig = Path(places.home) / "wslconfig"
        wslconfig.write_text(f"[general]\ninstantStart={str(instant).lower()}\n")
        settings = SettingsFile(wslconfig)
        super().__init__(
            places, settings, lambda event: None, {}, lambda vm, link: None, lambda: None
        )
        self._fixed = image

    async def prepare_image(self, report: object) -> BootImage:
        return self._fixed

    async def wait_snapshot(self) -> None:
        """Wait until the snapshot that a slow start has asked for is made."""
        await self._snapshots.wait_made()


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


async def _start_once(image: BootImage, *, instant: bool = False) -> float:
    """Seconds from the machine's start to the end of its first command.

    `instant`: from a snapshot, which is there for the next start if it is not for this one.
    """
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as home:
        places = Places(home, home)
        Path(places.logs).mkdir()
        machine = _FixedImage(places, image, instant=instant)
        started = time.perf_counter()
        link = await machine.ensure_running(lambda *progress: None)
        session = _Session()
        spawn = Spawn(
            session=link.open_session(session), distribution="", argv=("/bin/busybox", "true")
        )
        await link.request(spawn, Spawned)
        await session.ended
        elapsed = time.perf_counter() - started
        await machine.wait_snapshot()
        await machine.close()
        return elapsed


def bench_boot() -> None:
    """To the first command: tuned kernel and snapshots against the boot of Debian's kernel."""
    rows: list[Row] = []
    medians: dict[KernelOrigin, float] = {}
    for image in prepare_each():
        times = [asyncio.run(_start_once(image)) for _ in range(_ROUNDS)]
        medians[image.origin] = statistics.median(times)
        asyncio.run(_start_once(image, instant=True))
        woken = [asyncio.run(_start_once(image, instant=True)) for _ in range(_ROUNDS)]
        rows += _rows(image.origin, medians, statistics.median(woken))
    if KernelOrigin.TUNED not in medians:
        rows.append(Row("our kernel", "not built: `make kernel`"))
    started = start_from_nothing_s()
    ratio = started / medians[KernelOrigin.DEBIAN]
    what = "`lx -e true`, nothing running, a snapshot there"
    rows.append(Row(what, f"{started:.2f} s", "Debian's", ratio, "≤ 0.25, < 0.6 s"))
    print_table("From nothing to the first command's end", rows)


def _rows(origin: KernelOrigin, medians: Mapping[KernelOrigin, float], woken: float) -> list[Row]:
    """The rows of one kernel; Debian's comes first, and is what all are compared with."""
    stock, cold = medians[KernelOrigin.DEBIAN], medians[origin]
    if origin is KernelOrigin.DEBIAN:
        rows = [Row("Debian's kernel, q35", f"{cold:.2f} s")]
    else:
        rows = [Row("our kernel, microvm", f"{cold:.2f} s", "Debian's", cold / stock, "≤ 0.6")]
    ratio = woken / stock
    return [*rows, Row("the same from a snapshot", f"{woken:.2f} s", "Debian's", ratio, "≤ 0.25")]
