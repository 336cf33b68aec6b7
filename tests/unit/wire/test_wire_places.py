"""Where Isthmus keeps things, on each system."""

from __future__ import annotations

import ntpath
import os
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.places import find_places


@pytest.mark.parametrize(
    ("environment", "platform", "home"),
    [
        ({"HOME": "/home/u"}, "linux", "/home/u/.local/state/isthmus"),
        ({"HOME": "/home/u", "XDG_STATE_HOME": "/s"}, "linux", "/s/isthmus"),
        ({"HOME": "/home/u", "XDG_STATE_HOME": "rel"}, "linux", "/home/u/.local/state/isthmus"),
        ({"HOME": "/home/u", "XDG_STATE_HOME": ""}, "linux", "/home/u/.local/state/isthmus"),
        ({"HOME": "/Users/u"}, "darwin", "/Users/u/Library/Application Support/isthmus"),
        ({"HOME": "/home/u", "ISTHMUS_HOME": "/x"}, "linux", "/x"),
        ({"HOME": "/home/u", "ISTHMUS_HOME": ""}, "linux", "/home/u/.local/state/isthmus"),
    ],
)
def test_home_by_system(environment: dict[str, str], platform: str, home: str) -> None:
    assert find_places(environment, platform, "1000").home == home


def test_home_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.places.os.path", ntpath)
    found = find_places({"LOCALAPPDATA": r"C:\Users\u\AppData\Local"}, "win32", "u")
    assert found.home == r"C:\Users\u\AppData\Local\isthmus"
    assert found.run_directory == r"C:\Users\u\AppData\Local\isthmus\run"


@pytest.mark.parametrize(
    ("platform", "variable"), [("linux", "HOME"), ("darwin", "HOME"), ("win32", "LOCALAPPDATA")]
)
def test_a_missing_variable_is_named(platform: str, variable: str) -> None:
    with pytest.raises(KeyError, match=variable):
        find_places({}, platform, "1000")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no unix sockets of ours")
@given(st.text("/abé\udcff", max_size=200).map(lambda tail: "/" + tail), st.integers(0, 2**31))
def test_a_socket_always_fits_into_sockaddr_un(home: str, uid: int) -> None:
    found = find_places({"ISTHMUS_HOME": home}, "linux", str(uid))
    assert len(found.endpoint.encode("utf-8", "surrogateescape")) <= 104
    if found.run_directory != posixpath.join(home, "run"):
        assert found.run_directory.startswith(f"/tmp/isthmus-{uid}-")


def test_long_homes_have_run_directories_of_their_own() -> None:
    one = find_places({"ISTHMUS_HOME": "/" + "a" * 120}, "linux", "1")
    other = find_places({"ISTHMUS_HOME": "/" + "b" * 120}, "linux", "1")
    assert one.run_directory != other.run_directory


def test_everything_that_lasts_is_below_the_home() -> None:
    found = find_places({"ISTHMUS_HOME": "/h"}, "linux", "1")
    assert [found.registry, found.disks, found.logs, found.lock, found.endpoint] == [
        os.path.join("/h", name)
        for name in (
            "distributions.json",
            "disks",
            "logs",
            "service.lock",
            os.path.join("run", "service"),
        )
    ]
