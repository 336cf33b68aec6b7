"""A drive's server as a process, and how it gets the port that it serves.

A POSIX host's child inherits it. Windows has a socket shared with one process, named by its
number, and with no other (Winsock, WSADuplicateSocket): the server says which one it is, since a
virtual environment's python.exe is a launcher that has the interpreter as its own child.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Sequence

from vm.process import ChildProcess, spawn

_COMMAND = ("-I", "-X", "utf8", "-m", "interop.drives")

_WANTS_PORT = "wants-port"
"""interop.drives.serving_windows.WANTS_PORT"""

TAKES_BULK = sys.platform != "win32"
"""Whether servers can share a file with QEMU, which on Windows lets nobody else write to one."""

_START_S = 60.0
"""For Python to start: a virus scanner may read all of it first."""

OnLine = Callable[[str], None]
"""Gets each line of what the server says of itself."""


async def start_server(
    arguments: Sequence[str], port: socket.socket, on_line: OnLine
) -> ChildProcess:
    """Start a server with `arguments` (`interop.drives.__main__`) on `port`, which stays ours.

    Raises OSError.
    """
    argv = [sys.executable, *_COMMAND, *arguments]
    if sys.platform == "win32":
        return await _sharing(argv, port, on_line)
    else:
        fd = port.fileno()
        return await spawn([*argv, "--fd", str(fd)], pass_fds=[fd], on_line=on_line)


if sys.platform == "win32":

    async def _sharing(argv: Sequence[str], port: socket.socket, on_line: OnLine) -> ChildProcess:
        asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def on_first(line: str) -> None:
            word, _, number = line.partition(" ")
            if word == _WANTS_PORT and number.isdecimal() and not asked.done():
                asked.set_result(int(number))
            else:
                on_line(line)

        child = await spawn(argv, on_line=on_first, is_fed=True)
        ended = asyncio.create_task(child.wait())
        try:
            await asyncio.wait(
                {asked, ended}, return_when=asyncio.FIRST_COMPLETED, timeout=_START_S
            )
            if asked.done():
                child.feed(port.share(asked.result()).hex().encode() + b"\n")
            elif not ended.done():
                raise OSError(f"the server did not start within {_START_S:g} s")
        except BaseException:
            child.kill()
            raise
        finally:
            ended.cancel()
        return child
