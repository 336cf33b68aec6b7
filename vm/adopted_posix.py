"""A child that was started before there was an event loop, followed by one (Linux)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys

from vm.process import DRAIN_S, READ_BYTES, Child

assert sys.platform != "win32"


class AdoptedProcess(Child):
    """`process`, whose standard error is a pipe."""

    def __init__(self, argv: list[str], process: subprocess.Popen[bytes]) -> None:
        """Raises OSError, on hosts without pidfd_open(2) too."""
        assert process.stderr is not None
        super().__init__(argv)
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._exited = asyncio.Event()
        self._drained = asyncio.Event()
        self._stderr = process.stderr
        self._end = _descriptor_of(process.pid)
        os.set_blocking(self._stderr.fileno(), False)
        self._loop.add_reader(self._stderr.fileno(), self._read)
        self._loop.add_reader(self._end, self._on_end)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """As `subprocess` has it; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the end, without a deadline; returns `exit_code`, standard error read."""
        await self._exited.wait()
        with contextlib.suppress(TimeoutError):  # another process may hold the pipe open
            async with asyncio.timeout(DRAIN_S):
                await self._drained.wait()
        exit_code = self.exit_code
        assert exit_code is not None
        return exit_code

    def terminate(self) -> None:
        """Ask it to end. Harmless after the end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once. Harmless after the end."""
        self._process.kill()

    def _read(self) -> None:
        try:
            data = os.read(self._stderr.fileno(), READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._stderr.fileno())
            self._stderr.close()
            self._drained.set()
            return
        self._keep_tail(data)

    def _on_end(self) -> None:
        if self._process.poll() is None:
            return
        self._loop.remove_reader(self._end)
        os.close(self._end)
        self._exited.set()


def _descriptor_of(pid: int) -> int:
    """Becomes readable when the process has ended. Raises OSError where there is no such thing."""
    if sys.platform != "linux":
        raise OSError("this host does not tell of the end of a process")
    return os.pidfd_open(pid)
