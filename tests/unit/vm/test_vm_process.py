"""The spawn function, on real programs: this interpreter with a line of code."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import psutil
import pytest

from vm.errors import ToolTimeout
from vm.process import STDERR_TAIL_BYTES, clean_environment, is_dying, run, spawn

PYTHON = [sys.executable, "-S", "-E", "-c"]


def test_output_and_exit_code_come_back() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    completed = asyncio.run(run([*PYTHON, code], deadline_s=30))
    assert completed.exit_code == 3
    assert completed.stdout.split() == ["out"]
    assert completed.stderr.split() == ["err"]


def test_standard_input_is_at_its_end() -> None:
    completed = asyncio.run(
        run([*PYTHON, "import sys; print(repr(sys.stdin.read()))"], deadline_s=30)
    )
    assert completed.stdout.strip() == "''"


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/evil")
    monkeypatch.setenv("SECRET_TOKEN", "x")
    code = "import os, json; print(json.dumps(dict(os.environ)))"
    completed = asyncio.run(run([*PYTHON, code], deadline_s=30))
    seen = json.loads(completed.stdout)
    assert {"LD_LIBRARY_PATH", "SECRET_TOKEN"}.isdisjoint(seen)
    assert seen["LC_ALL"] == "C"
    assert seen["PATH"] == os.environ["PATH"]


def test_variable_names_are_compared_as_windows_does() -> None:
    assert clean_environment({"Path": "p", "SystemRoot": "r", "Prompt": "x"}) == {
        "Path": "p",
        "SystemRoot": "r",
        "LC_ALL": "C",
    }


def test_a_deadline_ends_the_program() -> None:
    async def scenario() -> set[int]:
        before = {child.pid for child in psutil.Process().children()}
        with pytest.raises(ToolTimeout) as caught:
            await run([*PYTHON, "import time; time.sleep(600)"], deadline_s=0.05)
        assert caught.value.deadline_s == 0.05
        return {child.pid for child in psutil.Process().children()} - before

    assert asyncio.run(scenario()) == set()


def test_a_cancelled_caller_leaves_no_program_behind() -> None:
    async def scenario() -> set[int]:
        before = {child.pid for child in psutil.Process().children()}
        task = asyncio.create_task(run([*PYTHON, "import time; time.sleep(600)"], deadline_s=600))
        while {child.pid for child in psutil.Process().children()} == before:  # noqa: ASYNC110
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return {child.pid for child in psutil.Process().children()} - before

    assert asyncio.run(scenario()) == set()


def test_a_program_that_is_not_there_is_an_oserror() -> None:
    with pytest.raises(OSError):
        asyncio.run(run(["/nowhere/program"], deadline_s=1))


def test_only_the_end_of_standard_error_is_kept() -> None:
    code = "import sys; sys.stderr.write('x' * 100000 + 'the end')"

    async def scenario() -> str:
        child = await spawn([*PYTHON, code])
        assert await child.wait() == 0
        return child.stderr_tail

    tail = asyncio.run(scenario())
    assert tail.endswith("xthe end")
    assert len(tail) == STDERR_TAIL_BYTES


def test_a_grandchild_that_holds_standard_error_does_not_delay_the_end_for_ever() -> None:
    code = f"""
import subprocess, sys
sleeper = subprocess.Popen([{sys.executable!r}, "-S", "-E", "-c", "import time; time.sleep(600)"])
sys.stderr.write(str(sleeper.pid))
"""

    async def scenario() -> int:
        child = await spawn([*PYTHON, code])
        async with asyncio.timeout(60):
            assert await child.wait() == 0
        return int(child.stderr_tail)

    psutil.Process(asyncio.run(scenario())).kill()


def test_killing_is_harmless_after_the_end() -> None:
    async def scenario() -> int:
        child = await spawn([*PYTHON, "pass"])
        assert await child.wait() == 0
        child.terminate()
        child.kill()
        return await child.kill_and_reap()

    assert asyncio.run(scenario()) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX descriptors")
def test_no_descriptor_is_inherited_but_those_passed() -> None:
    reader, writer = os.pipe()
    leaked = os.dup(writer)
    os.set_inheritable(leaked, True)
    code = f"""
import os
open_fds = [fd for fd in range(3, 64) if not os.system(f"test -e /proc/{{os.getpid()}}/fd/{{fd}}")]
os.write({writer}, repr(open_fds).encode())
"""

    async def scenario() -> int:
        return await (await spawn([*PYTHON, code], pass_fds=[writer])).wait()

    try:
        assert asyncio.run(scenario()) == 0
        assert json.loads(os.read(reader, 1000)) == [writer]
    finally:
        for fd in (reader, writer, leaked):
            os.close(fd)


def test_several_run_at_once() -> None:
    async def scenario() -> list[str]:
        runs = [run([*PYTHON, f"print({number})"], deadline_s=30) for number in range(3)]
        return [completed.stdout.strip() for completed in await asyncio.gather(*runs)]

    assert asyncio.run(scenario()) == ["0", "1", "2"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_what_was_killed_is_dying_from_that_moment_on() -> None:
    """Its memory is taken apart before its sockets are closed, and that takes its time."""
    program = (
        "import time; memory = bytearray(100_000_000); print('ready', flush=True); time.sleep(60)"
    )
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            assert not is_dying(process.pid)
            process.kill()
            while process.poll() is None:
                assert is_dying(process.pid)
        assert is_dying(process.pid)
