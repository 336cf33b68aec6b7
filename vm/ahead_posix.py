"""QEMU started as it was the last time, before it is known what is wanted this time.

To load the modules that read the settings, find QEMU, the kernel and the snapshot takes as long as
QEMU takes to start. So QEMU is started first, with the command line that it had when a machine last
went on from a snapshot, and has that snapshot's memory copied. Once it is known what is wanted, the
two are compared. A QEMU that does not fit to the last word is ended: it has waited for a state, and
has opened nothing but the image that all machines read.

Loaded before anything else, so it imports little.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

assert sys.platform != "win32"

from vm.aheadrecord import MAXIMUM_BYTES, Record  # noqa: E402
from vm.channels_posix import SocketPairChannel  # noqa: E402
from vm.environment import clean_environment  # noqa: E402
from vm.guest_memory_posix import GuestMemory  # noqa: E402
from vm.process_posix import spawn_options  # noqa: E402

TYPE_CHECKING = False  # typing's own costs its import
if TYPE_CHECKING:
    from vm.adopted_posix import AdoptedProcess


class Ahead:
    """A QEMU that may turn out to be the wanted one: then it is taken, else discarded."""

    def __init__(
        self,
        argv: list[str],
        channels: dict[str, SocketPairChannel],
        memory: GuestMemory,
        snapshot: str,
        process: subprocess.Popen[bytes],
    ) -> None:
        self.argv = argv
        self.channels = channels
        self.memory = memory
        self.snapshot = snapshot
        """The directory that the memory is copied from."""
        self.process = process
        self._filler = 0

    def fill(self) -> None:
        """Have the memory copied, by a process of its own: this one's interpreter is busy."""
        from vm.fill_posix import read_memory

        self._filler = os.fork()
        if self._filler:
            return
        status = 1
        try:
            for channel in self.channels.values():
                channel.close()
            read_memory(self.snapshot, self.memory)
            status = 0
        finally:
            os._exit(status)

    def wait_filled(self) -> bool:
        """Whether the memory has been copied. Blocks, and may be called once."""
        filler, self._filler = self._filler, 0
        return bool(filler) and os.waitpid(filler, 0)[1] == 0

    def adopt(self) -> AdoptedProcess:
        """Take its process; for the event loop's thread. Raises OSError."""
        from vm.adopted_posix import AdoptedProcess

        return AdoptedProcess(self.argv, self.process)

    def discard(self) -> None:
        """End it, and give up what it has. Blocks for a moment; may be repeated."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()
        if self._filler:
            os.kill(self._filler, signal.SIGKILL)
            self.wait_filled()
        for channel in self.channels.values():
            channel.close()
        self.memory.close()


def begin(path: str) -> Ahead | None:
    """Start what the record in `path` says; None if there is none, or it cannot be started."""
    try:
        with open(path, "rb") as file:
            record = Record.decode(file.read(MAXIMUM_BYTES))
    except OSError:
        return None
    if record is None or not os.path.isdir(record.snapshot):
        return None
    channels: dict[str, SocketPairChannel] = {}
    memory = None
    try:
        memory = GuestMemory(record.memory_bytes)
        for name in record.names:
            channels[name] = SocketPairChannel()
        backends = {name: channel.backend for name, channel in channels.items()}
        argv = record.filled_in(backends, memory.path)
        with contextlib.suppress(FileNotFoundError):
            os.replace(record.log, f"{record.log}.1")  # as vm.files.start_log
        process = _start(argv, channels, memory)
    except (OSError, ValueError, IndexError, OverflowError):
        for channel in channels.values():
            channel.close()
        if memory is not None:
            memory.close()
        return None
    ahead = Ahead(argv, channels, memory, record.snapshot, process)
    try:
        ahead.fill()
    except OSError:
        ahead.discard()
        return None
    return ahead


def _start(
    argv: list[str], channels: dict[str, SocketPairChannel], memory: GuestMemory
) -> subprocess.Popen[bytes]:
    inherited = [fd for channel in channels.values() for fd in channel.inherited_fds]
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=clean_environment(os.environ),
        pass_fds=(*inherited, memory.descriptor),
        **spawn_options(),
    )
