"""Windows' file structures: against bytes as its documentation lays them out."""

from __future__ import annotations

import errno
import stat
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.drives import linuxerrno, ntformats, ntstatus

UNIX_1970 = 116_444_736_000_000_000


def all_information(attributes: int = ntformats.NORMAL, number: int = 7) -> bytes:
    """FILE_ALL_INFORMATION of a file, member by member ([MS-FSCC] 2.4.2)."""
    basic = struct.pack("<4qI4x", 1, UNIX_1970 + 10, UNIX_1970 + 20, UNIX_1970 + 30, attributes)
    standard = struct.pack("<qqIBBxx", 4096, 100, 2, 0, 0)
    internal, ea, access = struct.pack("<q", number), bytes(4), bytes(4)
    position, mode, alignment = bytes(8), bytes(4), bytes(4)
    name = struct.pack("<I", 2) + "x".encode("utf-16-le")
    return basic + standard + internal + ea + access + position + mode + alignment + name


def test_what_there_is_to_know_of_a_file() -> None:
    status = ntformats.parse_all(all_information())
    assert (status.atime_ns, status.mtime_ns, status.ctime_ns) == (1000, 2000, 3000)
    assert (status.size, status.allocated, status.links, status.identity) == (100, 4096, 2, 7)
    assert status.mode == stat.S_IFREG | 0o777
    assert len(all_information()) >= ntformats.ALL_SIZE - 2


def test_a_number_of_a_file_is_not_negative() -> None:
    assert ntformats.parse_all(all_information(number=-2)).identity == (1 << 64) - 2


def test_read_only_protects_files_and_not_directories() -> None:
    file = ntformats.parse_all(all_information(ntformats.READ_ONLY))
    assert file.mode == stat.S_IFREG | 0o555
    directory = ntformats.parse_all(all_information(ntformats.READ_ONLY | ntformats.DIRECTORY))
    assert directory.mode == stat.S_IFDIR | 0o777


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        (0, stat.S_IFREG),
        (ntformats.TAG_SYMLINK, stat.S_IFLNK),
        (ntformats.TAG_MOUNT_POINT, stat.S_IFLNK),
        (ntformats.TAG_LX_SYMLINK, stat.S_IFLNK),
        (0x9000001A, stat.S_IFREG),  # IO_REPARSE_TAG_CLOUD: a file of OneDrive's
    ],
)
def test_reparse_points_that_are_links(tag: int, kind: int) -> None:
    status = ntformats.parse_all(all_information(ntformats.REPARSE_POINT))
    assert status._replace(tag=tag).kind == kind


@given(st.integers(-(10**10), 10**11), st.integers(0, 999_999_999))
def test_times_are_kept_to_100_ns(seconds: int, nanoseconds: int) -> None:
    ticks = ntformats.to_ticks(seconds, nanoseconds)
    assert ticks >= 1
    if ticks > 1:
        wanted = seconds * 10**9 + nanoseconds
        assert 0 <= wanted - ntformats.to_ns(ticks) < 100


def entry(name: str, following: int, attributes: int, tag: int, number: int) -> bytes:
    """FILE_ID_BOTH_DIR_INFORMATION ([MS-FSCC] 2.4.17)."""
    wide = name.encode("utf-16-le")
    head = struct.pack("<II4qqqIII", following, 0, 0, 0, 0, UNIX_1970, 1, 1, attributes, 0, tag)
    head = head[:60] + struct.pack("<I", len(wide)) + head[64:]
    head += bytes(2) + bytes(24) + bytes(2) + struct.pack("<q", number)
    assert len(head) == 104
    return head + wide


def test_entries_of_a_directory() -> None:
    first = entry("..", 0, ntformats.DIRECTORY, 0, 1)
    first = struct.pack("<I", 112) + first[4:].ljust(108, b"\0")
    second = entry("straße", 0, ntformats.NORMAL, 24, 5)
    second = struct.pack("<I", 120) + second[4:].ljust(116, b"\0")
    third = entry("l", 0, ntformats.REPARSE_POINT, ntformats.TAG_SYMLINK, -1)
    found = list(ntformats.parse_entries(first + second + third))
    assert [(e.name.decode(), e.kind, e.identity, e.tag) for e in found] == [
        ("straße", stat.S_IFREG, 5, 0),
        ("l", stat.S_IFLNK, (1 << 64) - 1, ntformats.TAG_SYMLINK),
    ]


def test_a_new_name() -> None:
    data = ntformats.rename(0x1122, "ä".encode(), 3)
    assert data == struct.pack("<IxxxxQI", 3, 0x1122, 2) + "ä".encode("utf-16-le") + bytes(2)
    longer = ntformats.rename(0x1122, b"longer", 0)
    assert longer == struct.pack("<IxxxxQI", 0, 0x1122, 12) + "longer".encode("utf-16-le")


@given(st.text(st.characters(codec=None, exclude_characters="\0/\\")))
def test_names_cross_unchanged(name: str) -> None:
    stored = name.encode("utf-16-le", "surrogatepass")
    assert ntformats.to_wide(ntformats.from_wide(stored)) == stored


def test_a_name_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(OSError) as failed:
        ntformats.to_wide(b"\xff")
    assert failed.value.errno == errno.EINVAL


def ea(name: bytes, value: bytes, following: int = 0) -> bytes:
    """FILE_FULL_EA_INFORMATION ([MS-FSCC] 2.4.16)."""
    return struct.pack("<IBBH", following, 0, len(name), len(value)) + name + b"\0" + value


def test_extended_attributes() -> None:
    values = {b"$LXUID": b"\1\0\0\0", b"$LXMOD": b"\2\0\0\0"}
    first = ea(b"$LXUID", b"\1\0\0\0", 20).ljust(20, b"\0")
    assert ntformats.eas(values) == first + ea(b"$LXMOD", b"\2\0\0\0")
    assert ntformats.parse_eas(ntformats.eas(values)) == values
    # What a file does not have comes without a value.
    assert ntformats.parse_eas(ea(b"$LXGID", b"")) == {}
    assert ntformats.parse_eas(b"") == {}
    names = ntformats.ea_names([b"$LXUID", b"$X"])
    assert names == struct.pack("<IB", 12, 6) + b"$LXUID\0" + struct.pack("<IB", 0, 2) + b"$X\0"


@given(st.dictionaries(st.binary(min_size=1, max_size=20), st.binary(min_size=1, max_size=20)))
def test_extended_attributes_come_back(values: dict[bytes, bytes]) -> None:
    assert ntformats.parse_eas(ntformats.eas(values)) == values


def symlink(path: str, flags: int) -> bytes:
    """REPARSE_DATA_BUFFER of a symbolic link ([MS-FSCC] 2.1.2.4): print name, substitute name."""
    wide = path.encode("utf-16-le")
    body = struct.pack("<HHHHI", 2, len(wide), 0, 2, flags) + "p".encode("utf-16-le") + wide
    return struct.pack("<IHH", ntformats.TAG_SYMLINK, len(body), 0) + body


def junction(path: str) -> bytes:
    """REPARSE_DATA_BUFFER of a junction ([MS-FSCC] 2.1.2.5)."""
    wide = path.encode("utf-16-le")
    body = struct.pack("<HHHH", 0, len(wide), len(wide) + 2, 0) + wide + bytes(4)
    return struct.pack("<IHH", ntformats.TAG_MOUNT_POINT, len(body), 0) + body


@pytest.mark.parametrize(
    ("data", "target"),
    [
        (symlink("..\\a b\\c", ntformats.SYMLINK_RELATIVE), b"../a b/c"),
        (symlink("\\??\\C:\\Users\\x", 0), b"/mnt/c/Users/x"),
        (symlink("odd\uf03aname", ntformats.SYMLINK_RELATIVE), b"odd:name"),
        (junction("\\??\\D:\\"), b"/mnt/d"),
        (junction("\\??\\Volume{0}\\"), b"Volume{0}"),
        (ntformats.lx_symlink(b"/etc/\xff"), b"/etc/\xff"),
    ],
)
def test_where_links_lead(data: bytes, target: bytes) -> None:
    assert ntformats.linux_target(ntformats.parse_link(data), "/mnt/") == target


@given(st.binary(max_size=64))
def test_a_damaged_link_is_an_error(data: bytes) -> None:
    try:
        ntformats.parse_link(data)
    except OSError as error:
        assert error.errno == errno.EINVAL


def test_errors_have_linux_numbers() -> None:
    names = [name for name in vars(linuxerrno) if name.startswith("E")]
    assert names
    for name in names:
        assert getattr(linuxerrno, name) == getattr(errno, name)


@pytest.mark.parametrize(
    ("status", "number"),
    [
        (0xC0000034, errno.ENOENT),
        (0xC0000043 - (1 << 32), errno.EBUSY),
        (0xC0000054, errno.EACCES),
        (0xC0000101, errno.ENOTEMPTY),
        (0xC0DEDEAD, errno.EIO),
    ],
)
def test_what_windows_says_has_an_errno(status: int, number: int) -> None:
    assert ntstatus.failure(status).errno == number


def test_a_missing_file_is_told_from_other_errors() -> None:
    assert isinstance(ntstatus.failure(0xC0000034), FileNotFoundError)
    assert isinstance(ntstatus.failure(0xC0000035), FileExistsError)
    assert isinstance(ntstatus.failure(ntstatus.NOT_A_DIRECTORY), NotADirectoryError)
    assert isinstance(ntstatus.failure(0xC0000022), PermissionError)
