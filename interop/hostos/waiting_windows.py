"""The end of a process on Windows, as a future: a thread waits for each (there may be many)."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from typing import Any


def exit_code_of(process: subprocess.Popen[Any]) -> asyncio.Future[int]:
    """The exit code of `process`, as soon as it has one."""
    loop = asyncio.get_running_loop()
    code: asyncio.Future[int] = loop.create_future()

    def tell(status: int) -> None:
        if not code.done():
            code.set_result(status)

    def wait() -> None:
        status = process.wait()
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody wants to know
            loop.call_soon_threadsafe(tell, status)

    threading.Thread(target=wait, daemon=True).start()
    return code
