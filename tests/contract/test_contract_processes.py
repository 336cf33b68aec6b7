"""Processes: how they are started, what they get, how their end is told."""

from __future__ import annotations

import os

import pytest

from service.errors import ServiceError
from tests.contract.sessions import LinuxSignal, Place
from wire import failures
from wire.common import Exited
from wire.frame import StreamId


def end(status: int, number: int = 0) -> tuple[int, int]:
    return status, number


def end_of(exited: Exited | None) -> tuple[int, int]:
    assert exited is not None
    return exited.status, exited.signal


async def test_a_program_is_executed_with_its_arguments(place: Place) -> None:
    process = await place.run(None, "printf", "%s|", "a b", "", "$HOME", "*")
    assert process.output() == b"a b||$HOME|*|"


async def test_arguments_are_any_bytes(place: Place) -> None:
    process = await place.run(None, "printf", "%s", os.fsdecode(bytes(range(1, 256))))
    assert process.output() == bytes(range(1, 256))


async def test_the_environment_is_any_bytes(place: Place) -> None:
    value = bytes(range(1, 256)).replace(b"\n", b"")
    process = await place.run('printf %s "$X"', environment={"X": os.fsdecode(value)})
    assert process.output() == value


async def test_a_line_is_the_shells(place: Place) -> None:
    assert await place.text("echo $((6 * 7)); echo a | tr a b; exit 0") == "42\nb\n"


async def test_neither_line_nor_arguments_is_a_login_shell(place: Place) -> None:
    process = await place.start()
    await process.write(b"echo $0\n")
    process.end_input()
    await process.wait()
    assert process.output() == b"-sh\n"


@pytest.mark.parametrize("status", [0, 1, 42, 127, 255])
async def test_exit_statuses_pass(place: Place, status: int) -> None:
    assert end_of((await place.run(f"exit {status}")).exited) == end(status)


@pytest.mark.parametrize("name", ["TERM", "KILL", "HUP", "SEGV"])
async def test_death_by_a_signal_is_told(place: Place, name: str) -> None:
    exited = (await place.run(f"ulimit -c 0; kill -{name} $$")).exited
    assert end_of(exited) == end(0, LinuxSignal[name])
    assert exited is not None
    assert not exited.core_dumped


@pytest.mark.parametrize(
    "number", [LinuxSignal.INT, LinuxSignal.TERM, LinuxSignal.KILL, LinuxSignal.REALTIME]
)
async def test_signals_reach_the_whole_group(place: Place, number: int) -> None:
    process = await place.start("(echo up; sleep 1000) | cat; echo never")
    await process.until_output(b"up\n")
    process.signal(number)
    assert end_of(await process.wait()) == end(0, number)
    assert process.ended >= {StreamId.STDOUT, StreamId.STDERR}, "nobody holds them any more"
    assert process.output() == b"up\n"


async def test_a_signal_can_be_handled(place: Place) -> None:
    line = "trap 'echo caught; exit 7' USR1; echo up; while :; do sleep 0.01; done"
    process = await place.start(line)
    await process.until_output(b"up")
    process.signal(LinuxSignal.USR1)
    assert end_of(await process.wait()) == end(7)
    assert process.output() == b"up\ncaught\n"


async def test_signals_have_their_default_actions(place: Place) -> None:
    lines = (await place.text("grep -E 'Sig(Ign|Blk)' /proc/self/status")).split()
    assert lines[:3] == ["SigBlk:", "0" * 16, "SigIgn:"]
    # Two of glibc's own, and SIGQUIT, which the shell of the small distribution leaves ignored.
    assert int(lines[3], 16) & ~(1 << 31 | 1 << 32 | 1 << 2) == 0


async def test_a_process_gets_three_descriptors(place: Place) -> None:
    listing = await place.text("exec 9</proc/self/fd; ls /proc/self/fd; true")
    # 9 is ours, and the directory that ls reads has the lowest free number.
    assert listing.split() == ["0", "1", "2", "3", "9"]


async def test_a_process_leads_its_session(place: Place) -> None:
    pid, session = (await place.text("echo $$; cut -d' ' -f6 /proc/$$/stat")).split()
    assert pid == session


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("no-such-program", failures.EXEC_NOT_FOUND),
        ("/no/such/program", failures.EXEC_NOT_FOUND),
        ("/etc/passwd", failures.EXEC_FAILED),
        ("/", failures.EXEC_FAILED),
    ],
)
async def test_what_cannot_be_executed_is_refused(place: Place, program: str, code: str) -> None:
    with pytest.raises(ServiceError) as caught:
        await place.start(None, program)
    assert caught.value.code == code
    assert program in caught.value.message


@pytest.mark.parametrize(
    "argv",
    [("echo", "a\0b"), ("echo", "x" * 200_000), ("echo", *["x"] * 300_000)],
    ids=["nul", "long", "many"],
)
async def test_arguments_that_no_process_can_have_are_refused(
    place: Place, argv: tuple[str, ...]
) -> None:
    with pytest.raises(ServiceError):
        await place.start(None, *argv)
    assert await place.text("echo still here") == "still here\n"


async def test_background_children_do_not_hold_the_end_up(place: Place) -> None:
    process = await place.run("sleep 1000 & echo $!")
    assert end_of(process.exited) == end(0)
    assert await place.text(f"kill {int(process.output())}") == "", "it is still there"


async def test_background_children_that_write_do_not_hold_the_end_up(place: Place) -> None:
    process = await place.run("yes & echo $! >&2; exit 3")
    assert end_of(process.exited) == end(3)
    assert not (await place.run(f"kill -0 {int(process.errors())}")).output()


async def test_a_hang_up_ends_what_does_not_object(place: Place) -> None:
    process = await place.start("echo up; sleep 1000; echo never")
    await process.until_output(b"up")
    process.hang_up()
    assert end_of(await process.wait()) == end(0, LinuxSignal.HUP)


async def test_a_hang_up_is_survived_by_what_ignores_it(place: Place) -> None:
    process = await place.start("trap '' HUP; echo $$; read x; exec sleep 1000")
    await process.until_output(b"\n")
    process.hang_up()
    pid = int(process.output())
    while await place.text(f"cat /proc/{pid}/comm") != "sleep\n":
        pass
    await place.text(f"kill -TERM {pid}")
    assert end_of(await process.wait()) == end(0, LinuxSignal.TERM)


async def test_a_user_has_what_is_his(distribution: Place) -> None:
    text = await distribution.text("id -u; id -G; echo $HOME $USER $SHELL; pwd; umask", user="ada")
    assert text.split() == [
        "1000",
        "1000",
        "2000",
        "/home/ada",
        "ada",
        "/bin/sh",
        "/home/ada",
        "0022",
    ]


async def test_an_unknown_user_is_refused(distribution: Place) -> None:
    with pytest.raises(ServiceError) as caught:
        await distribution.start("true", user="nobody-here")
    assert caught.value.code == failures.USER_NOT_FOUND


async def test_the_first_directory_that_can_be_entered_is_told(distribution: Place) -> None:
    process = await distribution.run("pwd", directories=("/nowhere", "/etc/passwd", "/tmp", "~"))
    assert process.output() == b"/tmp\n"
    assert process.spawned.directory == "/tmp"
    process = await distribution.run("pwd", user="homeless")
    assert process.output() == b"/\n"
    process = await distribution.run("pwd", user="ada", directories=("/root", "~"))
    assert process.output() == b"/home/ada\n"


async def test_a_distribution_that_does_not_run_runs_nothing(distribution: Place) -> None:
    other = Place("other", distribution.guest, "f" * 32)
    with pytest.raises(ServiceError):
        await other.start("true")
