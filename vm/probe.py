"""Which accelerator works here, found out by running a guest.

That a device opens proves little: there are hosts whose /dev/kvm answers every question and then
runs no operating system. So each candidate in turn runs the tiny guest of `vm.probe_firmware`,
against a deadline; the first that gives the right answer is used. The outcome is kept until QEMU,
the host's kernel, or the set of candidates changes, or the host is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vm.argv import CPU_MODELS, WITHOUT_VAPIC, accelerator_argument, qmp_arguments
from vm.cache import Entry, JsonCache
from vm.channels import Channel, open_channel
from vm.errors import NoAccelerator, QmpFailure, describe_exit_code
from vm.files import printable
from vm.openable import openable
from vm.probe_firmware import EXIT_PORT, expected_exit_code, firmware_image
from vm.probe_result import ProbeReport, ProbeResult, Verdict
from vm.process import ChildProcess, spawn
from vm.qmp import Qmp
from vm.spec import Accelerator, MachineType, Qemu

if sys.platform == "win32":
    from vm.probe_windows import boot_identity, why_unavailable
else:
    from vm.probe_posix import boot_identity, why_unavailable

_log = logging.getLogger(__name__)

HARDWARE_DEADLINE_S = 2.0
"""From QEMU's first answer to the guest's, under a hardware accelerator: it takes milliseconds."""
EMULATION_DEADLINE_S = 30.0
"""The same under tcg, which is the last resort and so is waited for on the busiest host."""
START_DEADLINE_S = 20.0
"""From the start of QEMU to its first answer: a virus scanner may read the program first."""

_MEMORY_MIB = 16
_LAST_WORDS_S = 5.0
_LOWEST_ANSWER = 128
_SILENCE_KEPT_S = 24 * 3600.0
"""A deadline missed may be the doing of a busy host, so it is not held against it for ever."""

Unavailable = Callable[[Accelerator], str | None]


async def choose_accelerator(
    qemu: Qemu,
    cache: JsonCache,
    *,
    candidates: Sequence[Accelerator] | None = None,
    unavailable: Unavailable = why_unavailable,
) -> ProbeReport:
    """The best accelerator that works, as `report.chosen`, and how each candidate fared.

    candidates: those to try, in order, instead of all that QEMU has. Raises NoAccelerator if
    none works. No QEMU is left running, also when this is cancelled.
    """
    wanted = qemu.accelerators if candidates is None else tuple(candidates)
    reasons = {accelerator: unavailable(accelerator) for accelerator in wanted}
    key = _cache_key(qemu, [name for name in wanted if reasons[name] is None])
    report = _remembered(cache.get(key))
    if report is not None:
        return report
    results: list[ProbeResult] = []
    for accelerator in wanted:
        reason = reasons[accelerator]
        if reason is not None:
            results.append(ProbeResult(accelerator, Verdict.UNAVAILABLE, reason, 0.0))
            continue
        results.append(await probe_accelerator(qemu, accelerator))
        _log.info("accelerator %s: %s", accelerator, results[-1].detail)
        if results[-1].works:
            break
    report = ProbeReport(tuple(results))
    if report.chosen is None:
        raise NoAccelerator(results)
    cache.put(key, _to_entry(report))
    return report


async def probe_accelerator(
    qemu: Qemu,
    accelerator: Accelerator,
    *,
    cpu_model: str | None = None,
    image: Callable[[int], bytes] = firmware_image,
    deadline_s: float | None = None,
) -> ProbeResult:
    """Run the guest once under `accelerator`. Never raises for what QEMU does.

    cpu_model: instead of the one that machines get. image: makes the guest from a seed; its exit
    code must be `expected_exit_code` of it. deadline_s: instead of the usual one, from QEMU's
    first answer to the guest's.
    """
    started = time.monotonic()
    if deadline_s is None:
        deadline_s = HARDWARE_DEADLINE_S if accelerator.is_hardware else EMULATION_DEADLINE_S
    seed = secrets.randbits(64)
    try:
        with _rom_file(image(seed)) as rom:
            verdict, detail = await _run_guest(
                lambda backend: probe_argv(qemu, accelerator, rom, backend, cpu_model),
                expected_exit_code(seed),
                deadline_s,
            )
    except (OSError, TimeoutError) as error:
        verdict, detail = Verdict.REFUSED, str(error)
    return ProbeResult(accelerator, verdict, detail, time.monotonic() - started)


def probe_argv(
    qemu: Qemu, accelerator: Accelerator, rom: Path, backend: str, cpu_model: str | None = None
) -> list[str]:
    """The command line of the probe's machine: the processor that real machines get, little else.

    Pure. It starts paused (-S), so that the guest's time begins when we say so.
    """
    argv = [str(qemu.system), "-nodefaults", "-no-user-config", "-display", "none"]
    if qemu.data_directory is not None:
        argv += ["-L", str(qemu.data_directory)]
    argv += ["-machine", MachineType.Q35, *WITHOUT_VAPIC]
    argv += ["-accel", accelerator_argument(accelerator)]
    argv += [
        "-cpu",
        cpu_model or CPU_MODELS[accelerator],
        "-m",
        f"{_MEMORY_MIB}M",
        "-no-reboot",
        "-S",
    ]
    argv += ["-bios", str(rom), "-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4"]
    return argv + qmp_arguments(backend)


@contextlib.contextmanager
def _rom_file(content: bytes) -> Iterator[Path]:
    """A private file with `content`, while the context lasts."""
    with tempfile.TemporaryDirectory(prefix="isthmus-probe-") as directory:
        rom = Path(directory, "probe.bin")
        rom.write_bytes(content)
        yield openable(rom)


async def _run_guest(
    argv_for: Callable[[str], list[str]], expected: int, deadline_s: float
) -> tuple[Verdict, str]:
    """Start QEMU with `argv_for(chardev backend)`, let the guest run, and judge what became of it.

    QEMU is gone when this returns or raises.
    """
    channel = open_channel()
    try:
        child = await spawn(argv_for(channel.backend), pass_fds=channel.inherited_fds)
        channel.spawned()
        ended = asyncio.create_task(child.wait())
        try:
            paused_as = await _let_run(child, channel, ended, deadline_s)
            exit_code = ended.result() if ended.done() else None
            return _judge(exit_code, expected, paused_as, child.stderr_tail, deadline_s)
        finally:
            ended.cancel()
            await child.kill_and_reap()
    finally:
        channel.close()


async def _let_run(
    child: ChildProcess, channel: Channel, ended: asyncio.Task[int], deadline_s: float
) -> str | None:
    """Let the guest run until QEMU ends, or pauses it, or the deadline passes.

    Returns the run state in which QEMU paused it; None otherwise.
    """
    connecting = asyncio.create_task(_connect(child, channel))
    running: asyncio.Task[str | None] | None = None
    try:
        await asyncio.wait({connecting, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done() or connecting.exception() is not None:
            await asyncio.wait({ended}, timeout=_LAST_WORDS_S)
            return None
        running = asyncio.create_task(_continue_until_paused(connecting.result()))
        await asyncio.wait(
            {running, ended}, return_when=asyncio.FIRST_COMPLETED, timeout=deadline_s
        )
        if running.done() and (paused_as := running.result()) is not None:
            return paused_as
        if running.done():  # the connection is over, so QEMU is ending
            await asyncio.wait({ended}, timeout=_LAST_WORDS_S)
        return None
    finally:
        for task in (connecting, running):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        if not connecting.cancelled() and connecting.exception() is None:
            await connecting.result().close()


async def _connect(child: ChildProcess, channel: Channel) -> Qmp:
    sock = await channel.connected(child.pid, START_DEADLINE_S)
    return await Qmp.connect(sock, deadline_s=START_DEADLINE_S)


async def _continue_until_paused(qmp: Qmp) -> str | None:
    """Let the guest begin; returns the run state once QEMU pauses it, None once QEMU ends."""
    try:
        with qmp.events("STOP") as events:
            await qmp.cont()
            async for _ in events:
                return await qmp.query_status()
    except QmpFailure:
        pass  # QEMU ended under the command: its exit code says more
    return None


def _judge(
    exit_code: int | None, expected: int, paused_as: str | None, stderr: str, deadline_s: float
) -> tuple[Verdict, str]:
    """What the guest's fate says about the accelerator. Pure."""
    words = [line for line in printable(stderr).splitlines() if "warning:" not in line]
    said = f" ({words[0].strip()})" if words else ""
    if paused_as is not None:
        return Verdict.BROKEN, f"QEMU paused the test guest as {paused_as}{said}"
    if exit_code is None:
        return Verdict.SILENT, f"the test guest gave no answer within {deadline_s:g} s"
    if exit_code == expected:
        return Verdict.WORKS, "runs guests"
    if exit_code > _LOWEST_ANSWER and exit_code % 2 == 1:
        return Verdict.BROKEN, "the test guest computed a wrong answer"
    return Verdict.REFUSED, f"QEMU {describe_exit_code(exit_code)}{said}"


def _cache_key(qemu: Qemu, candidates: Sequence[Accelerator]) -> dict[str, object]:
    """Everything the outcome depends on; another QEMU, kernel, boot or candidate asks again."""
    status = qemu.system.stat()
    return {
        "question": "accelerator",
        "system": str(qemu.system),
        "version": str(qemu.version),
        "mtime_ns": status.st_mtime_ns,
        # Not platform(), which starts a program (uname -p) and reads the interpreter's file.
        "kernel": f"{platform.system()} {platform.release()} {platform.version()}",
        "boot": boot_identity(),
        "candidates": [candidate.value for candidate in candidates],
        "processors": [CPU_MODELS[candidate] for candidate in candidates],
    }


def _to_entry(report: ProbeReport) -> Entry:
    return {
        "results": [result.to_entry() for result in report.results],
        "time": time.time(),
    }


def _remembered(entry: Entry | None) -> ProbeReport | None:
    """The report in a cache entry; None if there is none, or it should be asked again."""
    if entry is None:
        return None
    try:
        listed, written = entry["results"], entry["time"]
        if not isinstance(listed, list) or not isinstance(written, (int, float)):
            return None
        results = tuple(ProbeResult.from_entry(item) for item in listed)
    except (KeyError, TypeError, ValueError):
        return None
    report = ProbeReport(results, from_cache=True)
    silent = any(result.verdict is Verdict.SILENT for result in results)
    age_s = time.time() - written
    if report.chosen is None or (silent and not 0 <= age_s < _SILENCE_KEPT_S):
        return None
    return report
