"""Random kills: `python -m bench.faults --rounds 200` (docs/testing.md).

Every round does something with an Isthmus (nothing, a command, a start, an import, an export),
kills one of its processes at a random moment, and then asks for what a user expects: the next
command works without a hand, what was fsync'ed before the kill is there, and nothing is left
behind: no second service, no orphaned QEMU, no disk nobody owns, no half-registered distribution.

A round's choices follow from the seed and its number alone, so `--first N --rounds 1` repeats
what was chosen; when exactly the signal arrives is the machine's.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.harness import BIN, WAKEFUL, Isthmus, tiny_rootfs
from bench.soundness import damage
from vm.image.cache import cache_directory

VICTIMS = ("client", "qemu", "service", "agent", "init")
ACTIVITIES = (
    "idle", "command", "start", "boot", "import", "export", "save", "suspend", "resume"
)  # fmt: skip
AWAKE = f"{WAKEFUL}[experimental]\nsuspendOnIdle=true\n"
"""Its machines can be suspended, but are not yet."""
SUSPENDING = "[wsl2]\nvmIdleTimeout=300\n[experimental]\nsuspendOnIdle=true\n"
NAME = "tiny"
IMPORTED = "imported"

COMMAND_TIMEOUT_S = 180.0
"""For a command that may have to boot on a busy machine."""
_ENDING_S = 60.0
"""For a command whose machine or service was killed to say so."""

_SOMETIMES = ("programs", "snapshot.json")
"""In the run directory: Windows programs that run, a machine that is booted to be saved."""

_LINE_CHARACTERS, _LAST_LINES = 300, 150
_MIB = 1 << 20
_COUNT = (
    "i=$(wc -l < /root/count); while :; do i=$((i+1)); "
    "echo $i | dd of=/root/count oflag=append conv=notrunc,fsync 2>/dev/null && echo $i; done"
)
"""Appends numbers to a file, and says each once its fsync has returned."""


class Fault(Exception):
    """Something did not recover: what a round found."""


@dataclass(frozen=True)
class Plan:
    """What one round does."""

    number: int
    activity: str
    victim: str
    moment: float
    """When to kill, as a part of the time that the activity may take: 0 to 1."""


def plan_round(seed: int, number: int, activities: Sequence[str] = ACTIVITIES) -> Plan:
    """The choices of round `number`. Pure."""
    chooser = random.Random(f"{seed}:{number}")
    return Plan(number, chooser.choice(activities), chooser.choice(VICTIMS), chooser.random())


_DURATION_S = {
    "idle": 0.2,
    "command": 1.5,
    "start": 1.5,
    "boot": 6.0,
    "import": 4.0,
    "export": 2.0,
    "save": 4.0,
    "suspend": 2.0,
    "resume": 2.0,
}
"""About how long each activity takes here: the range of moments."""


class Subject:
    """An Isthmus in `home`, with one distribution, to whose processes things happen."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.isthmus = Isthmus(str(home))
        self.kept = 0
        """Numbers up to this one are in /root/count, fsync'ed."""
        self.said = b""
        """What this round's commands have said on standard error."""
        self.archive = home / "import.tar"
        self.place = home / "place"
        self.target = home / "export.tar"

    def prepare(self) -> None:
        """Install the distribution, and write the archive that rounds import."""
        self.isthmus.configure(AWAKE)
        rootfs = _rootfs()
        small = self.home / "tiny.tar"
        small.write_bytes(rootfs)
        self.archive.write_bytes(_with_ballast(rootfs, 8 * _MIB))
        self.expect("--import", NAME, str(self.home / "tiny"), str(small))
        make = ": > /root/count; head -c 8000000 /dev/urandom > /root/big; sync"
        self.expect("-e", "sh", "-c", make)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A command under way, its output in pipes."""
        return subprocess.Popen(
            [BIN / "lx", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.isthmus.environment,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """A command to its end. Raises Fault if it has none."""
        command = self.start(*arguments)
        try:
            output, errors = command.communicate(timeout=COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            command.kill()
            output, errors = command.communicate()
            raise Fault(f"{arguments} hangs; it has said {output!r} {errors!r}") from None
        return subprocess.CompletedProcess(arguments, command.returncode, output, errors)

    def expect(self, *arguments: str) -> bytes:
        """The output of a command that must succeed. Raises Fault."""
        done = self.run(*arguments)
        if done.returncode != 0:
            raise Fault(f"{arguments} ended with {done.returncode}: {done.stderr!r}")
        return done.stdout

    # -- saved machines ------------------------------------------------------------------------

    def save(self) -> None:
        """Have the machine that later ones start from saved anew. Raises Fault."""
        entries = cache_directory() / "entries"

        def start_without() -> None:
            self.expect("--shutdown")
            for entry in entries.glob("snapshot-*"):
                shutil.rmtree(entry, ignore_errors=True)
            self.expect("-e", "true")

        def is_booted() -> bool:
            if any(entries.glob("snapshot-*")):  # one was being made for the round before
                start_without()
            return bool(self._qemus(f"{self.home}/logs/snapshot.log"))

        start_without()
        _wait(is_booted, "a machine to be saved")

    def suspend(self) -> None:
        """Have the machine suspended, moments from now. Raises Fault."""
        self.isthmus.configure(SUSPENDING)
        self.expect("-e", "true")

    def wait_suspended(self) -> None:
        """Wait until it is. Raises Fault."""
        _wait(lambda: (self.home / "suspended").exists() and not self.qemus(), "no suspension")

    # -- processes -----------------------------------------------------------------------------

    def services(self) -> list[psutil.Process]:
        """The service's process; more than one would be a fault."""
        wanted = ["service", "--home", str(self.home)]
        return [one for one in psutil.process_iter() if _arguments(one)[-3:] == wanted]

    def qemus(self) -> list[psutil.Process]:
        """QEMU processes of the machine, known by its serial log's path."""
        return self._qemus(f"{self.home}/logs/serial.log")

    def orphans(self) -> list[psutil.Process]:
        """QEMU processes of this home, also of machines that are booted to be saved, that are no
        children of its service."""
        parents = {service.pid for service in self.services()}
        orphans = []
        for process in self._qemus(f"{self.home}/"):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.ppid() not in parents:
                    orphans.append(process)
        return orphans

    def _qemus(self, marker: str) -> list[psutil.Process]:
        return [
            one
            for one in psutil.process_iter()
            if (arguments := _arguments(one))
            and "qemu-system" in arguments[0]
            and any(marker in argument for argument in arguments)
        ]

    def kill(self, victim: str, client: subprocess.Popen[bytes] | None) -> str:
        """Kill one; returns what was killed, "" if there was none at this moment."""
        if victim == "client":
            if client is None or client.poll() is not None:
                return ""
            client.kill()
            return f"client {client.pid}"
        if victim in ("agent", "init"):
            program = "python3" if victim == "agent" else "distro-init"
            # The agent may die before it can say how its own killer ended.
            self.run("--system", "-e", "sh", "-c", f"kill -9 $(pidof {program})")
            return victim
        found = self.services() if victim == "service" else self._qemus(f"{self.home}/logs/")
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return " ".join(f"{victim} {process.pid}" for process in found)


def _wait(condition: Callable[[], object], what: str) -> None:
    """Poll. Raises Fault at the deadline."""
    deadline = time.monotonic() + _ENDING_S
    while not condition():
        if time.monotonic() > deadline:
            raise Fault(what)
        time.sleep(0.02)


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
    except psutil.Error:
        return []


def _rootfs() -> bytes:
    """benchmarks' distribution, with the applets and directories that rounds use."""
    buffer = io.BytesIO(tiny_rootfs())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        for name in ("echo", "dd", "wc", "head", "sleep", "sync", "seq"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("root", "tmp", "dev", "proc", "sys", "run", "mnt"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
    return buffer.getvalue()


def _with_ballast(rootfs: bytes, size: int) -> bytes:
    buffer = io.BytesIO(rootfs)
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        info = tarfile.TarInfo("ballast")
        info.size = size
        tar.addfile(info, io.BytesIO(os.urandom(size)))
    return buffer.getvalue()


# -- one round ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _activity(subject: Subject, name: str) -> Iterator[subprocess.Popen[bytes] | None]:
    """Something under way; afterwards its command has ended, or that is a fault."""
    if name == "start":
        subject.expect("--terminate", NAME)
    elif name == "boot":
        subject.expect("--shutdown")
    elif name == "save":
        subject.save()
    elif name == "suspend":
        subject.suspend()
    elif name == "resume":
        subject.suspend()
        subject.wait_suspended()
    arguments = {
        "command": ("-e", "sh", "-c", _COUNT),
        "start": ("-e", "echo", "started"),
        "boot": ("-e", "echo", "booted"),
        "resume": ("-e", "echo", "resumed"),
        "import": ("--import", IMPORTED, str(subject.place), str(subject.archive)),
        "export": ("--export", NAME, str(subject.target)),
    }.get(name)
    command = None if arguments is None else subject.start(*arguments)
    try:
        yield command
    finally:
        subject.isthmus.configure(AWAKE)
        if command is not None:
            _finish(subject, name, command)


def _finish(subject: Subject, name: str, command: subprocess.Popen[bytes]) -> None:
    """Wait for the activity's end, and note what it says to have made last."""
    if name == "command" and command.poll() is None:
        # It goes on for ever where its killer had no business with it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.wait(1.0)
        command.terminate()
    try:
        output, errors = command.communicate(timeout=_ENDING_S)
    except subprocess.TimeoutExpired:
        command.kill()
        command.communicate()
        raise Fault(f"the {name} under way does not end") from None
    subject.said += errors
    if b"Traceback" in errors:
        raise Fault(f"the {name} under way ends with {errors!r}")
    if name == "command":
        complete = output[: output.rfind(b"\n") + 1].split()
        if complete:
            subject.kept = max(subject.kept, int(complete[-1]))


def run_round(subject: Subject, plan: Plan) -> str:
    """Carry out a plan and check what is left; returns what was killed. Raises Fault."""
    subject.said = b""
    with _activity(subject, plan.activity) as command:
        time.sleep(plan.moment * _DURATION_S[plan.activity])
        killed = subject.kill(plan.victim, command)
    check(subject)
    # Of a machine that was just about to end nobody needs to be told, nor of one that nobody has.
    is_told = plan.activity in ("save", "suspend") or b"virtual machine" in subject.said
    if plan.victim == "qemu" and killed and not is_told:
        raise Fault(f"nobody was told that QEMU had been killed: {subject.said!r}")
    return killed


def check(subject: Subject) -> None:
    """All that must hold after a round. Raises Fault."""
    done = subject.run("-e", "echo", "works")
    if (done.returncode, done.stdout) != (0, b"works\n"):
        raise Fault(f"the next command: {done.returncode} {done.stdout!r} {done.stderr!r}")
    subject.said += done.stderr
    for what, found in (("service", subject.services()), ("QEMU", subject.qemus())):
        if len(found) != 1:
            raise Fault(f"{len(found)} processes are a {what}: {found}")
    if subject.orphans():
        raise Fault(f"QEMU goes on without a service: {subject.orphans()}")
    _check_kept(subject)
    _check_leftovers(subject)


def _check_kept(subject: Subject) -> None:
    lines = subject.expect("-e", "cat", "/root/count").split()
    if len(lines) < subject.kept or [int(line) for line in lines] != list(range(1, len(lines) + 1)):
        raise Fault(f"{subject.kept} numbers were fsync'ed, the file has {lines[-3:]}")


def _check_leftovers(subject: Subject) -> None:
    names = subject.expect("--list", "--quiet").decode().split()
    if IMPORTED in names:  # it was complete before the kill came
        subject.expect("-d", IMPORTED, "-e", "true")
        subject.expect("--unregister", IMPORTED)
        names.remove(IMPORTED)
    if names != [NAME]:
        raise Fault(f"registered: {names}")
    # An import whose client was killed is undone beside other commands.
    deadline = time.monotonic() + _ENDING_S
    while (disks := _disks(subject)) != ["tiny/ext4.qcow2"] or subject.place.exists():
        if time.monotonic() > deadline:
            raise Fault(f"disks: {disks}, or an empty place of the import")
        time.sleep(0.1)
    subject.target.unlink(missing_ok=True)
    for partial in subject.home.glob("export.tar.part-*"):
        partial.unlink()  # a killed client can remove nothing
    # Each drive that is mounted may have a file through which large contents pass.
    present = {path.name for path in (subject.home / "run").iterdir()}
    running = {name for name in present if not name.endswith(".bulk")}
    if not {"qemu.json", "service"} <= running <= {"qemu.json", "service", *_SOMETIMES}:
        raise Fault(f"in the run directory: {running}")


def _disks(subject: Subject) -> list[str]:
    return sorted(str(path.relative_to(subject.home)) for path in subject.home.rglob("*.qcow2"))


# -- many rounds -------------------------------------------------------------------------------


def end(subject: Subject) -> None:
    """End service and machine in order; then its disk is sound. Raises Fault."""
    subject.expect("--shutdown")
    for service in subject.services():
        service.terminate()
        service.wait(_ENDING_S)
    found = damage(subject.home / "tiny" / "ext4.qcow2")
    if found:
        raise Fault(found)


def run_rounds(home: Path, plans: Iterable[Plan], tell: Callable[[str], None]) -> Counter[str]:
    """Carry out plans on one Isthmus in `home`; what was killed, counted. Raises Fault.

    The path of `home` must be short, for sockets to fit below it.
    """
    subject = Subject(home)
    counts: Counter[str] = Counter()
    try:
        subject.prepare()
        for plan in plans:
            started = time.monotonic()
            try:
                killed = run_round(subject, plan)
            except Fault as fault:
                raise Fault(f"{plan}: {fault}") from fault
            took = time.monotonic() - started
            counts[f"{plan.victim} while {plan.activity}" if killed else "nobody"] += 1
            tell(
                f"{plan.number:4} {plan.activity:8} at {plan.moment:.2f}: "
                f"{killed or 'no ' + plan.victim:22} {took:5.1f} s, {subject.kept} numbers kept"
            )
        end(subject)
    finally:
        for process in (*subject.services(), *subject.orphans()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    return counts


def main() -> int:
    """Run the rounds that the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1, help="number of the first round")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--activities", nargs="+", choices=ACTIVITIES, default=ACTIVITIES)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    numbers = range(arguments.first, arguments.first + arguments.rounds)
    print(f"seed {seed}, rounds {numbers.start} to {numbers.stop - 1}", flush=True)

    def tell(line: str) -> None:
        print(line, flush=True)

    with tempfile.TemporaryDirectory(prefix="isthmus-faults-") as home:
        try:
            plans = [plan_round(seed, number, arguments.activities) for number in numbers]
            counts = run_rounds(Path(home), plans, tell)
        except Fault as fault:
            print(fault, file=sys.stderr)
            for name in ("service.log", "serial.log"):
                with contextlib.suppress(OSError):
                    text = Path(home, "logs", name).read_text("utf-8", "replace")
                    # QEMU's command line is long, and says little of what went wrong.
                    lines = [line[:_LINE_CHARACTERS] for line in text.splitlines()]
                    print(f"-- {name} --", *lines[-_LAST_LINES:], sep="\n", file=sys.stderr)
            return 1
    print(f"{numbers.stop - numbers.start} rounds, none needed a hand")
    for what, count in sorted(counts.items()):
        print(f"{count:4} {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
