"""A Windows drive in Linux: Wine's C:, served by Windows programs to a distribution."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest

from tests.integration.cli_harness import wait_until
from tests.unit.native.harness import build_native
from tests.wine.installation import Installation
from tests.wine.test_wine_faults import programs

pytestmark = pytest.mark.wine

BACKEND = Path(__file__).with_name("windows_backend.py")
HERE = "/mnt/c/Shared by both"


def sh(tiny: Installation, line: str) -> str:
    """What a shell line prints in the guest."""
    return tiny.text("-e", "sh", "-ec", line)


@pytest.fixture(scope="module")
def here(tiny: Installation) -> Iterator[Path]:
    """A directory of drive C, which the guest has as HERE."""
    directory = tiny.windows.drive_c / "Shared by both"
    directory.mkdir()
    yield directory


def windows(tiny: Installation, line: str) -> str:
    """What a line for cmd.exe prints, run in HERE's directory on Windows."""
    done = tiny.windows.run("cmd", "/c", "cd /d C:\\Shared by both && " + line)
    assert done.status == 0, done
    return done.text


def test_the_backend_alone(installation: Installation) -> None:
    """On a directory of drive C, by this Windows's own pytest; not what Windows alone has."""
    directory = installation.windows.drive_c / "backend"
    directory.mkdir()
    shutil.copy(BACKEND, directory)
    done = installation.windows.run(
        *(installation.python, "-X", "utf8", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("--basetemp", "C:\\backend\\temp", f"C:\\backend\\{BACKEND.name}"),
        cwd=directory,
    )
    assert done.status == 0, done.text
    assert "passed" in done.text


# Before any directory is renamed: Wine reports nothing of one that was, nor of what has its number.


class Heard:
    """What a listener in Linux says."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output

    def line(self) -> str:
        """The next line."""
        return self._output.readline().decode().rstrip("\r\n")

    def until(self, last: str) -> list[str]:
        """What happened up to that, each thing that is said more than once in a row only once."""
        heard: list[str] = []
        while not heard or heard[-1] != last:
            line = self.line()
            assert line, heard
            if line not in heard[-1:]:
                heard.append(line)
        return [line.split()[0] for line in heard]


def test_linux_programs_hear_of_what_windows_programs_do(tiny: Installation, here: Path) -> None:
    heard = here / "heard"
    (heard / "one").mkdir(parents=True)
    shutil.copy(build_native("build/listen-test"), heard / "listen")
    argv = [tiny.isthmus, "-e", f"{HERE}/heard/listen", f"{HERE}/heard/one"]
    with tiny.windows.popen(argv) as listener:
        assert listener.stdout is not None
        try:
            hears_in_order(tiny, Heard(listener.stdout))
        finally:
            listener.kill()


def hears_in_order(tiny: Installation, hears: Heard) -> None:
    assert hears.line() == "listening"
    windows(tiny, "echo content> heard\\one\\file")
    assert hears.until("close_write 1 file") == ["create", "modify", "attrib", "close_write"]
    windows(tiny, "ren heard\\one\\file moved")
    assert hears.until("moved_to 1 moved")[-2:] == ["moved_from", "moved_to"]
    windows(tiny, "mkdir heard\\one\\sub && rmdir heard\\one\\sub && del heard\\one\\moved")
    assert hears.until("delete 1 moved")[-1] == "delete"
    sh(tiny, f"cd '{HERE}/heard/one'; echo own > own; rm own")
    windows(tiny, "mkdir heard\\one\\mark")
    own = ["create", "modify", "close_write", "delete", "create/"]
    assert hears.until("create/ 1 mark") == own


def test_what_linux_remembers_for_long_is_known_to_have_changed(
    tiny: Installation, here: Path
) -> None:
    """Names are remembered for an hour: only who is told that they changed sees it sooner."""
    windows(tiny, "mkdir remembered\\below && echo first> remembered\\below\\name")
    inside = f"{HERE}/remembered/below"
    assert sh(tiny, f"cat '{inside}/name'") == "first"
    windows(tiny, "ren remembered\\below\\name other")
    wait_until(lambda: sh(tiny, f"ls '{inside}'") == "other", "the new name")
    assert sh(tiny, f"cat '{inside}/name' 2>&1 || true").endswith("No such file or directory")
    windows(tiny, "echo 2, and longer> remembered\\new && move remembered\\new remembered\\below")
    wait_until(lambda: sh(tiny, f"ls '{inside}'").split() == ["new", "other"], "one more")
    windows(tiny, "del remembered\\below\\other && move remembered\\below remembered\\elsewhere")
    wait_until(lambda: sh(tiny, f"ls '{HERE}/remembered'") == "elsewhere", "the move")
    assert "2, and" in sh(tiny, f"cat '{HERE}/remembered/elsewhere/new'")

    def is_removed() -> bool:  # Wine removes nothing that is open, as here for half a second
        windows(tiny, "(rmdir /s /q remembered 2> nul) & ver > nul")
        return not (here / "remembered").exists()

    wait_until(is_removed, "it to be removed")
    wait_until(lambda: "remembered" not in sh(tiny, f"ls '{HERE}'"), "it to go")
    (drive,) = (line for line in tiny.text("--status").splitlines() if "C:\\ at /mnt/c" in line)
    assert drive.endswith(": watching")


def test_what_windows_wrote_is_read_in_linux(tiny: Installation, here: Path) -> None:
    windows(tiny, "echo from Windows> written.txt")
    assert sh(tiny, f"od -An -c '{HERE}/written.txt'").split()[-3:] == ["s", "\\r", "\\n"]
    (line,) = sh(tiny, "grep ' /mnt/c ' /proc/self/mountinfo").splitlines()
    assert line.split(" - ")[1].split()[:2] == ["fuse.drvfs", "C:\\134"]


def test_what_linux_wrote_is_read_in_windows(tiny: Installation, here: Path) -> None:
    boot = sh(tiny, f"cat /proc/sys/kernel/random/boot_id | tee '{HERE}/boot.txt'")
    assert windows(tiny, "type boot.txt").strip() == boot


def test_contents_are_exact_in_both_directions(tiny: Installation, here: Path) -> None:
    data = random.Random(4).randbytes(3_000_001)
    (here / "noise").write_bytes(data)
    copied = sh(tiny, f"cd '{HERE}'; cp noise copy; cat copy copy > twice; wc -c < twice")
    assert copied.strip() == str(2 * len(data))
    assert (here / "twice").read_bytes() == data * 2


def test_files_are_changed_renamed_and_removed(tiny: Installation, here: Path) -> None:
    """Each step is done in Linux and looked at from outside."""
    sh(tiny, f"cd '{HERE}'; mkdir -p tree/below; echo one > tree/below/a; echo two >> tree/below/a")
    assert (here / "tree/below/a").read_bytes() == b"one\ntwo\n"
    sh(tiny, f"cd '{HERE}'; mv tree moved; mv moved/below/a moved/b; truncate -s 3 moved/b")
    assert (here / "moved/b").read_bytes() == b"one"
    assert not (here / "tree").exists()
    sh(tiny, f"cd '{HERE}'; echo new > moved/c; mv moved/c moved/b; rmdir moved/below")
    assert [path.name for path in (here / "moved").iterdir()] == ["b"]
    assert (here / "moved/b").read_bytes() == b"new\n"
    sh(tiny, f"cd '{HERE}'; touch moved/full; rmdir moved 2>/dev/null && exit 1; rm -r moved")
    assert not (here / "moved").exists()


def test_modes_times_and_links(tiny: Installation, here: Path) -> None:
    sh(tiny, f"cd '{HERE}'; echo x > plain; chmod a-w plain; touch -d '2001-02-03 04:05:06' plain")
    assert "R" in windows(tiny, "attrib plain").partition("C:")[0]
    assert int((here / "plain").stat().st_mtime) % 60 == 6
    assert sh(tiny, f"stat -c '%a %Y' '{HERE}/plain'").split()[0] == "555"
    assert sh(tiny, f"cd '{HERE}'; ln plain second; stat -c %h plain second").split() == ["2", "2"]
    sh(tiny, f"cd '{HERE}'; rm plain second")
    assert not (here / "second").exists()


def test_listings_hold_every_name_once(tiny: Installation, here: Path) -> None:
    many = here / "many"
    many.mkdir()
    names = {f"file number {number}.txt" for number in range(300)}
    for name in names:
        (many / name).touch()
    listed = sh(tiny, f"ls -l '{HERE}/many' | sed 1d | sed 's/.*file/file/'").splitlines()
    assert len(listed) == len(names)
    assert set(listed) == names


def test_names_that_windows_forbids(tiny: Installation, here: Path) -> None:
    sh(tiny, f"""cd '{HERE}'; mkdir odd; echo kept > 'odd/a:b?"*|<>\\c'""")
    (stored,) = (here / "odd").iterdir()
    assert stored.name == "a\uf03ab\uf03f\uf022\uf02a\uf07c\uf03c\uf03e\uf05cc"
    assert sh(tiny, f"cd '{HERE}/odd'; ls; cat a*") == 'a:b?"*|<>\\c\nkept'


def test_letters_of_any_script_and_case(tiny: Installation, here: Path) -> None:
    (here / "Žluťoučký-日本-🐧").write_text("found\n")
    assert sh(tiny, f"cat '{HERE}/Žluťoučký-日本-🐧'") == "found"
    # As on Windows: one file, whatever the case of its letters; it keeps those it was made with.
    (here / "Mixed.TXT").write_text("mixed\n")
    assert sh(tiny, f"cd '{HERE}'; cat mixed.txt; ls | grep -i mixed") == "mixed\nMixed.TXT"
    assert sh(tiny, f"cd '{HERE}'; mkdir MIXED.txt 2>/dev/null || echo there") == "there"


def test_the_host_may_do_with_files_what_it_wants(tiny: Installation, here: Path) -> None:
    """A change on Windows is seen after a second at the latest."""
    (here / "changing").write_text("before\n")
    assert sh(tiny, f"cat '{HERE}/changing'") == "before"
    windows(tiny, "echo after, and longer> changing")
    wait_until(lambda: "after" in sh(tiny, f"cat '{HERE}/changing'"), "the new content")
    windows(tiny, "del changing")
    wait_until(lambda: sh(tiny, f"ls '{HERE}' | grep -c changing || true") == "0", "it to go")


def test_a_killed_server_comes_back(tiny: Installation, here: Path) -> None:
    (here / "server.txt").write_text("1\n")
    assert sh(tiny, f"cat '{HERE}/server.txt'") == "1"
    servers = [process for process in programs(tiny, "interop.drives") if serves(process, "C:\\")]
    assert servers
    for server in servers:
        server.kill()
    (here / "server.txt").write_text("2, longer\n")
    wait_until(
        lambda: tiny.run("-e", "cat", f"{HERE}/server.txt").text == "2, longer\n", "a new server"
    )
    sh(tiny, f"echo 3 > '{HERE}/server.txt'")
    assert (here / "server.txt").read_text() == "3\n"


def serves(process: psutil.Process, root: str) -> bool:
    """Whether a server's command line names that root."""
    words = process.cmdline()
    return "--root" in words and words[words.index("--root") + 1] == root


def test_commands_start_where_they_were_typed(tiny: Installation, here: Path) -> None:
    done = tiny.run("-e", "pwd", cwd=here)
    assert done.text == HERE + "\n"


def test_without_its_drive_commands_start_at_home(tiny: Installation, here: Path) -> None:
    def lost(*args: str) -> tuple[str, str]:
        done = tiny.run(*args, "-e", "pwd", cwd=here)
        assert done.status == 0, done
        return done.text, done.complaint

    tiny.ok("--cd", "/", "-e", "umount", "/mnt/c")
    try:
        for path in (r"C:\Shared by both", "q:\\x"):
            complaint = f"isthmus: Failed to translate '{path}'\n"
            assert lost("--cd", path) == ("/root\n", complaint)
        assert lost() == ("/root\n", "isthmus: Failed to translate 'C:\\Shared by both'\n")
        assert lost("--cd", "/etc") == ("/etc\n", "")
    finally:
        tiny.ok("--cd", "/", "-e", "mount", "-t", "drvfs", "C:", "/mnt/c")
    assert lost("--cd", r"C:\Shared by both") == (HERE + "\n", "")
