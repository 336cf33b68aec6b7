"""Sessions with a terminal: its line discipline is the guest's, its keys are the user's."""

from __future__ import annotations

import pytest

from tests.contract.sessions import SIZE, LinuxSignal, Place
from wire.common import Terminal
from wire.frame import StreamId

LOOP = "while :; do sleep 0.01; done"


def screen(process: object) -> bytes:
    from tests.contract.sessions import Process

    assert isinstance(process, Process)
    return process.output(StreamId.TERMINAL)


async def test_all_three_are_one_terminal_which_is_its_own(place: Place) -> None:
    process = await place.start(
        "test -t 0 && test -t 1 && test -t 2 && tty && echo yes > /dev/tty", terminal=SIZE
    )
    assert (await process.wait()).status == 0
    lines = screen(process).split(b"\r\n")
    assert lines[0].startswith(b"/dev/pts/")
    assert lines[1] == b"yes"
    assert process.output() == b""
    assert process.errors() == b""


async def test_it_has_the_size_of_the_users(place: Place) -> None:
    process = await place.start("stty size", terminal=Terminal(rows=31, columns=117))
    await process.wait()
    assert screen(process) == b"31 117\r\n"


async def test_another_size_is_told_to_the_process(place: Place) -> None:
    process = await place.start(f"trap 'stty size; exit 3' WINCH; echo up; {LOOP}", terminal=SIZE)
    await process.until_output(b"up", StreamId.TERMINAL)
    process.resize(50, 132)
    assert (await process.wait()).status == 3
    assert screen(process).endswith(b"50 132\r\n")


async def test_keys_are_read_by_the_line(place: Place) -> None:
    process = await place.start("read line; echo got:$line", terminal=SIZE)
    await process.press("hé\x7fallo\r".encode())
    await process.wait()
    assert screen(process).endswith(b"got:hallo\r\n")


async def test_control_c_interrupts_what_is_in_the_foreground(place: Place) -> None:
    process = await place.start(f"trap 'echo caught; exit 7' INT; echo up; {LOOP}", terminal=SIZE)
    await process.until_output(b"up", StreamId.TERMINAL)
    await process.press(b"\x03")
    assert (await process.wait()).status == 7
    assert b"^C" in screen(process)


async def test_control_c_kills_what_does_not_object(place: Place) -> None:
    process = await place.start(None, "sh", "-c", "echo up; exec sleep 1000", terminal=SIZE)
    await process.until_output(b"up", StreamId.TERMINAL)
    await process.press(b"\x03")
    assert (await process.wait()).signal == LinuxSignal.INT


async def test_control_d_is_the_end_of_input(place: Place) -> None:
    process = await place.start("cat; echo end", terminal=SIZE)
    await process.press(b"line\r\x04")
    assert (await process.wait()).status == 0
    assert screen(process) == b"line\r\nline\r\nend\r\n"


async def test_raw_mode_is_the_processs_to_choose(place: Place) -> None:
    process = await place.start(
        "stty raw -echo; echo up; head -c 3 | od -An -tx1; stty sane", terminal=SIZE
    )
    await process.until_output(b"up", StreamId.TERMINAL)
    await process.press(b"\x03\r\xff")
    await process.wait()
    assert b"03 0d ff" in screen(process)


async def test_a_hang_up_is_the_terminals_disappearance(place: Place) -> None:
    process = await place.start(f"trap 'exit 9' HUP; echo up; {LOOP}", terminal=SIZE)
    await process.until_output(b"up", StreamId.TERMINAL)
    process.hang_up()
    assert (await process.wait()).status == 9


async def test_a_login_shell_has_job_control(place: Place) -> None:
    process = await place.start(terminal=SIZE)
    await process.press(b"set -m; sleep 1000 & jobs; kill -9 %1; wait; exit 4\r")
    assert (await process.wait()).status == 4
    assert b"sleep 1000" in screen(process).split(b"exit 4", 1)[1]
    assert b"job control turned off" not in screen(process)
    assert b"can't access tty" not in screen(process)


@pytest.mark.parametrize("redirected", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
async def test_redirected_descriptors_are_pipes_beside_the_terminal(
    place: Place, redirected: tuple[int, ...]
) -> None:
    tests = "; ".join(f"test -t {fd} && echo {fd} > /dev/tty" for fd in (0, 1, 2))
    line = f"{tests}; cat <&0 >/dev/null; echo out; echo err >&2"
    process = await place.start(line, terminal=SIZE, redirected=redirected)
    if 0 in redirected:
        await process.write(b"in")
        process.end_input()
    else:
        await process.press(b"\x04")
    await process.wait()
    seen = screen(process).decode().split()
    assert [word for word in seen if word.isdigit()] == [
        str(fd) for fd in (0, 1, 2) if fd not in redirected
    ]
    assert process.output() == (b"out\n" if 1 in redirected else b"")
    assert process.errors() == (b"err\n" if 2 in redirected else b"")
    assert ("out" in seen, "err" in seen) == (1 not in redirected, 2 not in redirected)


async def test_a_pipe_beside_the_terminal_has_flow_control_of_its_own(place: Place) -> None:
    """As in `lx cat FILE | less`: what is shown goes on while the pipe waits."""
    process = await place.start(
        "yes & read x; echo $x >&2; kill $!", terminal=SIZE, redirected=(1,), reads=False
    )
    await process.until(lambda: len(process.output()) == 2**20)
    await process.press(b"hello\r")
    await process.until_output(b"hello\r\nhello", StreamId.TERMINAL)
    process.read_from_now_on()
    assert (await process.wait()).status == 0


async def test_a_background_child_does_not_keep_the_terminal(place: Place) -> None:
    process = await place.start("trap '' HUP; sleep 1000 & echo $!", terminal=SIZE)
    assert (await process.wait()).status == 0
    await place.run(f"kill {int(screen(process))}")
