"""Mount tables: the parser, what hides what, and which mount shows which Windows path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.interop.wslpath_worlds import HIDDEN, OURS, WSL
from wire.errors import PathError
from wire.mounts import (
    DRIVE_KIND,
    Mounts,
    holds,
    mount_source,
    parse_mountinfo,
    unescape_octal,
    unescape_option,
)

ROOT = Path(__file__).resolve().parents[3]
fast = settings(deadline=None, max_examples=50)


def test_fields_are_parsed() -> None:
    mount = parse_mountinfo(
        r"35 22 0:40 /a\040b /mnt/x\011y rw,noatime shared:7 master:1 - fuse.drvfs C:\134 rw,a b"
    )[0]
    assert (mount.identity, mount.parent) == ("35", "22")
    assert (mount.root, mount.point) == ("/a b", "/mnt/x\ty")
    assert (mount.kind, mount.source, mount.windows) == (DRIVE_KIND, "C:\\", "C:\\a b")


def test_an_empty_source_is_a_source() -> None:
    (mount,) = parse_mountinfo("25 22 0:22 / /run rw - tmpfs  rw,size=1024k\n")
    assert (mount.kind, mount.source, mount.windows) == ("tmpfs", "", None)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "25 22 0:22 / /run rw - tmpfs",
        "25 22 0:22 / /run rw - tmpfs x",
        "25 22 0:22 / /run rw shared:1 tmpfs x rw",
        "25 22 0:22 / rw - tmpfs x rw",
        "25 22 0:22 / run rw - tmpfs x rw",
    ],
)
def test_other_lines_are_left_out(line: str) -> None:
    assert parse_mountinfo(line) == []


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("plain", "plain"),
        (r"\040\011\012\134\043", " \t\n\\#"),
        (r"\303\251\377", "é\udcff"),
        (r"a\b\08\8\04", r"a\b\08\8\04"),
        (r"\000\400\777", r"\000\400\777"),
        (r"\134040", r"\040"),
        ("\ud800\\040", "\ud800 "),
    ],
)
def test_octal_escapes(field: str, text: str) -> None:
    assert unescape_octal(field) == text


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("path=C:\\;uid=0", "path=C:\\;uid=0"),
        ("path=C:\\134;uid=0", "path=C:\\;uid=0"),
        ("path=C:\\134a\\040b", "path=C:\\a b"),
        ("path=C:\\a\\040b", "path=C:\\a\\040b"),
        ("path=x", "path=x"),
    ],
)
def test_options_are_unescaped_where_they_are_escaped(option: str, text: str) -> None:
    assert unescape_option(option) == text


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("C:", "C:\\"),
        ("c:/", "c:\\"),
        ("C:\\Users\\me\\", "C:\\Users\\me"),
        ("C:\\a\\..", "C:\\"),
        ("//server/share/", "\\\\server\\share"),
    ],
)
def test_sources_of_our_mounts(path: str, source: str) -> None:
    assert mount_source(path) == source


@pytest.mark.parametrize("path", ["", "C", "C:x", "/mnt/c", "Users", "C:\\..", "\\\\.\\C:"])
def test_what_cannot_be_a_source(path: str) -> None:
    with pytest.raises(PathError):
        mount_source(path)


def shown(mountinfo: str) -> dict[str, str]:
    return {mount.point: mount.windows or "" for mount in Mounts.parse(mountinfo).drives}


def test_drives_of_ours() -> None:
    assert shown(OURS) == {
        "/mnt/c": "C:",
        "/mnt/d": "D:",
        "/mnt/my drive": "E:",
        "/mnt/share": "\\\\server\\share",
        "/data": "D:\\data\\sets",
        "/srv/projects": "C:\\Users\\me\\projects",
        "/srv/colon": "F:\\a\uf03ab",
    }


def test_drives_of_wsl() -> None:
    assert shown(WSL) == {
        "/mnt/c": "C:",
        "/mnt/d": "D:",
        "/mnt/e": "E:\\e mpty",
        "/mnt/f": "F:",
        "/mnt/unc": "\\\\localhost\\C$",
    }


def test_hidden_drives_are_dropped() -> None:
    assert shown(HIDDEN) == {
        "/mnt/d": "D:",
        "/e": "F:",
        "/g": "G:",
        "/g/deep": "H:",
        "/g2": "G:",
    }


def test_a_drive_may_be_the_root() -> None:
    mounts = Mounts.parse(r"22 1 0:40 / / rw - fuse.drvfs C:\134 rw")
    assert shown(r"22 1 0:40 / / rw - fuse.drvfs C:\134 rw") == {"/": "C:"}
    holding = mounts.holding("/x")
    assert holding is not None and holding.windows == "C:"


def test_without_a_root_mount_the_rest_is_found() -> None:
    """As in a chroot to a directory that is no mount point (proc_pid_mountinfo(5))."""
    mounts = Mounts.parse("40 39 0:4 / /proc rw - proc proc rw\n41 40 0:5 / /proc/x rw - x x rw\n")
    found = mounts.holding("/proc/x/y")
    assert found is not None and found.identity == "41"
    assert mounts.holding("/home") is None


def test_of_two_roots_the_newest_counts() -> None:
    """Where the mount below the root lies out of reach, so that both seem to be the first."""
    table = ["22 7 0:1 / / rw - x x rw", "23 8 0:2 / / rw - x x rw"]
    table += ["24 22 0:3 / /old rw - x x rw", "25 23 0:4 / /new rw - x x rw"]
    mounts = Mounts.parse("\n".join(table))
    for path, identity in [("/", "23"), ("/new/x", "25"), ("/old/x", "23")]:
        found = mounts.holding(path)
        assert found is not None and found.identity == identity
    rootfs = Mounts.parse("1 1 0:2 / / rw - rootfs rootfs rw\n22 1 0:3 / / rw - ext4 x rw")
    found = rootfs.holding("/x")
    assert found is not None and found.identity == "22"


def test_longest_and_newest_mounts_win() -> None:
    mounts = Mounts.parse(OURS)
    for path, point in [
        ("D:\\data\\sets\\x", "/data"),
        ("d:\\DATA\\SETS", "/data"),
        ("D:\\data\\setsx", "/mnt/d"),
        ("D:\\", "/mnt/d"),
    ]:
        mount = mounts.showing(path)
        assert mount is not None and mount.point == point
    assert mounts.showing("Z:\\") is None
    newest = Mounts.parse(HIDDEN).showing("G:\\x")
    assert newest is not None and newest.point == "/g2"


@pytest.mark.parametrize(
    ("directory", "path", "expected"),
    [
        ("/", "/", True),
        ("/", "/x", True),
        ("/x", "/x", True),
        ("/x", "/x/", True),
        ("/x", "/xy", False),
        ("/x/y", "/x", False),
    ],
)
def test_holds(directory: str, path: str, expected: bool) -> None:
    assert holds(directory, path) is expected


names = st.sampled_from(["", "a", "b", "mnt/c"])
lines = st.builds(
    "{} {} 0:{} / /{} rw - {} {} rw,{}".format,
    st.integers(0, 4),
    st.integers(0, 4),
    st.integers(0, 9),
    names,
    st.sampled_from(["ext4", "9p", DRIVE_KIND]),
    st.sampled_from(["C:\\134", "", "x", "\\134\\134s", "D:\\8"]),
    st.sampled_from(["aname=drvfs;path=C:\\", "x", "aname=drvfs;path=UNC\\", ""]),
)


@fast
@given(st.lists(lines | st.text(max_size=40), max_size=8), names)
def test_no_table_is_too_odd(table: list[str], name: str) -> None:
    mounts = Mounts.parse("\n".join(table))
    found = mounts.holding(f"/{name}")
    assert found is None or holds(found.point, f"/{name}")
    for drive in mounts.drives:
        assert drive.windows is not None
        assert mounts.holding(drive.point) is drive
        assert mounts.showing(drive.windows + "\\x") is not None


if sys.platform == "linux":

    def kernel_mount(path: str) -> str:
        """The kernel's own word for the mount that `path` lies on (proc_pid_fdinfo(5))."""
        descriptor = os.open(path, os.O_PATH)
        try:
            for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
                if line.startswith("mnt_id:"):
                    return line.split()[1]
        finally:
            os.close(descriptor)
        raise AssertionError("the kernel tells no mount")

    def check_against_kernel(paths: list[str]) -> None:
        mounts = Mounts.parse(Path("/proc/self/mountinfo").read_text())
        for path in paths:
            found = mounts.holding(path)
            assert found is not None, path
            assert found.identity == kernel_mount(path), path

    def test_this_machine_agrees() -> None:
        check_against_kernel(["/", "/proc", "/proc/self", "/proc/sys", "/dev", "/dev/pts", "/sys"])

    SCRIPT = """
    set -e
    cd "$1"
    mount -t tmpfs none .; cd "$1"
    mkdir -p a/b a/c under e
    mount -t tmpfs none a/b; mkdir a/b/deep
    mount --bind a/b e; mkdir -p e/deep
    mount -t tmpfs none under; mkdir -p under/x; mount -t tmpfs none under/x
    mount -t tmpfs none under; mkdir -p under/x
    mount --bind a/c a; mkdir -p a/b
    mount --move e under/x
    exec "$2" -c 'import sys; sys.path.insert(0, sys.argv[2])
    from tests.unit.interop.test_mounts import check_against_kernel as check
    ends = ["", "/a", "/a/b", "/under", "/under/x", "/under/x/deep", "/e"]
    check([sys.argv[1] + end for end in ends])
    print("agreed")' "$1" "$3"
    """

    def test_the_kernel_agrees_on_hidden_and_stacked_mounts(tmp_path: Path) -> None:
        script = "\n".join(line.strip() for line in SCRIPT.splitlines())
        unshared = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
        done = subprocess.run(
            [*unshared, str(tmp_path), sys.executable, str(ROOT)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.stdout, done.returncode) == ("agreed\n", 0), done.stderr
