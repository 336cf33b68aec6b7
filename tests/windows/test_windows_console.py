"""Consoles: ConPTY for programs that Linux starts, and the user's own under `isthmus`."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from interop.hostos.contract import INTERRUPTED_STATUS, KILLED_STATUS, ConsoleSize, Program
from interop.hostos.errors import HostError
from interop.hostos.find import find_host
from tests.windows.programs import REASON, SIZE, Screen, alive, python
from tests.windows.test_windows_programs import STARTS_ANOTHER, WAITS, ended

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason=REASON)

DEADLINE_S = 60.0
SIZES = (
    "import os, time\n"
    "last = None\n"
    "while True:\n"
    "    size = os.get_terminal_size()\n"
    "    if size != last: print(f'size {size.lines}x{size.columns}.', flush=True)\n"
    "    last = size; time.sleep(0.05)\n"
)


def test_text_of_any_script_and_the_exit_status_cross() -> None:
    async def run() -> None:
        code = "import sys; print('žluťoučký 日本語'); sys.exit(7)"
        process = await find_host(os.environ).start(python(code, console=SIZE))
        await Screen(process.stdout).expect("žluťoučký")
        assert await process.wait() == 7
        process.close()

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


def test_a_path_with_blanks_is_the_program_that_was_meant(tmp_path: Path) -> None:
    async def run() -> None:
        place = tmp_path / "a b" / "my cmd.exe"
        place.parent.mkdir()
        shutil.copyfile(os.environ["COMSPEC"], place)
        # What an unquoted path would have started.
        shutil.copyfile(sys.executable, tmp_path / "a.exe")
        program = Program(str(place), ("/c", "echo it-is-%OS%"), str(tmp_path), console=SIZE)
        process = await find_host(os.environ).start(program)
        await Screen(process.stdout).expect("it-is-Windows_NT")
        assert await process.wait() == 0
        process.close()

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


def test_keys_sizes_and_ctrl_c_reach_the_program() -> None:
    async def run() -> None:
        process = await find_host(os.environ).start(python(SIZES, console=SIZE))
        screen = Screen(process.stdout)
        await screen.expect(f"size {SIZE.rows}x{SIZE.columns}.")
        process.resize(ConsoleSize(rows=24, columns=80))
        await screen.expect("size 24x80.")
        process.stdin.write(b"\x03")
        assert await process.wait() & 0xFF in (INTERRUPTED_STATUS, 1)  # 1: KeyboardInterrupt
        process.close()
        process = await find_host(os.environ).start(
            python("print('you said', input('> '))", console=SIZE)
        )
        screen = Screen(process.stdout)
        await screen.expect("> ")
        for half in ("ž日".encode()[:3], "ž日".encode()[3:] + b"\r"):  # within a character
            process.stdin.write(half)
        await screen.expect(lambda text: re.search("you said.*ž", text, re.DOTALL) is not None)
        assert await process.wait() == 0
        process.close()

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


def test_a_killed_program_takes_its_console_along(tmp_path: Path) -> None:
    async def run() -> None:
        note = tmp_path / "child"
        process = await find_host(os.environ).start(
            python("input('> ')\n" + STARTS_ANOTHER, str(note), console=SIZE)
        )
        screen = Screen(process.stdout)
        await screen.expect("> ")  # by now it is in its job
        process.stdin.write(b"\r")
        await screen.expect("ready")
        assert alive(note)
        process.kill()
        assert await process.wait() == KILLED_STATUS
        await ended(note)
        process.close()

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


def test_what_does_not_start_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        nothing = Program(str(tmp_path / "nothing.exe"), console=SIZE)
        with pytest.raises(HostError):
            await find_host(os.environ).start(nothing)

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


def test_many_consoles_one_after_the_other() -> None:
    async def run() -> None:
        for number in range(10):
            code = f"{WAITS.partition(';')[0]}; print('console {number}.')"
            process = await find_host(os.environ).start(python(code, console=SIZE))
            await Screen(process.stdout).expect(f"console {number}.")
            assert await process.wait() == 0
            process.close()

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))
