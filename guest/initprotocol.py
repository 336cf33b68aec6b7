"""The messages of docs/protocol-init.md, their encoding and decoding. Pure.

The only declaration of that protocol in Python; guest.initclient gives all of it, with a client.
Strings are bytes without a NUL, as the kernel has them. Messages are NamedTuples and not
dataclasses, whose import would cost the agent's start more than all of this module.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from guest.agent.errors import AgentError

HEAD = struct.Struct("<IB3sI")
"""Head of every message (§3): body length, op, three zero bytes, token."""
ZERO = b"\0\0\0"
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_REPLY_BODY_BYTES = 32
REPLY_BIT = 0x80

_U32 = struct.Struct("<I")
_SPAWN_HEAD = struct.Struct("<III")
_KILL = struct.Struct("<iiI")
_OPEN_HEAD = struct.Struct("<II")
_ERRNO = struct.Struct("<i")
_SPAWN_REPLY = struct.Struct("<iIiI")
_EXIT = struct.Struct("<iiQQQ")


class Op(IntEnum):
    """Operations (§4)."""

    SPAWN = 1
    KILL = 2
    OPEN = 3
    STOP = 4
    EXIT = 0x40


class SpawnStage(IntEnum):
    """What failed in a SPAWN (§4.1)."""

    NONE = 0
    FORK = 1
    FDS = 2
    SESSION = 3
    TERMINAL = 4
    IDS = 5
    CWD = 6
    EXEC = 7


class KillTarget(IntEnum):
    """Whom a KILL signals (§4.2): one process, its group, or its terminal's foreground group."""

    PROCESS = 0
    GROUP = 1
    FOREGROUND = 2


class InitError(AgentError):
    """Root of what can go wrong between the agent and a distribution's init."""


class InitStartError(InitError):
    """distro-init could not make the distribution; nothing of it runs (§2).

    `stage` is a name from §2, `error` an errno, `subject` the path or option concerned.
    """

    def __init__(self, stage: str, error: int, subject: str) -> None:
        super().__init__(
            f"the distribution's init did not start: {stage}: {subject}: {os.strerror(error)}",
            hint="Its root file system may be damaged; the console log of the VM says more.",
        )
        self.stage = stage
        self.error = error
        self.subject = subject


class InitProtocolError(InitError):
    """The init sent something that docs/protocol-init.md does not allow: close the connection."""

    def __init__(self, message: str) -> None:
        super().__init__(
            f"the distribution's init broke its protocol: {message}",
            hint="Stop the distribution and start it again.",
        )


class InitRequestError(InitError):
    """A request that the protocol cannot carry; nothing was sent."""


class Spawn(NamedTuple):
    """§4.1: start a process, with three descriptors for its 0, 1 and 2.

    `environment` holds NAME=value. `file` is looked up in its PATH unless it has a slash. The
    first of `directories` that the new user can enter is the working directory; with none, "/".
    With `terminal`, the first descriptor that is one becomes the controlling terminal.
    """

    argv: tuple[bytes, ...]
    environment: tuple[bytes, ...]
    file: bytes
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    umask: int = 0o022
    directories: tuple[bytes, ...] = ()
    terminal: bool = False


class Kill(NamedTuple):
    """§4.2: signal a process of this connection. ESRCH: it is none, or has been reaped."""

    pid: int
    signal: int
    target: KillTarget = KillTarget.PROCESS


class Open(NamedTuple):
    """§4.3: open a file inside the distribution as its root user; the reply has one descriptor.

    `flags` are those of open(2); `mode` must be 0 unless they create.
    """

    path: bytes
    flags: int = os.O_RDONLY
    mode: int = 0


class Stop(NamedTuple):
    """§4.4: SIGTERM to every process of the distribution."""


Request: TypeAlias = Spawn | Kill | Open | Stop

FD_COUNTS = {Op.SPAWN: 3, Op.KILL: 0, Op.OPEN: 0, Op.STOP: 0}
"""How many descriptors go with each request."""


class Done(NamedTuple):
    """Reply to Kill and Stop. `error` is an errno, 0 if it was done."""

    token: int
    error: int


class SpawnReply(NamedTuple):
    """Reply to Spawn, when the program runs (`error` 0) or cannot.

    `directory` is the index of the working directory in `Spawn.directories`.
    """

    token: int
    error: int
    stage: SpawnStage
    pid: int
    directory: int


class OpenReply(NamedTuple):
    """Reply to Open. The receiver owns `fd` (close-on-exec); -1 if `error` is not 0."""

    token: int
    error: int
    fd: int


class ExitEvent(NamedTuple):
    """§4.5: a spawned process has ended. `status` is wait(2)'s raw status."""

    pid: int
    status: int
    user_us: int
    system_us: int
    maxrss_kib: int


Event: TypeAlias = Done | SpawnReply | OpenReply | ExitEvent


class Bind(NamedTuple):
    """§1: `source` of the utility VM, mounted at `target` of the distribution."""

    source: str
    target: str
    read_only: bool = False


def init_arguments(
    *,
    root: str,
    hostname: str,
    listen_fd: int,
    ready_fd: int,
    cgroup: str | None = None,
    binds: Sequence[Bind] = (),
) -> list[str]:
    """Give distro-init's command line (§1) but for the program itself.

    Raises:
        InitRequestError: a path of a bind has a colon, which the option cannot express.
    """
    arguments = ["--root", root, "--hostname", hostname]
    arguments += ["--listen-fd", str(listen_fd), "--ready-fd", str(ready_fd)]
    if cgroup is not None:
        arguments += ["--cgroup", cgroup]
    for bind in binds:
        if ":" in bind.source + bind.target:
            raise InitRequestError(f"a colon in the bind mount {bind.source} at {bind.target}")
        arguments += ["--bind", f"{bind.source}:{bind.target}{':ro' if bind.read_only else ''}"]
    return arguments


def parse_ready(line: bytes) -> int:
    """Decode what distro-init wrote to its ready descriptor before it ended (§2): pid 1's pid.

    Raises:
        InitStartError: it says why the distribution did not start.
        InitProtocolError: it says nothing known; `line` is empty if distro-init was killed.
    """
    words = line.decode("utf-8", "replace").rstrip("\n").split(" ", 3)
    if len(words) == 1 and words[0].isdecimal():
        return int(words[0])
    if len(words) == 4 and words[0] == "failed" and words[2].isdecimal():
        raise InitStartError(words[1], int(words[2]), words[3])
    raise InitProtocolError(f"ready line {line[:80]!r}")


def _strings(strings: Sequence[bytes]) -> bytes:
    for string in strings:
        if b"\0" in string:
            raise InitRequestError(f"a NUL byte in {string[:80]!r}")
    return b"".join([string + b"\0" for string in strings])


def _encode_spawn(spawn: Spawn) -> bytes:
    if not spawn.argv:
        raise InitRequestError("a process needs at least one argument, its name")
    return b"".join(
        [
            _SPAWN_HEAD.pack(int(spawn.terminal), spawn.uid, spawn.gid),
            struct.pack(f"<I{len(spawn.groups)}I", len(spawn.groups), *spawn.groups),
            struct.pack("<II", spawn.umask, len(spawn.directories)),
            _strings(spawn.directories),
            _U32.pack(len(spawn.argv)),
            _strings(spawn.argv),
            _U32.pack(len(spawn.environment)),
            _strings(spawn.environment),
            _strings((spawn.file,)),
        ]
    )


def op_of(request: Request) -> Op:
    """Give the operation that a request is."""
    if isinstance(request, Spawn):
        return Op.SPAWN
    if isinstance(request, Kill):
        return Op.KILL
    return Op.OPEN if isinstance(request, Open) else Op.STOP


def encode_request(request: Request, token: int) -> bytes:
    """Encode a whole message.

    Raises:
        InitRequestError: a string with a NUL byte, no argv, more than MAX_BODY_BYTES.
        struct.error: an integer that does not fit its field.
    """
    if isinstance(request, Spawn):
        body = _encode_spawn(request)
    elif isinstance(request, Kill):
        body = _KILL.pack(*request)
    elif isinstance(request, Open):
        body = _OPEN_HEAD.pack(request.flags, request.mode) + _strings((request.path,))
    else:
        body = b""
    if len(body) > MAX_BODY_BYTES:
        raise InitRequestError(
            f"the arguments and the environment take {len(body)} bytes of {MAX_BODY_BYTES}",
            hint="Pass long lists through standard input or a file.",
        )
    return HEAD.pack(len(body), op_of(request), ZERO, token) + body


def _decode_spawn_reply(token: int, body: bytes) -> SpawnReply:
    error, stage, pid, directory = _SPAWN_REPLY.unpack(body)
    if stage > max(SpawnStage) or (error == 0) != (stage == 0 and pid > 0):
        raise InitProtocolError(f"SPAWN reply with errno {error}, stage {stage}, pid {pid}")
    return SpawnReply(token, error, SpawnStage(stage), pid, directory)


def decode_event(op: int, token: int, body: bytes, fds: tuple[int, ...] = ()) -> Event:
    """Decode a message of the init, with the descriptors that came with it.

    Raises:
        InitProtocolError: an unknown op, a body of the wrong size, a value out of range, a
            descriptor missing or not asked for.
    """
    if op == Op.EXIT and token == 0 and len(body) == _EXIT.size and not fds:
        return ExitEvent(*_EXIT.unpack(body))
    if op == Op.SPAWN | REPLY_BIT and len(body) == _SPAWN_REPLY.size and not fds:
        return _decode_spawn_reply(token, body)
    if len(body) == _ERRNO.size:
        (error,) = _ERRNO.unpack(body)
        if op == Op.OPEN | REPLY_BIT and len(fds) == (1 if error == 0 else 0):
            return OpenReply(token, error, fds[0] if fds else -1)
        if op in (Op.KILL | REPLY_BIT, Op.STOP | REPLY_BIT) and not fds:
            return Done(token, error)
    raise InitProtocolError(f"op {op:#x}, {len(body)} bytes, {len(fds)} descriptors")
