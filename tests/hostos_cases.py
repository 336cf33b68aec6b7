"""What every implementation of interop.hostos.contract.Host does: cases for all of them.

    python tests/hostos_cases.py DIRECTORY CASE...

runs them on the host that it finds, with the programs of tests/data/windows that lie in DIRECTORY,
and prints a JSON object: names of cases to why they failed, "" for those that did not. Takes
nothing but Python and Isthmus, so a Windows without test tools runs it too.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import sys
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from interop.hostos.contract import (
    INTERRUPTED_STATUS,
    KILLED_STATUS,
    ConsoleSize,
    Host,
    Output,
    Program,
    WindowsProcess,
)
from interop.hostos.errors import HostError
from interop.hostos.find import find_host
from wire.errors import ArgumentError
from wire.windowspath import is_absolute

DEADLINE_S = 100.0


@dataclass(frozen=True)
class Scene:
    """A host, and its directory with `probe.exe`, `window.exe` and `data.exe`."""

    host: Host
    directory: str

    def path(self, name: str) -> str:
        """The Windows path of a file in the directory."""
        return self.host.windows_path(os.path.join(self.directory, name))

    def probe(self, *arguments: str) -> Program:
        return Program(self.path("probe.exe"), arguments)


async def communicate(
    scene: Scene, program: Program, data: bytes = b""
) -> tuple[bytes, bytes, int]:
    """Run a program to its end: its output, its errors, and its exit code."""
    process = await scene.host.start(program)
    try:
        assert process.stderr is not None
        _, out, error = await asyncio.gather(
            feed(process, data), read_all(process.stdout), read_all(process.stderr)
        )
        return out, error, await process.wait()
    finally:
        process.close()


async def feed(process: WindowsProcess, data: bytes) -> None:
    for at in range(0, len(data), 1 << 16):
        process.stdin.write(data[at : at + (1 << 16)])
        await process.stdin.drain()
    process.stdin.close()


async def read_all(output: Output) -> bytes:
    pieces = []
    while piece := await output.read(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


async def read_until(output: Output, word: bytes) -> None:
    """Read until `word` has come, or is shown where `output` is a console's."""
    got = b""
    while word not in _text_of(got):
        piece = await output.read(1 << 16)
        assert piece, got
        got += piece


def _text_of(output: bytes) -> bytes:
    """What a console shows: a blank may be a step to the right (CUF, ECMA-48)."""
    return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", output.replace(b"\x1b[1C", b" "))


async def refusal(scene: Scene, program: Program) -> int:
    """The errno with which `program` is refused."""
    try:
        process = await scene.host.start(program)
    except (HostError, ArgumentError) as error:
        return error.number
    process.kill()
    raise AssertionError(f"{program} was started")


# -- every host --------------------------------------------------------------------------------


async def drives_are_letters_of_directories(scene: Scene) -> None:
    drives = scene.host.drives()
    assert drives
    for letter, directory in drives.items():
        assert len(letter) == 1
        assert "A" <= letter <= "Z"
        assert os.path.isdir(directory), directory


async def what_a_drive_shows_has_a_windows_path(scene: Scene) -> None:
    for letter, directory in scene.host.drives().items():
        assert scene.host.windows_path(directory).upper() == f"{letter}:\\"
    path = scene.path("a name.txt")
    assert is_absolute(path)
    assert path.endswith("\\a name.txt"), path


async def the_search_path_is_of_windows_paths(scene: Scene) -> None:
    for directory in filter(None, scene.host.search_path().split(";")):
        assert is_absolute(directory.strip('"')), directory


async def what_cannot_be_run_is_refused(scene: Scene) -> None:
    assert await refusal(scene, Program(scene.path("nothing.exe"))) in (
        errno.ENOENT,
        errno.ENOEXEC,  # no program can be run here
    )


# -- hosts that run programs -------------------------------------------------------------------


async def output_errors_and_exit_code_are_separate(scene: Scene) -> None:
    assert await communicate(scene, scene.probe("cat"), b"x") == (b"x", b"end\n", 0)
    assert await communicate(scene, scene.probe("exit", "7")) == (b"", b"", 7)


async def pipes_are_exact(scene: Scene) -> None:
    data = bytes(range(256)) * 8000 + b"\r\n\x1a\0\n"
    out, error, status = await communicate(scene, scene.probe("cat"), data)
    assert out == data
    assert (error, status) == (b"end\n", 0)


async def arguments_arrive_as_they_were_given(scene: Scene) -> None:
    given = ["a b", "", 'say "hi"', "\\", "a\\\\", 'b\\"c', "ünï 日本", "*", "%PATH%", "c:\\x y\\"]
    out, _, _ = await communicate(scene, scene.probe("argv", *given))
    name, *arguments = (bytes.fromhex(line).decode() for line in out.decode().split("\n")[:-1])
    assert name.lower().endswith("probe.exe")
    assert arguments == given, arguments


async def it_starts_in_its_directory(scene: Scene) -> None:
    here = scene.host.windows_path(scene.directory)
    out, _, _ = await communicate(scene, replace(scene.probe("cwd"), directory=here))
    assert out.decode().strip().lower() == here.lower()
    out, _, _ = await communicate(scene, scene.probe("cwd"))
    assert out.decode().strip().upper() == "C:\\"


async def variables_are_changed_and_deleted(scene: Scene) -> None:
    os.environ["ISTHMUS_GIVEN"] = "the host's"
    try:
        scene = replace(scene, host=find_host(os.environ))
        for changes, value in (
            ({}, b"the host's"),
            ({"ISTHMUS_GIVEN": "ünï c"}, "ünï c".encode()),
            ({"ISTHMUS_GIVEN": ""}, b"unset"),
        ):
            program = replace(scene.probe("env", "ISTHMUS_GIVEN"), environment=changes)
            out, _, _ = await communicate(scene, program)
            assert out.strip() == value, (changes, out)
    finally:
        del os.environ["ISTHMUS_GIVEN"]


async def refusals_say_why(scene: Scene) -> None:
    assert await refusal(scene, Program(scene.path("nothing.exe"))) == errno.ENOENT
    assert await refusal(scene, Program(scene.path(os.path.join("no", "such.exe")))) == errno.ENOENT
    assert await refusal(scene, Program(scene.path("data.exe"))) == errno.EINVAL
    assert await refusal(scene, Program(scene.host.windows_path(scene.directory))) == errno.EACCES
    lost = replace(scene.probe("cwd"), directory=scene.path("no directory"))
    assert await refusal(scene, lost) == errno.ENOENT
    assert await refusal(scene, scene.probe("argv", "a\0b")) == errno.EINVAL
    assert await refusal(scene, scene.probe("argv", "x" * 32_767)) == errno.E2BIG


async def a_program_with_windows_is_known(scene: Scene) -> None:
    process = await scene.host.start(Program(scene.path("window.exe"), ["exit", "5"]))
    assert process.is_gui
    assert await process.wait() == 5
    process.close()
    process = await scene.host.start(scene.probe("exit", "0"))
    assert not process.is_gui
    assert await process.wait() == 0
    process.close()


async def killing_ends_what_it_has_started_too(scene: Scene) -> None:
    cmd = Program("C:\\windows\\system32\\cmd.exe", ["/c", scene.path("probe.exe"), "sleep"])
    process = await scene.host.start(cmd)
    await read_until(process.stdout, b"ready")
    process.kill()
    assert await process.wait() == KILLED_STATUS
    assert await read_all(process.stdout) == b"", "its child holds the pipe"
    process.kill()
    process.interrupt()
    process.resize(ConsoleSize(1, 1))
    process.close()


async def ctrl_c_ends_a_program(scene: Scene) -> None:
    process = await scene.host.start(scene.probe("sleep"))
    await read_until(process.stdout, b"ready")
    process.interrupt()
    assert await process.wait() & 0xFF == INTERRUPTED_STATUS
    process.close()


async def ctrl_c_can_be_handled(scene: Scene) -> None:
    process = await scene.host.start(scene.probe("handled"))
    await read_until(process.stdout, b"ready")
    process.interrupt()
    await read_until(process.stdout, b"interrupted")
    process.kill()
    await process.wait()
    process.close()


async def a_writer_notices_that_nobody_reads(scene: Scene) -> None:
    process = await scene.host.start(scene.probe("write", "100000000"))
    assert await process.stdout.read(1) == b"x"
    process.close_output(process.stdout)
    await process.wait()
    process.close()


async def a_console_shows_and_takes_keys(scene: Scene) -> None:
    program = replace(scene.probe("size"), console=ConsoleSize(30, 100))
    process = await scene.host.start(program)
    assert process.stderr is None
    await read_until(process.stdout, b"size 30 100.")
    process.stdin.write(b"\x03")
    await process.wait()
    process.close()


Case = Callable[[Scene], Awaitable[None]]


def _cases(section: Sequence[Case]) -> dict[str, Case]:
    return {case.__name__: case for case in section}


EVERYWHERE: dict[str, Case] = _cases(
    [
        drives_are_letters_of_directories,
        what_a_drive_shows_has_a_windows_path,
        the_search_path_is_of_windows_paths,
        what_cannot_be_run_is_refused,
    ]
)
"""Cases for every host."""

RUNNING: dict[str, Case] = _cases(
    [
        output_errors_and_exit_code_are_separate,
        pipes_are_exact,
        arguments_arrive_as_they_were_given,
        it_starts_in_its_directory,
        variables_are_changed_and_deleted,
        refusals_say_why,
        a_program_with_windows_is_known,
        killing_ends_what_it_has_started_too,
        ctrl_c_ends_a_program,
        ctrl_c_can_be_handled,
        a_writer_notices_that_nobody_reads,
        a_console_shows_and_takes_keys,
    ]
)
"""Cases for hosts that run Windows programs."""

ALL: dict[str, Case] = EVERYWHERE | RUNNING


def run_case(case: Case, scene: Scene) -> None:
    """Run one case; raises what it raises, and TimeoutError."""

    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_S):
            await case(scene)

    asyncio.run(bounded())


def main() -> None:
    """Run cases on this host."""
    directory, *names = sys.argv[1:]
    scene = Scene(find_host(os.environ), directory)
    failures = {}
    for name in names:
        try:
            run_case(ALL[name], scene)
            failures[name] = ""
        except Exception:
            failures[name] = traceback.format_exc()
    print(json.dumps(failures))


if __name__ == "__main__":
    main()
