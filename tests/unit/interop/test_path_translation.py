"""The translator's properties: round trips, idempotence, and no error but its own."""

from __future__ import annotations

import errno
import os
import posixpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.interop.wslpath_worlds import HIDDEN, OURS, WSL
from wire.errors import PathError
from wire.mounts import Mounts
from wire.paths import Translator, with_slashes
from wire.windowspath import FORBIDDEN, escape

fast = settings(deadline=None, max_examples=50)

TRANSLATORS = [
    Translator(Mounts.parse(OURS), "Debian"),
    Translator(Mounts.parse(WSL), "Ubuntu-24.04"),
    Translator(Mounts.parse(HIDDEN), "Debian"),
    Translator(Mounts.parse(HIDDEN), ""),
    Translator(Mounts([]), "Debian"),
]
OURS_ONLY = TRANSLATORS[0]

PRIVATE = set(escape("".join(FORBIDDEN)))
PARENTS = ["/mnt/c", "/mnt/d", "/mnt/my drive", "/mnt/share", "/data", "/srv/projects", "", "/home"]

linux_names = st.one_of(
    st.text(min_size=1, max_size=8),
    st.binary(min_size=1, max_size=8).map(lambda name: name.decode("utf-8", "surrogateescape")),
    st.text("ab:*\\|\n .", min_size=1, max_size=6),
).filter(lambda name: name not in (".", "..") and not set(name) & {"/", "\0"})
linux_paths = st.builds(
    lambda parent, names: "/".join([parent, *names]),
    st.sampled_from(PARENTS),
    st.lists(linux_names, min_size=1, max_size=4),
)
odd_windows = st.text("Cc:\\/.?UNCwsl$Debian~\uf03a", max_size=24) | st.text(max_size=10)
odd_linux = st.text("mnt/c./data:\\\udc80", max_size=24) | st.text(max_size=10)


def nowhere() -> str:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


@fast
@given(linux_paths)
def test_linux_paths_come_back(path: str) -> None:
    """All but those on drives whose names Windows forbids, or that look like such names."""
    windows = OURS_ONLY.absolute_to_windows(path)
    back = OURS_ONLY.absolute_to_linux(windows)
    on_drive = not windows.startswith("\\\\wsl.localhost")
    if set(path) & PRIVATE or (on_drive and set(path) & FORBIDDEN):
        assert OURS_ONLY.absolute_to_windows(back) == windows
    else:
        assert back == path


@fast
@given(linux_paths)
def test_windows_paths_hold_only_what_windows_allows(path: str) -> None:
    windows = OURS_ONLY.absolute_to_windows(path)
    below = windows[2:].replace("\\", "") if windows[1] == ":" else windows.replace("\\", "")
    assert not set(below) & FORBIDDEN
    assert with_slashes(windows).replace("/", "\\") == windows


@fast
@given(
    st.sampled_from(["C:", "D:", "E:", "\\\\server\\share", "\\\\wsl.localhost\\Debian"]),
    st.lists(linux_names.filter(lambda name: not set(name) & (FORBIDDEN | PRIVATE)), max_size=4),
)
def test_windows_paths_come_back(root: str, names: list[str]) -> None:
    windows = root + "\\" + "\\".join(names)
    linux = OURS_ONLY.absolute_to_linux(windows)
    back = OURS_ONLY.absolute_to_windows(linux)
    assert back == windows if linux != "/" else back == root + "\\"


@fast
@given(st.sampled_from(TRANSLATORS), odd_windows, odd_linux, st.booleans())
def test_no_windows_path_is_too_odd(
    translator: Translator, path: str, directory: str, absolute: bool
) -> None:
    for getcwd in (nowhere, lambda: "/" + directory):
        try:
            result = translator.to_linux(path, getcwd, absolute=absolute)
        except PathError as error:
            assert error.path == path
        else:
            assert result
            assert result.startswith("/") or not absolute


@fast
@given(st.sampled_from(TRANSLATORS), odd_linux, odd_linux, st.booleans(), st.booleans())
def test_no_linux_path_is_too_odd(
    translator: Translator, path: str, directory: str, absolute: bool, exists: bool
) -> None:
    def realpath(asked: str) -> str:
        if not exists:
            nowhere()
        return posixpath.normpath(posixpath.join("/" + directory, asked))

    for getcwd in (nowhere, lambda: "/" + directory):
        try:
            result = translator.to_windows(path, getcwd, realpath, absolute=absolute)
        except PathError as error:
            assert error.path == path
        else:
            assert result


@fast
@given(linux_paths)
def test_a_path_seen_from_its_parent_is_its_name(path: str) -> None:
    parent, name = posixpath.split(path)
    directory = parent or "/"
    relative = OURS_ONLY.to_windows(name, lambda: directory)
    assert relative == escape(name)
    absolute = OURS_ONLY.to_windows(name, lambda: directory, absolute=True)
    assert absolute == OURS_ONLY.absolute_to_windows(path)


def test_what_lies_on_a_drive() -> None:
    assert OURS_ONLY.drive_path("/mnt/c/a:b") == "C:\\a\uf03ab"
    assert OURS_ONLY.drive_path("/mnt/d/") == "D:\\"
    assert OURS_ONLY.drive_path("/home/me") is None
    assert OURS_ONLY.drive_path("/mnt/c/../x") is None
    for path in ["", "mnt/c", "/.."]:
        with pytest.raises(PathError):
            OURS_ONLY.drive_path(path)


def test_realpath_decides_before_names_do() -> None:
    assert OURS_ONLY.to_windows("x", nowhere, lambda _: "/mnt/d/x") == "D:\\x"
    assert OURS_ONLY.to_windows("x/", nowhere, lambda _: "/mnt/d") == "D:\\"


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOTDIR, errno.ELOOP])
def test_an_error_of_the_file_system_is_passed_on(number: int) -> None:
    def realpath(_path: str) -> str:
        raise OSError(number, os.strerror(number))

    with pytest.raises(PathError) as caught:
        OURS_ONLY.to_windows("/x", nowhere, realpath)
    assert (caught.value.path, caught.value.number) == ("/x", number)


def test_errors_carry_what_was_asked_and_a_hint() -> None:
    with pytest.raises(PathError) as caught:
        OURS_ONLY.to_linux("Z:\\x", nowhere)
    assert (caught.value.path, caught.value.number) == ("Z:\\x", errno.EINVAL)
    assert str(caught.value) == "'Z:\\x' is not on a drive that is mounted here"
    assert "mounted" in caught.value.hint
    with pytest.raises(PathError, match="not absolute"):
        OURS_ONLY.absolute_to_windows("x")
