"""What Linux programs do on a drive, through the real kernel, beside what the host then has."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interop.drives import libc_posix, replies
from tests.unit.drives import mounted as mounts

if sys.platform == "win32":
    pytest.skip("POSIX hosts only", allow_module_level=True)
assert sys.platform != "win32"

MIB = 1 << 20


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mounts.Mounted]:
    with mounts.mounted(tmp_path_factory.mktemp("drive")) as mount:
        yield mount


@pytest.fixture
def here(drive: mounts.Mounted, request: pytest.FixtureRequest) -> Path:
    directory = drive.path / str(request.node.name)
    directory.mkdir()
    return directory


def on_host(drive: mounts.Mounted, path: Path) -> Path:
    return drive.root / path.relative_to(drive.path)


def test_write_append_truncate(drive: mounts.Mounted, here: Path) -> None:
    file = here / "file"
    file.write_bytes(b"one")
    with file.open("ab") as stream:
        stream.write(b" two")
    assert on_host(drive, file).read_bytes() == b"one two"
    os.truncate(file, 3)
    assert on_host(drive, file).read_bytes() == b"one"
    file.write_bytes(b"x")
    assert on_host(drive, file).read_bytes() == b"x"


def test_direct_io(drive: mounts.Mounted, here: Path) -> None:
    """O_DIRECT: what is on the host, whatever was read before; at any place, of any length."""
    file = here / "file"
    file.write_bytes(b"a" * 10_000)
    fd = os.open(file, os.O_RDWR | os.O_DIRECT)
    try:
        assert os.pread(fd, 10_001, 0) == b"a" * 10_000
        assert os.pread(fd, 7, 9_996) == b"aaaa"
        on_host(drive, file).write_bytes(b"host" * 3_000)
        assert os.pread(fd, 8, 4_096) == b"hosthost"
        assert os.pwrite(fd, b"guest", 4_097) == 5
    finally:
        os.close(fd)
    assert on_host(drive, file).read_bytes()[4_095:4_104] == b"thguestst"
    assert file.read_bytes() == on_host(drive, file).read_bytes()
    fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_DIRECT)
    try:
        os.write(fd, b"end")
    finally:
        os.close(fd)
    assert on_host(drive, file).read_bytes()[12_000:] == b"end"


def test_exclusive_creation(here: Path) -> None:
    (here / "file").touch()
    with pytest.raises(FileExistsError):
        os.open(here / "file", os.O_CREAT | os.O_EXCL)


def test_large_content_in_direct_and_cached_reads(drive: mounts.Mounted, here: Path) -> None:
    content = os.urandom(3 * MIB + 5)
    (here / "large").write_bytes(content)
    assert on_host(drive, here / "large").read_bytes() == content
    libc_drop(here / "large")
    assert (here / "large").read_bytes() == content


def libc_drop(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def test_an_unlinked_file_that_is_open_goes_on(drive: mounts.Mounted, here: Path) -> None:
    file = here / "file"
    file.write_bytes(b"before")
    with file.open("r+b", buffering=0) as stream:
        file.unlink()
        assert not on_host(drive, file).exists()
        file.write_bytes(b"another")
        assert stream.read() == b"before"
        stream.seek(0)
        stream.write(b"after!!")
        stream.truncate(5)
        libc_fd_drop(stream.fileno())
        assert os.pread(stream.fileno(), 100, 0) == b"after"
        assert os.fstat(stream.fileno()).st_nlink == 0
    assert file.read_bytes() == b"another"


def libc_fd_drop(fd: int) -> None:
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def test_a_replaced_file_that_is_open_goes_on(here: Path) -> None:
    (here / "old").write_bytes(b"old")
    (here / "new").write_bytes(b"new")
    with (here / "old").open("rb", buffering=0) as stream:
        os.rename(here / "new", here / "old")
        assert stream.read() == b"old"
    assert (here / "old").read_bytes() == b"new"
    assert os.listdir(here) == ["old"]


def rename2(source: Path, target: Path, flags: int) -> None:
    libc_posix.rename(-100, os.fsencode(source), -100, os.fsencode(target), flags)


def test_rename_without_replacing(here: Path) -> None:
    (here / "a").write_bytes(b"a")
    (here / "b").write_bytes(b"b")
    with pytest.raises(FileExistsError):
        rename2(here / "a", here / "b", 1)
    rename2(here / "a", here / "c", 1)
    assert sorted(os.listdir(here)) == ["b", "c"]


def test_rename_that_exchanges(drive: mounts.Mounted, here: Path) -> None:
    (here / "a").write_bytes(b"a")
    (here / "d").mkdir()
    (here / "d" / "inner").write_bytes(b"inner")
    rename2(here / "a", here / "d", 2)
    assert (here / "d").read_bytes() == b"a"
    assert (here / "a" / "inner").read_bytes() == b"inner"
    (here / "a" / "more").write_bytes(b"more")
    assert on_host(drive, here / "a" / "more").read_bytes() == b"more"


def test_what_is_in_a_renamed_directory_is_found_in_its_new_place(
    drive: mounts.Mounted, here: Path
) -> None:
    (here / "d" / "e").mkdir(parents=True)
    (here / "d" / "e" / "file").write_bytes(b"x")
    with (here / "d" / "e" / "file").open("r+b", buffering=0) as stream:
        os.rename(here / "d", here / "moved")
        stream.write(b"y")
    (here / "moved" / "e" / "second").write_bytes(b"z")
    assert on_host(drive, here / "moved" / "e" / "file").read_bytes() == b"y"
    assert on_host(drive, here / "moved" / "e" / "second").read_bytes() == b"z"


def test_rmdir_of_what_is_not_empty(here: Path) -> None:
    (here / "d").mkdir()
    (here / "d" / "file").touch()
    with pytest.raises(OSError, match="not empty"):
        (here / "d").rmdir()
    (here / "d" / "file").unlink()
    (here / "d").rmdir()
    assert os.listdir(here) == []


def test_hard_links_are_one_file(here: Path) -> None:
    (here / "a").write_bytes(b"a")
    os.link(here / "a", here / "b")
    (here / "b").write_bytes(b"changed")
    assert (here / "a").read_bytes() == b"changed"
    assert (here / "a").stat().st_nlink == 2
    assert (here / "a").samefile(here / "b")
    (here / "a").unlink()
    assert (here / "b").read_bytes() == b"changed"


def test_symlinks(drive: mounts.Mounted, here: Path) -> None:
    (here / "file").write_bytes(b"x")
    (here / "link").symlink_to("file")
    assert os.readlink(on_host(drive, here / "link")) == "file"
    assert (here / "link").read_bytes() == b"x"
    os.utime(here / "link", ns=(5, 7), follow_symlinks=False)
    assert os.lstat(on_host(drive, here / "link")).st_mtime_ns == 7
    assert os.stat(here / "file").st_mtime_ns != 7


def test_times_cross_to_the_nanosecond(drive: mounts.Mounted, here: Path) -> None:
    (here / "file").touch()
    for mtime in (1_234_567_890_123_456_789, -1_500_000_001):
        os.utime(here / "file", ns=(1, mtime))
        assert on_host(drive, here / "file").stat().st_mtime_ns == mtime
        assert (here / "file").stat().st_mtime_ns == mtime


def test_chmod_makes_read_only_and_back(drive: mounts.Mounted, here: Path) -> None:
    (here / "file").touch()
    os.chmod(here / "file", 0o444)
    assert not on_host(drive, here / "file").stat().st_mode & 0o222
    assert stat.S_IMODE((here / "file").stat().st_mode) == 0o555
    os.chmod(here / "file", 0o644)
    assert stat.S_IMODE((here / "file").stat().st_mode) == 0o777


def test_holes_are_found(drive: mounts.Mounted, here: Path) -> None:
    with (here / "sparse").open("w+b", buffering=0) as stream:
        stream.seek(4 * MIB)
        stream.write(b"data")
        assert os.lseek(stream.fileno(), 0, os.SEEK_DATA) == 4 * MIB
        assert os.lseek(stream.fileno(), 0, os.SEEK_HOLE) == 0
        with pytest.raises(OSError) as raised:
            os.lseek(stream.fileno(), 5 * MIB, os.SEEK_DATA)
        assert raised.value.errno == errno.ENXIO
    assert on_host(drive, here / "sparse").stat().st_blocks * 512 < MIB


def test_fallocate_and_punching_a_hole(drive: mounts.Mounted, here: Path) -> None:
    keep_size_and_punch = 1 | 2
    (here / "file").write_bytes(b"x" * MIB)
    with (here / "file").open("r+b", buffering=0) as stream:
        os.posix_fallocate(stream.fileno(), 0, 2 * MIB)
        libc_posix.fallocate(stream.fileno(), keep_size_and_punch, 0, 4096)
        assert stream.read(4096) == bytes(4096)
    assert on_host(drive, here / "file").stat().st_size == 2 * MIB


def test_copy_file_range(drive: mounts.Mounted, here: Path) -> None:
    (here / "from").write_bytes(b"0123456789")
    with (here / "from").open("rb") as source, (here / "to").open("wb") as target:
        assert os.copy_file_range(source.fileno(), target.fileno(), 5, 3, 2) == 5
    assert on_host(drive, here / "to").read_bytes() == b"\0\x0034567"


def test_fsync(here: Path) -> None:
    with (here / "file").open("wb") as stream:
        stream.write(b"x")
        stream.flush()
        os.fsync(stream.fileno())
        os.fdatasync(stream.fileno())
    fd = os.open(here, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def test_statfs_is_the_hosts(drive: mounts.Mounted) -> None:
    ours, hosts = os.statvfs(drive.path), os.statvfs(drive.root)
    assert (ours.f_blocks, ours.f_frsize) == (hosts.f_blocks, hosts.f_frsize)
    assert ours.f_namemax == 255


def test_locks_stay_in_the_guest(here: Path) -> None:
    (here / "file").touch()
    with (here / "file").open("r+b") as one, (here / "file").open("r+b") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(one, fcntl.LOCK_EX)


MAPPED = """
import mmap, sys
with open(sys.argv[1], "r+b") as stream, mmap.mmap(stream.fileno(), 0) as view:
    assert view[:5] == b"hello"
    view[4096:4100] = b"over"
    view.flush()
"""


def test_a_shared_mapping_is_written_back(drive: mounts.Mounted, here: Path) -> None:
    (here / "file").write_bytes(b"hello" + bytes(8192))
    subprocess.run([sys.executable, "-SEc", MAPPED, here / "file"], check=True, timeout=20)
    assert on_host(drive, here / "file").read_bytes()[4096:4100] == b"over"


def test_names_that_windows_forbids_are_escaped(drive: mounts.Mounted, here: Path) -> None:
    (here / 'a:b"c').write_bytes(b"x")
    assert os.listdir(on_host(drive, here)) == ["a\uf03ab\uf022c"]
    assert os.listdir(here) == ['a:b"c']
    os.rename(here / 'a:b"c', here / "d?")
    assert (here / "d?").read_bytes() == b"x"
    (on_host(drive, here) / "host:own").write_bytes(b"own")
    assert (here / "host:own").read_bytes() == b"own"
    assert sorted(os.listdir(here)) == ["d?", "host:own"]


def test_names_and_targets_at_their_limits(here: Path) -> None:
    (here / ("n" * 255)).touch()
    with pytest.raises(OSError) as raised:
        (here / ("n" * 256)).touch()
    assert raised.value.errno == errno.ENAMETOOLONG
    (here / "link").symlink_to("t" * 4000)
    assert os.readlink(here / "link") == "t" * 4000
    os.mkdir(os.fsencode(here) + b"/\xff\xfe")
    assert b"\xff\xfe" in os.listdir(os.fsencode(here))


def test_fifos_work_and_devices_are_refused(here: Path) -> None:
    os.mkfifo(here / "fifo")
    assert stat.S_ISFIFO((here / "fifo").stat().st_mode)
    with pytest.raises(PermissionError):
        os.mknod(here / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))


def test_a_thousand_small_files_and_a_listing_under_change(
    drive: mounts.Mounted, here: Path
) -> None:
    for number in range(1000):
        on_host(drive, here / f"file{number:04}").write_bytes(b"%d" % number)
    seen: list[str] = []
    with os.scandir(here) as entries:
        for number, entry in enumerate(entries):
            seen.append(entry.name)
            if number % 10 == 0:
                on_host(drive, here / f"new{number}").touch()
                on_host(drive, here / f"file{number:04}").unlink(missing_ok=True)
    assert len(seen) == len(set(seen))
    stayed = {f"file{number:04}" for number in range(1000) if number % 10}
    assert stayed <= set(seen)
    for name in sorted(stayed)[:50]:
        assert (here / name).read_bytes() == b"%d" % int(name[4:])
    subprocess.run(["rm", "-rf", here], check=True, timeout=20)
    assert not on_host(drive, here).exists()


def test_what_the_host_changes_is_seen_when_the_lifetime_is_over(tmp_path: Path) -> None:
    with mounts.mounted(tmp_path, lifetime_s=0) as drive:
        file = drive.path / "file"
        file.write_bytes(b"short")
        with file.open("rb", buffering=0) as stream:
            assert stream.read() == b"short"
            with (drive.root / "file").open("ab") as grown:
                grown.write(b" and more")
            assert file.stat().st_size == 14
            assert stream.read() == b" and more"
        (drive.root / "second").write_bytes(b"")
        assert (drive.path / "second").exists()


def test_a_notification_ends_what_a_long_lifetime_keeps(tmp_path: Path) -> None:
    with mounts.mounted(tmp_path, lifetime_s=3600) as drive:
        assert not (drive.path / "file").exists()
        (drive.root / "file").write_bytes(b"x")
        assert not (drive.path / "file").exists()
        os.write(drive.device, replies.invalidate_entry(1, b"file"))
        assert (drive.path / "file").read_bytes() == b"x"
        (drive.root / "file").write_bytes(b"longer")
        os.write(drive.device, replies.invalidate_inode(2))
        assert (drive.path / "file").read_bytes() == b"longer"
        (drive.root / "file").unlink()
        os.write(drive.device, replies.delete(1, 2, b"file"))
        assert not (drive.path / "file").exists()


def test_a_read_only_drive(tmp_path: Path) -> None:
    with mounts.mounted(tmp_path, "ro") as drive:
        (drive.root / "file").write_bytes(b"x")
        assert (drive.path / "file").read_bytes() == b"x"
        changes: list[Callable[[], None]] = [
            (drive.path / "new").touch,
            (drive.path / "file").unlink,
            lambda: os.truncate(drive.path / "file", 0),
            lambda: os.rename(drive.path / "file", drive.path / "other"),
        ]
        for change in changes:
            with pytest.raises(OSError) as raised:
                change()
            assert raised.value.errno == errno.EROFS
        assert os.listdir(drive.root) == ["file"]


@pytest.mark.parametrize("case", ["off", "dir", "force"])
def test_case_is_the_hosts(tmp_path: Path, case: str) -> None:
    """A POSIX host tells names apart by case, whatever was asked for; so nothing is ever merged."""
    with mounts.mounted(tmp_path, f"case={case}") as drive:
        (drive.root / "File").write_text("host")
        (drive.path / "file").write_text("guest")
        (drive.path / "FILE").mkdir()
        assert sorted(os.listdir(drive.path)) == ["FILE", "File", "file"]
        assert (drive.path / "File").read_text() == "host"
        assert (drive.root / "file").read_text() == "guest"


def test_links_are_as_they_were_made(tmp_path: Path) -> None:
    """`symlinkroot` is for the absolute links of Windows hosts: a POSIX host's lead as they say."""
    with mounts.mounted(tmp_path, "symlinkroot=/drives/") as drive:
        os.symlink("/etc/hosts", drive.path / "guests")
        os.symlink("/usr/bin", drive.root / "hosts")
        os.symlink("../up", drive.path / "relative")
        assert os.readlink(drive.root / "guests") == "/etc/hosts"
        assert os.readlink(drive.path / "guests") == "/etc/hosts"
        assert os.readlink(drive.path / "hosts") == "/usr/bin"
        assert os.readlink(drive.root / "relative") == "../up"


@pytest.mark.parametrize(
    ("options", "directory", "file"),
    [
        ("", 0o777, 0o777),
        ("umask=22", 0o755, 0o755),
        ("fmask=111", 0o777, 0o666),
        ("dmask=77", 0o700, 0o777),
        ("umask=2,dmask=20,fmask=117", 0o755, 0o660),
        ("umask=777", 0, 0),
    ],
)
def test_masks(tmp_path: Path, options: str, directory: int, file: int) -> None:
    with mounts.mounted(tmp_path, options) as drive:
        (drive.root / "host").touch()
        (drive.path / "guest").touch(0o600)
        (drive.path / "directory").mkdir(0o700)
        os.chmod(drive.path / "guest", 0o640)
        assert stat.S_IMODE(drive.path.stat().st_mode) == directory
        assert stat.S_IMODE((drive.path / "directory").stat().st_mode) == directory
        assert stat.S_IMODE((drive.path / "host").stat().st_mode) == file
        assert stat.S_IMODE((drive.path / "guest").stat().st_mode) == file


def test_metadata_is_stored_as_wsl_does(tmp_path: Path) -> None:
    with mounts.mounted(tmp_path, "metadata,uid=5,gid=6,umask=022,fmask=011") as drive:
        (drive.root / "hosts").touch()
        plain = (drive.path / "hosts").stat()
        assert (plain.st_uid, plain.st_gid, stat.S_IMODE(plain.st_mode)) == (5, 6, 0o744)
        os.chown(drive.path / "hosts", 1000, 1001)
        os.chmod(drive.path / "hosts", 0o4751)
        assert os.getxattr(drive.root / "hosts", "user.LXUID") == b"\xe8\x03\0\0"
        mode = os.getxattr(drive.root / "hosts", "user.LXMOD")
        assert int.from_bytes(mode, "little") == stat.S_IFREG | 0o4751
        shown = (drive.path / "hosts").stat()
        assert (shown.st_uid, shown.st_gid, shown.st_mode) == (1000, 1001, stat.S_IFREG | 0o4751)
        os.mknod(drive.path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        assert os.stat(drive.path / "null").st_rdev == os.makedev(1, 3)
        assert stat.S_ISREG(os.stat(drive.root / "null").st_mode)
        os.setxattr(drive.path / "hosts", "user.note", b"text")
        assert os.listxattr(drive.path / "hosts") == ["user.note"]
        assert os.getxattr(drive.root / "hosts", "user.note") == b"text"
        with pytest.raises(OSError) as raised:
            os.setxattr(drive.path / "hosts", "user.LXUID", bytes(4))
        assert raised.value.errno == errno.EOPNOTSUPP


def test_a_write_by_a_user_takes_set_id_bits(tmp_path: Path) -> None:
    with mounts.mounted(tmp_path, "metadata") as drive:
        tmp_path.chmod(0o755)
        file = drive.path / "file"
        file.touch()
        os.chmod(file, 0o4777)
        fd = os.open(file, os.O_WRONLY)
        child = os.fork()
        if child == 0:
            os.setuid(1000)
            os._exit(os.write(fd, b"x") - 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        os.close(fd)
        mode = os.getxattr(drive.root / "file", "user.LXMOD")
        assert int.from_bytes(mode, "little") == stat.S_IFREG | 0o777
