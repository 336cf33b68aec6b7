"""The host's drives in the distributions: each mount is a pump (guest/native) and a server.

A pump outlives an agent that dies, as distributions do; the next agent finds it by its files.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable

from guest.agent.children import spawn
from guest.agent.distributions import BINARIES, Distribution
from guest.agent.driveoptions import automount_options, split_options
from guest.agent.errors import AgentError
from guest.agent.link import Link
from guest.agent.loop import READABLE, Loop
from guest.agent.service import Service
from guest.agent.users import User
from wire.agent import DriveClosed, DriveOpened, OpenDrive
from wire.codec import Message
from wire.common import Failure

DIRECTORY = "/run/drives"
"""What the agent knows of each pump, by its port's name: <port>.control, a datagram socket, and
<port>.pid."""
PUMP = f"{BINARIES}/drive-pump"
_CONTROL_FD = 3
_READY_FD = 4
_NAMESPACE_FD = 5
_DIRECTORY_FD = 6

Done = Callable[[AgentError | None], None]
"""Told once whether a mount was made."""


class MountPoint:
    """Where to mount: `path`, in a distribution's own mount namespace, made where it is missing.

    Or, for a program that has asked, descriptors of a directory and of the mount namespace that
    it is in; `path` is then only what users are shown.
    """

    __slots__ = ("directory", "namespace", "path")

    def __init__(self, path: str, directory: int = -1, namespace: int = -1) -> None:
        self.path = path
        self.directory = directory
        self.namespace = namespace

    def close(self) -> None:
        """Close the descriptors."""
        for fd in (self.directory, self.namespace):
            if fd >= 0:
                os.close(fd)
        self.directory = self.namespace = -1


class Drives:
    """Every mount of a drive."""

    def __init__(self, loop: Loop, link: Link, service: Service) -> None:
        self._loop = loop
        self._link = link
        self._service = service
        self._find_left()

    def automount(
        self,
        distribution: Distribution,
        drives: tuple[str, ...],
        user: User,
        done: Callable[[list[str]], None],
    ) -> None:
        """Mount `drives`, letters, as the distribution's wsl.conf wants; `done` gets warnings."""
        conf = distribution.files.conf
        warnings: list[str] = []
        left = len(drives) if conf.automount_enabled else 0
        if not left:
            done(warnings)
            return
        options = automount_options(user.uid, user.gid, conf.automount_options)
        root = conf.automount_root.rstrip("/")

        def mounted(letter: str) -> Done:
            def done_one(error: AgentError | None) -> None:
                nonlocal left
                left -= 1
                if error is not None:
                    warnings.append(f"drive {letter}: was not mounted: {error.message}")
                if not left:
                    done(warnings)

            return done_one

        for letter in drives:
            point = MountPoint(f"{root}/{letter.lower()}")
            self.mount(distribution, f"{letter}:", options, point, mounted(letter))

    def mount(
        self,
        distribution: Distribution,
        source: str,
        options: str,
        point: MountPoint,
        done: Done,
    ) -> None:
        """Mount the Windows path `source` with mount(8)'s `options`; `done` is told.

        `point` is closed.
        """
        parsed = split_options(options)

        def on_reply(reply: Message) -> None:
            try:
                if isinstance(reply, Failure):
                    raise AgentError(reply.message, code=reply.code, hint=reply.hint)
                assert isinstance(reply, DriveOpened)
                self._start_pump(distribution, reply, parsed.attributes, point, done)
            except (AgentError, OSError) as error:
                if isinstance(reply, DriveOpened):
                    _remove_files(reply.port)
                    self._link.send_event(DriveClosed(port=reply.port))
                done(error if isinstance(error, AgentError) else AgentError(str(error)))
            finally:
                point.close()

        root = distribution.files.conf.automount_root.rstrip("/")
        request = OpenDrive(
            distribution=distribution.identity,
            source=source,
            options=",".join((f"symlinkroot={root}/", *parsed.drive)),
            place=point.path,
        )
        self._service.request(request, on_reply)

    def _start_pump(
        self,
        distribution: Distribution,
        opened: DriveOpened,
        attributes: int,
        point: MountPoint,
        done: Done,
    ) -> None:
        argv = [PUMP, "--port", opened.port, "--source", opened.source]
        argv += ["--attributes", str(attributes)]
        argv += ["--control", str(_CONTROL_FD), "--ready", str(_READY_FD)]
        argv += ["--namespace", str(_NAMESPACE_FD)]
        if opened.read_only:
            argv.append("--read-only")
        if point.directory >= 0:
            argv += ["--directory", str(_DIRECTORY_FD)]
        else:
            argv += ["--target", point.path]
            path = f"/proc/{distribution.pid}/ns/mnt"
            point.namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        ready_r, ready_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            with _new_control(opened.port) as control, open("/dev/null", "rb") as nothing:
                _tell(opened.port, f"sync {opened.nonce}")
                fds = {_CONTROL_FD: control.fileno(), _READY_FD: ready_w}
                fds[_NAMESPACE_FD] = point.namespace
                if point.directory >= 0:
                    fds[_DIRECTORY_FD] = point.directory
                pid = spawn(argv, (nothing.fileno(), 2, 2), extra_fds=fds)
        except BaseException:
            os.close(ready_r)
            raise
        finally:
            os.close(ready_w)
        with open(f"{DIRECTORY}/{opened.port}.pid", "w") as file:
            file.write(str(pid))
        self._follow(opened.port, pid)

        def on_ready(_events: int) -> None:
            self._loop.forget(ready_r)
            said = os.read(ready_r, 256).decode("utf-8", "replace")
            os.close(ready_r)
            done(_mount_error(said))

        self._loop.watch(ready_r, READABLE, on_ready)

    def _follow(self, port: str, pid: int) -> None:
        """Tell the service when the pump `pid` ends; it may not be this process's own child."""
        fd = os.pidfd_open(pid)

        def on_exit(_events: int) -> None:
            self._loop.forget(fd)
            os.close(fd)
            try:
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            except ChildProcessError:
                status = 0
            if status:
                print(f"agent: drive-pump {port} ended with status {status}", file=sys.stderr)
            _remove_files(port)
            self._link.send_event(DriveClosed(port=port))

        self._loop.watch(fd, READABLE, on_exit)

    def announce(self, port: str, nonce: str) -> None:
        """Tell a pump that another server is about to greet it. Raises AgentError."""
        _tell(port, f"sync {nonce}")

    def end(self, port: str) -> None:
        """Tell a pump to give up. No error if it is gone."""
        try:
            _tell(port, "end")
        except AgentError:
            pass

    def _find_left(self) -> None:
        """Follow the pumps that an earlier agent has left."""
        if not os.path.isdir(DIRECTORY):
            return
        for name in os.listdir(DIRECTORY):
            port, _, kind = name.rpartition(".")
            if kind != "pid":
                continue
            try:
                with open(f"{DIRECTORY}/{name}") as file:
                    self._follow(port, int(file.read()))
            except (OSError, ValueError):
                _remove_files(port)


def prepare() -> None:
    """Make the directory in which this module keeps its files."""
    os.makedirs(DIRECTORY, 0o700, exist_ok=True)


def _new_control(port: str) -> socket.socket:
    """The pump's end of its control socket. Raises OSError."""
    path = f"{DIRECTORY}/{port}.control"
    if os.path.exists(path):
        os.unlink(path)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        control.bind(path)
    except BaseException:
        control.close()
        raise
    return control


def _tell(port: str, text: str) -> None:
    """Send a pump one datagram. Raises AgentError if there is no such pump."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(text.encode("ascii"), f"{DIRECTORY}/{port}.control")
    except OSError as error:
        raise AgentError(f"no drive is mounted on port {port}: {error.strerror}") from None


def _remove_files(port: str) -> None:
    for kind in ("control", "pid"):
        try:
            os.unlink(f"{DIRECTORY}/{port}.{kind}")
        except FileNotFoundError:
            pass


def _mount_error(said: str) -> AgentError | None:
    """What drive-pump's line about the mount means: None for success. Pure."""
    word, _, rest = said.strip().partition(" ")
    if word == "mounted":
        return None
    number, _, stage = rest.partition(" ")
    why = os.strerror(int(number)) if number.isdecimal() else "it ended before it was mounted"
    return AgentError(f"{stage or 'drive-pump'}: {why}")
