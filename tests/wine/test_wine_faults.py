"""What goes wrong on Windows: a killed service, a stranger on the port, a file that is held."""

from __future__ import annotations

import contextlib
import json
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.cli_harness import TINY, wait_until
from tests.wine.conftest import PLACE
from tests.wine.installation import Installation
from tests.wine.windows import Completed
from wire.client import Greeting
from wire.codec import encode_message
from wire.common import PROTOCOL_VERSION
from wire.frame import FrameKind, Role, encode_frame
from wire.version import VERSION

pytestmark = pytest.mark.wine


def endpoint(installed: Installation) -> dict[str, object]:
    """What the service has left for its user's commands."""
    body = json.loads((installed.home / "run" / "service").read_text())
    assert isinstance(body, dict)
    return body


def programs(installed: Installation, name: str) -> list[psutil.Process]:
    """Processes of this Windows whose command line holds `name`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("WINEPREFIX") == str(installed.windows.prefix) and any(
                name in word for word in process.cmdline()
            ):
                found.append(process)
    return found


def kill_service(installed: Installation) -> None:
    """End the service as Task Manager does: TerminateProcess."""
    pid = str(endpoint(installed)["pid"])
    installed.windows.run("taskkill", "/f", "/pid", pid)
    wait_until(lambda: not programs(installed, "--home"), "the service to be gone")


@contextlib.contextmanager
def held(installed: Installation, path: Path, seconds: float) -> Iterator[None]:
    """Another program has `path` open for `seconds`, and shares it with nobody."""
    windows_path = "C:\\" + str(path.relative_to(installed.windows.drive_c)).replace("/", "\\")
    code = (
        "import ctypes, sys, time\n"
        "create = ctypes.windll.kernel32.CreateFileW\n"
        "create.restype = ctypes.c_void_p\n"
        # GENERIC_READ, no sharing, OPEN_EXISTING (fileapi.h).
        "handle = create(sys.argv[1], 0x80000000, 0, None, 3, 0, None)\n"
        "print(handle not in (None, 2**64 - 1), flush=True)\n"
        f"time.sleep({seconds})\n"
    )
    process = installed.windows.popen([installed.python, "-c", code, windows_path])
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"True"
        yield
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def test_a_killed_service_takes_qemu_along_and_the_next_command_starts_both(
    tiny: Installation,
) -> None:
    tiny.ok("-e", "sh", "-c", "echo kept > /root/synchronised; sync")
    before = tiny.text("-e", "cat", "/proc/sys/kernel/random/boot_id")
    assert programs(tiny, "qemu-system")
    stale = endpoint(tiny)
    kill_service(tiny)
    # By the job object: nobody was there to tell QEMU.
    wait_until(lambda: not programs(tiny, "qemu-system"), "QEMU to be gone")
    assert endpoint(tiny) == stale
    assert tiny.text("-e", "cat", "/root/synchronised") == "kept"
    assert tiny.text("-e", "cat", "/proc/sys/kernel/random/boot_id") != before
    assert endpoint(tiny)["token"] != stale["token"]


def test_nothing_is_sent_to_whoever_takes_a_dead_services_port(tiny: Installation) -> None:
    tiny.ok("--status")
    kill_service(tiny)
    port = endpoint(tiny)["port"]
    assert isinstance(port, int)
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", port)) as stranger:

        def listen() -> None:
            with contextlib.suppress(OSError):
                connection, _ = stranger.accept()
                with connection:
                    received.append(connection.recv(65536))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        tiny.ok("--status")
        stranger.shutdown(socket.SHUT_RDWR)
        thread.join(30)
    assert received == []


def test_without_the_token_the_service_says_nothing(tiny: Installation) -> None:
    tiny.ok("--status")
    port = endpoint(tiny)["port"]
    assert isinstance(port, int)
    greeting = Greeting(protocol=PROTOCOL_VERSION, version=VERSION, token="0" * 64)
    frame = encode_frame(FrameKind.MESSAGE, Role.REQUEST, 1, encode_message(greeting))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(frame)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = connection.recv(1)
    assert answer == b""


def test_nobody_else_can_read_the_token(tiny: Installation) -> None:
    tiny.ok("--status")
    # Wine shows a Windows access list as a Unix mode, with the administrators as the group. It
    # lets no file inherit one, so it is the directory that counts here.
    assert stat.S_IMODE((tiny.home / "run").stat().st_mode) & 0o007 == 0


def test_a_file_that_a_scanner_holds_is_waited_for(tiny: Installation) -> None:
    with held(tiny, tiny.home / "distributions.json", 1.0):
        tiny.ok("--set-default", TINY)


def test_a_file_that_is_never_let_go_of_is_named(tiny: Installation) -> None:
    with held(tiny, tiny.home / "distributions.json", 600):
        done = tiny.run("--set-default", TINY)
    assert done.status != 0
    assert "distributions.json" in done.complaint
    assert "scanner" in done.complaint
    tiny.ok("--set-default", TINY)


def test_a_disk_that_a_scanner_holds_is_waited_for(tiny: Installation) -> None:
    disk = tiny.windows.unix_path(PLACE) / "ext4.qcow2"
    tiny.ok("--terminate", TINY)
    with held(tiny, disk, 1.0):
        tiny.ok("-e", "true")
    tiny.ok("--terminate", TINY)
    with held(tiny, disk, 600):
        done = tiny.run("-e", "true")
    assert done.status != 0
    assert "scanner" in done.complaint
    tiny.ok("-e", "true")


def test_two_users_have_an_isthmus_each(tiny: Installation) -> None:
    """Services of two profiles run at once, and know nothing of each other's distributions."""
    tiny.ok("-e", "true")
    local = tiny.windows.drive_c / "users" / "Zweiter Benutzer" / "AppData" / "Local"
    local.mkdir(parents=True)
    # Wine gives the first program that it starts the profile of its Unix user, whatever is asked.
    batch = tiny.windows.drive_c / "other.bat"
    batch.write_text(
        "@set USERPROFILE=C:\\users\\Zweiter Benutzer\r\n"
        "@set LOCALAPPDATA=%USERPROFILE%\\AppData\\Local\r\n"
        f'@set USERNAME=Zweiter\r\n@"{tiny.isthmus}" %*\r\n',
        newline="",
    )

    def other(*args: str) -> Completed:
        return tiny.windows.run("cmd", "/c", "C:\\other.bat", *args)

    service = local / "isthmus" / "run" / "service"
    try:
        listed = other("--list")
        assert listed.status != 0, "the other user has none"
        assert TINY not in listed.text
        theirs, ours = json.loads(service.read_text()), endpoint(tiny)
        assert theirs["port"] != ours["port"]
        assert theirs["token"] != ours["token"]
        assert tiny.text("--list", "--quiet") == TINY
        assert other("--shutdown").status == 0
        assert tiny.text("-e", "echo", "still here") == "still here"
    finally:
        if service.exists():
            pid = str(json.loads(service.read_text())["pid"])
            tiny.windows.run("taskkill", "/f", "/pid", pid)


def test_what_linux_serves_is_at_the_hosts_localhost(tiny: Installation) -> None:
    server = tiny.windows.popen(
        [tiny.isthmus, "-e", "sh", "-c", "echo from-linux | nc -l -p 18123"]
    )
    answers: list[bytes] = []

    def answered() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 18123), 30) as c:
            answers.append(c.recv(100))
        return b"from-linux\n" in answers

    try:
        wait_until(answered, "the port to be forwarded")
    finally:
        server.kill()
        server.wait()
        for pipe in (server.stdin, server.stdout, server.stderr):
            assert pipe is not None
            pipe.close()
