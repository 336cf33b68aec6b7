"""The messages of distro-init: their bytes, and that C and Python declare the same."""

from __future__ import annotations

import errno
import os
import re
import struct
from pathlib import Path

import pytest

from guest import initprotocol
from guest.initprotocol import (
    HEAD,
    MAX_BODY_BYTES,
    REPLY_BIT,
    ZERO,
    Bind,
    InitProtocolError,
    InitRequestError,
    InitStartError,
    Kill,
    KillTarget,
    Op,
    Open,
    Spawn,
    SpawnStage,
    Stop,
    decode_event,
    encode_request,
    init_arguments,
    parse_ready,
)

NATIVE = Path(initprotocol.__file__).parent / "native"


def c_constants(pattern: str) -> dict[str, int]:
    """The enumerators of init_protocol.h whose names match, with their values."""
    text = re.sub(r"/\*.*?\*/", "", (NATIVE / "init_protocol.h").read_text(), flags=re.DOTALL)
    found = re.findall(rf"\b{pattern}\s*=\s*([^,}}]+)", text)
    return {name: eval(value) for name, value in found}


def test_python_and_c_declare_the_same() -> None:
    assert c_constants(r"OP_(\w+)") == {op.name: op.value for op in Op}
    assert c_constants(r"SPAWN_STAGE_(\w+)") == {stage.name: stage.value for stage in SpawnStage}
    assert c_constants(r"KILL_(\w+)") == {target.name: target.value for target in KillTarget}
    assert c_constants(r"(PROTOCOL_HEAD_BYTES)") == {"PROTOCOL_HEAD_BYTES": HEAD.size}
    assert c_constants(r"(PROTOCOL_MAX_BODY_BYTES)").popitem()[1] == MAX_BODY_BYTES
    assert c_constants(r"(PROTOCOL_REPLY_BIT)").popitem()[1] == REPLY_BIT
    assert c_constants(r"(PROTOCOL_SPAWN_FDS)").popitem()[1] == initprotocol.FD_COUNTS[Op.SPAWN]


def test_the_bytes_of_each_request() -> None:
    spawn = Spawn(
        argv=(b"-sh", b""),
        environment=(b"A=\xff",),
        file=b"/bin/sh",
        uid=1000,
        gid=100,
        groups=(4, 5),
        umask=0o27,
        directories=(b"/home", b"/"),
        terminal=True,
    )
    body = (
        struct.pack("<IIIIII", 1, 1000, 100, 2, 4, 5)
        + struct.pack("<II", 0o27, 2)
        + b"/home\0/\0"
        + struct.pack("<I", 2)
        + b"-sh\0\0"
        + struct.pack("<I", 1)
        + b"A=\xff\0"
        + b"/bin/sh\0"
    )
    assert encode_request(spawn, 9) == HEAD.pack(len(body), 1, ZERO, 9) + body
    kill = Kill(-5, 15, KillTarget.FOREGROUND)
    assert encode_request(kill, 1)[HEAD.size :] == struct.pack("<iiI", -5, 15, 2)
    request = Open(b"/dev/ptmx", os.O_RDWR, 0)
    assert encode_request(request, 1)[HEAD.size :] == struct.pack("<II", 2, 0) + b"/dev/ptmx\0"
    assert encode_request(Stop(), 2**32 - 1) == struct.pack("<IB3xI", 0, 4, 2**32 - 1)


def test_command_line() -> None:
    arguments = init_arguments(
        root="/r",
        hostname="h",
        listen_fd=3,
        ready_fd=4,
        cgroup="/c",
        binds=[Bind("/a", "/b"), Bind("/c", "/d", read_only=True)],
    )
    assert " ".join(arguments) == (
        "--root /r --hostname h --listen-fd 3 --ready-fd 4 --cgroup /c --bind /a:/b --bind /c:/d:ro"
    )
    with pytest.raises(InitRequestError, match="colon"):
        init_arguments(root="/", hostname="h", listen_fd=3, ready_fd=4, binds=[Bind("/a:b", "/c")])


def test_ready_lines() -> None:
    assert parse_ready(b"1234\n") == 1234
    with pytest.raises(InitStartError) as raised:
        parse_ready(b"failed mount 40 /a b/proc\n")
    error = raised.value
    assert (error.stage, error.error, error.subject) == ("mount", errno.ELOOP, "/a b/proc")
    assert "mount: /a b/proc: Too many levels" in error.message
    assert error.hint


@pytest.mark.parametrize("line", [b"", b"\n", b"-1\n", b"1 2\n", b"failed mount x y\n", b"\xff"])
def test_ready_lines_that_say_nothing(line: bytes) -> None:
    with pytest.raises(InitProtocolError):
        parse_ready(line)


@pytest.mark.parametrize(
    "rest",
    [(0, 0, 0), (8, 5, 0), (7, 5, 0), (0, -1, 0)],
    ids=["no pid", "stage unknown", "failed and runs", "negative pid"],
)
def test_spawn_replies_that_contradict_themselves(rest: tuple[int, int, int]) -> None:
    with pytest.raises(InitProtocolError):
        decode_event(Op.SPAWN | REPLY_BIT, 1, struct.pack("<iIiI", 0, *rest))
