"""Who a session runs as: /etc/passwd and /etc/group as a distribution may have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest.agent.errors import AgentError
from guest.agent.users import MAX_ID, ROOT, find_user, parse_id
from wire import failures

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
1001:x:1002:1002:a name that looks like a number:/home/1001:/bin/sh
alice:x:1000:1000:Alice,,,:/home/alice:/bin/zsh
bob:x:1001:1001::/home/bob:
carol:x:1003:1003::/:/bin/sh
"""
GROUP = """\
root:x:0:
sudo:x:27:alice,bob
docker:x:999:alice
alice:x:1000:
broken:x:many:alice
short:x:5
"""


def test_a_user_by_name_has_home_shell_and_groups() -> None:
    user = find_user(PASSWD, GROUP, "alice", 0)
    assert (user.name, user.uid, user.gid) == ("alice", 1000, 1000)
    assert (user.home, user.shell) == ("/home/alice", "/bin/zsh")
    assert user.groups == (27, 999, 1000)


@pytest.mark.parametrize(
    ("wanted", "default_uid", "name"),
    [
        ("", 0, "root"),
        ("", 1000, "alice"),
        ("root", 1000, "root"),
        ("0", 1000, "root"),
        ("1000", 0, "alice"),
        ("1001", 0, "1001"),
        ("1002", 0, "1001"),
    ],
)
def test_names_go_before_numbers_and_nothing_is_the_default(
    wanted: str, default_uid: int, name: str
) -> None:
    assert find_user(PASSWD, GROUP, wanted, default_uid).name == name


def test_empty_fields_have_the_values_of_login() -> None:
    assert find_user(PASSWD, GROUP, "bob", 0).shell == "/bin/sh"
    assert find_user("x:x:7:7:::", GROUP, "x", 0).home == "/"


@pytest.mark.parametrize("wanted", ["nobody", "4242", "4294967295", "-1", "rooot", "\u0660"])
def test_an_unknown_user_is_refused_by_name(wanted: str) -> None:
    with pytest.raises(AgentError) as caught:
        find_user(PASSWD, GROUP, wanted, 1000)
    assert caught.value.code == failures.USER_NOT_FOUND
    assert wanted in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("passwd", ["", "garbage", PASSWD.replace("1000", "5000")])
def test_a_default_user_that_is_gone_is_root(passwd: str) -> None:
    assert find_user(passwd, GROUP, "", 1000).uid == 0
    assert find_user("", "", "root", 1000) is ROOT
    assert find_user("", "", "0", 1000) is ROOT


@pytest.mark.parametrize(
    "line",
    [
        ":x:0:0::/:/bin/sh",
        "short:x:0:0",
        "nis:x:::::",
        "+::::::",
        "big:x:4294967295:0::/:/bin/sh",
        "bigger:x:99999999999999999999:0::/:/bin/sh",
        "negative:x:-1:0::/:/bin/sh",
        "foreign:x:٣:٣::/:/bin/sh",
        "gid:x:3:x::/:/bin/sh",
        "nul:x:3:3::/ho\0me:/bin/sh",
    ],
)
def test_lines_that_are_no_entries_are_skipped(line: str) -> None:
    name = line.split(":")[0]
    with pytest.raises(AgentError):
        find_user(line, "", name or "3", 0)
    assert find_user(line + "\n" + PASSWD, GROUP, "", 1000).name == "alice"


@pytest.mark.parametrize("separator", "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r")
def test_a_full_name_cannot_hold_another_entry(separator: str) -> None:
    """Users set their own full names with chfn(1)."""
    passwd = PASSWD.replace("Alice,,,", f"Alice{separator}mallory:x:0:0::/root:/bin/sh")
    with pytest.raises(AgentError):
        find_user(passwd, GROUP, "mallory", 0)


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=10), st.integers())
def test_any_files_give_a_user_that_can_be_used(
    passwd: str, group: str, wanted: str, default_uid: int
) -> None:
    try:
        user = find_user(passwd, group, wanted, default_uid)
    except AgentError:
        assert wanted
        return
    assert 0 <= user.uid <= MAX_ID
    assert all(0 <= gid <= MAX_ID for gid in (user.gid, *user.groups))
    assert "\0" not in user.home + user.shell + user.name


def test_groups_are_as_many_as_the_kernel_takes() -> None:
    group = "\n".join(f"g{number}:x:{number}:alice" for number in range(70_000))
    assert len(find_user(PASSWD, group, "alice", 0).groups) == 65536


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("4294967294", MAX_ID),
        ("4294967295", None),
        ("", None),
        ("+1", None),
        ("1 ", None),
    ],
)
def test_numbers(text: str, number: int | None) -> None:
    assert parse_id(text) == number
