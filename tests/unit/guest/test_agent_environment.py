"""Environment, command line and request of a process, as a Spawn asks for it."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest import initclient
from guest.agent.environment import (
    command_line,
    compose_environment,
    language_of,
    program_of,
)
from guest.agent.errors import AgentError, failure_of
from guest.agent.spawning import expand_home, spawn_error, spawn_request
from guest.agent.users import User
from guest.initprotocol import encode_request
from wire import failures
from wire.agent import Spawn
from wire.common import Terminal

ALICE = User("alice", 1000, 1000, "/home/alice", "/bin/zsh", (27, 1000))


def test_the_environment_says_who_and_where() -> None:
    environment = compose_environment(ALICE, "Debian", "de_DE.UTF-8", {"TERM": "vt100", "X": "1"})
    assert environment["HOME"] == "/home/alice"
    assert environment["USER"] == environment["LOGNAME"] == "alice"
    assert environment["SHELL"] == "/bin/zsh"
    assert environment["NAME"] == environment["WSL_DISTRO_NAME"] == "Debian"
    assert environment["LANG"] == "de_DE.UTF-8"
    assert environment["TERM"] == "vt100"
    assert environment["HOSTTYPE"] == "x86_64"
    assert environment["PATH"].startswith("/usr/local/sbin:")
    assert environment["X"] == "1"


@pytest.mark.parametrize("name", ["HOME", "USER", "LOGNAME", "SHELL", "NAME", "WSL_DISTRO_NAME"])
def test_the_host_does_not_say_who_or_where(name: str) -> None:
    environment = compose_environment(ALICE, "Debian", "", {name: "evil"})
    assert environment[name] != "evil"


def test_a_distribution_without_a_language_gets_one_that_needs_no_files() -> None:
    assert compose_environment(ALICE, "Debian", "", {})["LANG"] == "C.UTF-8"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", ""),
        ("LANG=en_US.UTF-8\n", "en_US.UTF-8"),
        ("# LANG=x\nLC_ALL=C\n  LANG = y\nLANG='de_DE.UTF-8'\n", "de_DE.UTF-8"),
        ('LANG="C.UTF-8"', "C.UTF-8"),
        ("LANG=a\0b", ""),
        ("LANG=\x1b[31m", ""),
        ("LANG=\u2028", ""),
        ("LANGUAGE=de", ""),
    ],
)
def test_the_language_of_a_locale_file(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    ("line", "argv", "login", "expected", "program"),
    [
        (None, (), False, ["-zsh"], "/bin/zsh"),
        (None, (), True, ["-zsh"], "/bin/zsh"),
        ("ls | wc", (), False, ["/bin/zsh", "-c", "ls | wc"], "/bin/zsh"),
        ("ls", (), True, ["/bin/zsh", "-l", "-c", "ls"], "/bin/zsh"),
        ("", (), False, ["/bin/zsh", "-c", ""], "/bin/zsh"),
        (None, ("ls", "-l"), False, ["ls", "-l"], "ls"),
        ("ignored", ("ls",), True, ["ls"], "ls"),
    ],
)
def test_command_lines(
    line: str | None, argv: tuple[str, ...], login: bool, expected: list[str], program: str
) -> None:
    assert command_line(ALICE, line, argv, login) == expected
    assert program_of(ALICE, argv) == program


@pytest.mark.parametrize(
    ("path", "expanded"),
    [("~", "/home/alice"), ("~/x", "/home/alice/x"), ("~bob", "~bob"), ("/a/~", "/a/~"), ("", "")],
)
def test_home_in_a_path(path: str, expanded: str) -> None:
    assert expand_home(path, ALICE.home) == expanded


def test_a_request_for_the_init() -> None:
    spawn = Spawn(
        session=1,
        distribution="d",
        argv=("printf", "\udcffé"),
        directories=("/nowhere", "~"),
        environment={"A": "b=c"},
        terminal=Terminal(rows=1, columns=1),
    )
    request = spawn_request(spawn, ALICE, "Debian", "", 0o077)
    assert request.argv == (b"printf", b"\xff\xc3\xa9")
    assert request.file == b"printf"
    assert request.directories == (b"/nowhere", b"/home/alice", b"/")
    assert b"A=b=c" in request.environment
    assert (request.uid, request.gid, request.groups) == (1000, 1000, (27, 1000))
    assert request.terminal
    assert request.umask == 0o077
    encode_request(request, 1)


@pytest.mark.parametrize(
    "spawn",
    [
        Spawn(session=1, distribution="d", argv=("a",) * 300_000),
        Spawn(session=1, distribution="d", directories=("/",) * 16),
        Spawn(
            session=1,
            distribution="d",
            environment={str(number): "" for number in range(300_000)},
        ),
    ],
    ids=["argv", "directories", "environment"],
)
def test_what_the_init_would_take_for_malformed_is_refused(spawn: Spawn) -> None:
    """It ends the connection of whoever sends that, and with it all sessions."""
    with pytest.raises(AgentError, match="Argument list too long"):
        spawn_request(spawn, ALICE, "Debian", "")


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=5),
    st.dictionaries(
        st.text(max_size=5).filter(str.isascii), st.text(max_size=5).filter(str.isascii)
    ),
)
def test_any_request_is_encoded_or_refused(argv: list[str], environment: dict[str, str]) -> None:
    spawn = Spawn(session=1, distribution="d", argv=tuple(argv), environment=environment)
    try:
        encode_request(spawn_request(spawn, ALICE, "Debian", ""), 1)
    except initclient.InitRequestError:
        assert "\0" in "".join([*argv, *environment, *environment.values()])


@pytest.mark.parametrize(
    ("stage", "error", "code", "text"),
    [
        (initclient.SpawnStage.EXEC, errno.ENOENT, failures.EXEC_NOT_FOUND, "command not found"),
        (initclient.SpawnStage.EXEC, errno.EACCES, failures.EXEC_FAILED, "Permission denied"),
        (initclient.SpawnStage.FORK, errno.EAGAIN, failures.EXEC_FAILED, "fork"),
        (initclient.SpawnStage.CWD, errno.ENOENT, failures.EXEC_FAILED, "cwd"),
    ],
)
def test_why_a_process_was_not_started(
    stage: initclient.SpawnStage, error: int, code: str, text: str
) -> None:
    request = initclient.Spawn(argv=(b"x",), environment=(), file=b"/bin/x\xff")
    failure = spawn_error(initclient.SpawnReply(1, error, stage, 0, 0), request).to_failure()
    assert failure.code == code
    assert text in failure.message
    assert "/bin/x\udcff" in failure.message


def test_every_error_becomes_a_failure() -> None:
    assert failure_of(AgentError("no", code="C", hint="h")).hint == "h"
    assert failure_of(OSError(errno.EIO, "Input/output error", "f")).code == failures.AGENT_FAILED
    assert failure_of(ZeroDivisionError("by zero")).code == failures.INTERNAL
