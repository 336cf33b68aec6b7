"""What distro-init refuses to start on, and how it says so."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from guest.initclient import Bind, InitStartError, parse_ready
from tests.unit.native.harness import Launcher

assert sys.platform != "win32"


def start_error(launcher: Launcher, root: Path, **options: object) -> tuple[str, int, str]:
    with pytest.raises(InitStartError) as raised:
        launcher.try_start(root, **options)  # type: ignore[arg-type]
    return raised.value.stage, raised.value.error, raised.value.subject


def host_mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


LINKS = {
    "absolute": "/",
    "relative": "../../../../../../..",
    "within": "tmp",
    "dangling": "/nowhere",
    "loop": "proc",
    "magic": "/proc/self/root",
}


@pytest.mark.parametrize(
    ("mount_point", "target"),
    [*(("proc", target) for target in LINKS.values()), ("dev", "/"), ("sys", "/"), ("run", "tmp")],
)
def test_a_mount_point_that_is_a_link_is_not_followed(
    launcher: Launcher, mount_point: str, target: str
) -> None:
    root = launcher.make_root()
    (root / mount_point).symlink_to(target)
    before = host_mounts()
    assert start_error(launcher, root) == ("mount", errno.ELOOP, f"/{mount_point}")
    assert host_mounts() == before


@pytest.mark.parametrize("target", LINKS.values(), ids=LINKS.keys())
def test_a_bind_below_a_link_is_not_followed(
    launcher: Launcher, tmp_path: Path, target: str
) -> None:
    root = launcher.make_root()
    (root / "mnt").symlink_to(target)
    bind = Bind(str(tmp_path), "/mnt/made/here")
    assert start_error(launcher, root, binds=[bind]) == ("bind", errno.ELOOP, "/mnt/made/here")
    assert not Path("/made").exists()
    assert not (root / "tmp/made").exists()


def make_file(path: Path) -> None:
    path.write_text("")


@pytest.mark.parametrize("make", [make_file, os.mkfifo])
def test_a_mount_point_that_is_no_directory(
    launcher: Launcher, make: Callable[[Path], None]
) -> None:
    root = launcher.make_root()
    make(root / "sys")
    assert start_error(launcher, root) == ("mount", errno.ENOTDIR, "/sys")


def test_a_file_bound_over_a_directory(launcher: Launcher, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    bind = Bind(str(file), "/tmp")
    assert start_error(launcher, launcher.make_root(), binds=[bind]) == (
        "bind",
        errno.EISDIR,
        "/tmp",
    )


def test_a_directory_bound_over_a_fifo(launcher: Launcher, tmp_path: Path) -> None:
    root = launcher.make_root()
    os.mkfifo(root / "fifo")
    bind = Bind(str(tmp_path), "/fifo")
    assert start_error(launcher, root, binds=[bind]) == ("bind", errno.ENOTDIR, "/fifo")


def test_a_missing_mount_point_on_a_read_only_root(launcher: Launcher) -> None:
    root = launcher.make_root()
    script = f'mount --bind -o ro "{root}" "{root}" && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", script, "sh"]
    assert start_error(launcher, root, prefix=prefix) == ("mount", errno.EROFS, "/proc")


def test_mount_points_that_exist_on_a_read_only_root(launcher: Launcher) -> None:
    root = launcher.make_root()
    for name in ("proc", "sys", "dev", "run"):
        (root / name).mkdir()
    script = f'mount --bind -o ro "{root}" "{root}" && exec "$@"'
    init = launcher.try_start(root, prefix=["unshare", "--mount", "sh", "-c", script, "sh"])
    result = init.connect().sh("touch /new || touch /run/new && echo started")
    assert (result.stdout, b"Read-only" in result.stderr) == (b"started\n", True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"binds": [Bind("/no/such/source", "/mnt")]}, ("bind", errno.ENOENT, "/no/such/source")),
        ({"cgroup": "/no/such"}, ("cgroup", errno.ENOENT, "/no/such/cgroup.procs")),
        ({"hostname": "x" * 65}, ("options", errno.EINVAL, "hostname")),
        ({"hostname": ""}, ("options", errno.EINVAL, "hostname")),
        ({"binds": [Bind("relative", "/mnt")]}, ("options", errno.EINVAL, "bind")),
        ({"binds": [Bind("/tmp", "mnt")]}, ("options", errno.EINVAL, "bind")),
        ({"binds": [Bind("/tmp", "/a/../b")]}, ("options", errno.EINVAL, "bind")),
        ({"binds": [Bind("/tmp", "/a/./b")]}, ("options", errno.EINVAL, "bind")),
        ({"binds": [Bind("/tmp", "/")]}, ("options", errno.EINVAL, "bind")),
        ({"binds": [Bind("/tmp", "/a")] * 33}, ("options", errno.E2BIG, "bind")),
        ({"extra": ["--bind", "/tmp:/a:rw"]}, ("options", errno.EINVAL, "bind")),
        ({"extra": ["--exec-timeout-ms", "0"]}, ("options", errno.EINVAL, "exec-timeout-ms")),
        ({"extra": ["--exec-timeout-ms", "9" * 20]}, ("options", errno.EINVAL, "exec-timeout-ms")),
        ({"extra": ["surplus\nline"]}, ("options", errno.EINVAL, "surplus?line")),
    ],
)
def test_options_that_cannot_be(
    launcher: Launcher, options: dict[str, object], expected: tuple[str, int, str]
) -> None:
    assert start_error(launcher, launcher.make_root(), **options) == expected


def test_a_root_that_is_not_there(launcher: Launcher, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert start_error(launcher, missing) == ("root", errno.ENOENT, str(missing))


@pytest.mark.parametrize(
    "arguments",
    [
        lambda _listen, ready: ["--root", "/", "--hostname", "x", "--ready-fd", str(ready)],
        lambda _listen, ready: [
            *("--root", "/", "--hostname", "x", "--ready-fd", str(ready)),
            *("--listen-fd", str(ready)),
        ],
        lambda _listen, ready: [
            *("--root", "/", "--hostname", "x", "--ready-fd", str(ready), "--listen-fd", "900"),
        ],
        lambda listen, ready: [
            *("--ready-fd", str(ready), "--unknown", "--listen-fd", str(listen)),
        ],
        lambda _listen, ready: ["--ready-fd", str(ready), "--root"],
    ],
    ids=["no socket", "a pipe", "not open", "unknown", "no value"],
)
def test_bad_command_lines(launcher: Launcher, arguments: Callable[[int, int], list[str]]) -> None:
    line, status, directory = launcher.run(arguments)
    assert status == 2
    with pytest.raises(InitStartError) as raised:
        parse_ready(line)
    assert raised.value.stage == "options"
    assert "distro-init: options: " in (directory / "log").read_text()


def test_it_says_why_on_stderr_too(launcher: Launcher) -> None:
    root = launcher.make_root()
    (root / "proc").symlink_to("/")

    def arguments(listen_fd: int, _ready_fd: int) -> list[str]:
        return ["--root", str(root), "--hostname", "x", "--listen-fd", str(listen_fd)]

    line, status, directory = launcher.run(arguments)
    assert (line, status) == (b"", 1)
    assert (directory / "log").read_text().startswith("distro-init: mount: /proc: ")
