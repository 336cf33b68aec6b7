"""Programs that the service starts on a real Windows, in pipes: Ctrl-C, ends, job objects."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from interop.hostos.contract import INTERRUPTED_STATUS, KILLED_STATUS
from interop.hostos.find import find_host
from tests.windows.programs import REASON, Screen, alive, python

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason=REASON)

DEADLINE_S = 60.0
WAITS = "import time; print('ready'); time.sleep(600)"
STARTS_ANOTHER = (
    "import os, subprocess, sys, time\n"
    "code = 'import os, sys, time; open(sys.argv[1], \"w\").write(str(os.getpid()));'\n"
    "code += 'time.sleep(600)'\n"
    "child = subprocess.Popen([sys.executable, '-c', code, sys.argv[1]])\n"
    "while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read(): time.sleep(0.05)\n"
    "print('ready'); time.sleep(600)\n"
)


async def ended(note: Path) -> None:
    """Wait for the process that has noted its number to be gone."""
    process = psutil.Process(int(note.read_text())) if alive(note) else None
    if process is not None:
        await asyncio.to_thread(process.wait, DEADLINE_S)


def test_streams_are_exact_and_the_status_has_32_bits() -> None:
    async def run() -> None:
        code = (
            "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data);"
            "sys.stderr.write('end'); sys.exit(0x12345678)"
        )
        process = await find_host(os.environ).start(python(code))
        data = os.urandom(300_000) + b"\r\n\x1a\0\n"

        async def feed() -> None:
            process.stdin.write(data)
            await process.stdin.drain()
            process.stdin.close()

        feeding = asyncio.create_task(feed())
        received = b""
        while chunk := await process.stdout.read(65536):
            received += chunk
        await feeding
        assert received == data
        assert process.stderr is not None
        assert await process.stderr.read(100) == b"end"
        assert await process.wait() == 0x12345678
        process.close()

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


def test_ctrl_c_ends_a_program_that_does_not_handle_it() -> None:
    async def run() -> None:
        code = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL);" + WAITS
        process = await find_host(os.environ).start(python(code))
        await Screen(process.stdout).expect("ready")
        process.interrupt()
        assert await process.wait() & 0xFF == INTERRUPTED_STATUS
        process.close()

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


def test_a_killed_program_takes_along_what_it_has_started(tmp_path: Path) -> None:
    async def run() -> None:
        note = tmp_path / "child"
        process = await find_host(os.environ).start(python(STARTS_ANOTHER, str(note)))
        await Screen(process.stdout).expect("ready")
        process.kill()
        assert await process.wait() == KILLED_STATUS
        await ended(note)
        process.close()

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


def test_no_program_outlives_a_service_that_is_ended_from_outside(tmp_path: Path) -> None:
    note = tmp_path / "child"
    service = (
        "import asyncio, os, sys\n"
        "sys.path.insert(0, os.getcwd())\n"
        "from interop.hostos.find import find_host\n"
        "from tests.windows.programs import Screen, python\n"
        "async def main():\n"
        "    process = await find_host(os.environ).start(python(sys.argv[1], sys.argv[2]))\n"
        "    await Screen(process.stdout).expect('ready')\n"
        "    print('up', flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", service, STARTS_ANOTHER, str(note)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"up"
        process.kill()  # TerminateProcess, as Task Manager does
        deadline = time.monotonic() + DEADLINE_S
        while alive(note):
            assert time.monotonic() < deadline, "the program has outlived its service"
            time.sleep(0.05)
    finally:
        process.kill()
        process.communicate()
