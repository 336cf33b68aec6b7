"""The host's drives in the distributions: each mount is a pump (guest/native) and a server.

A pump outlives an agent that dies, as distributions do; the next agent finds it by its files.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable

from guest.agent.children import spawn
from guest.agent.disks import wait_for_device
from guest.agent.distributions import BINARIES, Distribution
from guest.agent.driveoptions import automount_options, split_options
from guest.agent.errors import AgentError
from guest.agent.fstab import mount_fstab, wants_fstab
from guest.agent.helpers import Call
from guest.agent.link import Link
from guest.agent.loop import READABLE, Loop
from guest.agent.service import Service
from guest.agent.users import User
from guest.helperprotocol import REPLY_BIT, Body, Op
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

Done = Callable[[AgentError | None, int], None]
"""Told once whether a mount was made; with a descriptor of it if it is attached nowhere, else -1,
which is closed afterwards."""


class Drives:
    """Every mount of a drive."""

    def __init__(self, loop: Loop, link: Link, service: Service) -> None:
        self._loop = loop
        self._link = link
        self._service = service
        self._owners: dict[str, str] = {}
        """Identities of distributions by port, of the pumps that run."""
        self._untold: list[str] = []
        """Ports whose mounts are over, which the service has not been told."""
        self._find_left()

    def mount_all(
        self,
        distribution: Distribution,
        drives: tuple[str, ...],
        user: User,
        done: Callable[[list[str]], None],
    ) -> None:
        """Mount what a distribution has mounted when it starts; `done` gets warnings.

        First what its /etc/fstab names, then those of `drives`, letters, that are not there yet.
        """
        if not wants_fstab(distribution):
            self._automount(distribution, drives, user, done)
            return

        def on_fstab(warnings: list[str]) -> None:
            present = _mounted_drives(distribution.pid)
            left = tuple(letter for letter in drives if f"{letter}:" not in present)
            self._automount(distribution, left, user, lambda more: done(warnings + more))

        mount_fstab(self._loop, distribution, on_fstab)

    def _automount(
        self,
        distribution: Distribution,
        drives: tuple[str, ...],
        user: User,
        done: Callable[[list[str]], None],
    ) -> None:
        """Mount `drives` where, and as, the distribution's wsl.conf wants them."""
        conf = distribution.files.conf
        warnings: list[str] = []
        left = len(drives) if conf.automount_enabled else 0
        if not left:
            done(warnings)
            return
        options = automount_options(user.uid, user.gid, conf.automount_options)
        root = conf.automount_root.rstrip("/")

        def mounted(letter: str) -> Done:
            def done_one(error: AgentError | None, _fd: int) -> None:
                nonlocal left
                left -= 1
                if error is not None:
                    warnings.append(f"drive {letter}: was not mounted: {error.message}")
                if not left:
                    done(warnings)

            return done_one

        for letter in drives:
            place = f"{root}/{letter.lower()}"
            self._mount(distribution, f"{letter}:", options, place, True, mounted(letter))

    def on_request(self, call: Call, body: bytes) -> None:
        """A program's MOUNT (docs/protocol-helper.md §5): the reply carries the mount."""
        read = Body(body)
        source, place, options = read.string(), read.string(), read.string()
        read.finish()
        if call.uid != 0:
            call.refuse(errno.EPERM, f"{source}: only root can mount a drive")
            return

        def done(error: AgentError | None, fd: int) -> None:
            if error is None:
                call.finish(Op.MOUNT | REPLY_BIT, fds=(fd,))
            else:
                call.refuse(errno.EIO, error.message, error.hint)

        self._mount(call.distribution, source, options, place, False, done)

    def _mount(
        self,
        distribution: Distribution,
        source: str,
        options: str,
        place: str,
        is_attached: bool,
        done: Done,
    ) -> None:
        """Mount the Windows path `source` with mount(8)'s `options`; `done` is told.

        At `place` in the distribution, made where it is missing, or with not `is_attached`
        nowhere yet.
        """
        parsed = split_options(options)

        def on_reply(reply: Message) -> None:
            if isinstance(reply, Failure):
                done(AgentError(reply.message, code=reply.code, hint=reply.hint), -1)
                return
            assert isinstance(reply, DriveOpened)
            try:
                self._start_pump(
                    distribution, reply, parsed.attributes, place if is_attached else "", done
                )
            except OSError as error:
                _remove_files(reply.port)
                self._link.send_event(DriveClosed(port=reply.port))
                done(AgentError(str(error)), -1)

        root = distribution.files.conf.automount_root.rstrip("/")
        request = OpenDrive(
            distribution=distribution.identity,
            source=source,
            options=",".join((f"symlinkroot={root}/", *parsed.drive)),
            place=place,
        )
        self._service.request(request, on_reply)

    def _start_pump(
        self,
        distribution: Distribution,
        opened: DriveOpened,
        attributes: int,
        target: str,
        done: Done,
    ) -> None:
        """Start a pump that mounts at `target` in the distribution, or, if that is "", nowhere."""
        pid = distribution.pid
        argv = [PUMP, "--port", opened.port, "--source", opened.source]
        argv += ["--attributes", str(attributes), "--init", str(pid)]
        argv += ["--control", str(_CONTROL_FD), "--ready", str(_READY_FD)]
        if opened.read_only:
            argv.append("--read-only")
        fds = {}
        namespace = -1
        if target:
            namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            argv += ["--target", target, "--namespace", str(_NAMESPACE_FD)]
            fds[_NAMESPACE_FD] = namespace
        ready, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with _new_control(opened.port) as control, open("/dev/null", "rb") as nothing:
                _tell(opened.port, f"sync {opened.nonce}")
                fds |= {_CONTROL_FD: control.fileno(), _READY_FD: theirs.fileno()}
                pump = spawn(argv, (nothing.fileno(), 2, 2), extra_fds=fds)
        except BaseException:
            ready.close()
            raise
        finally:
            theirs.close()
            if namespace >= 0:
                os.close(namespace)
        with open(f"{DIRECTORY}/{opened.port}.pid", "w") as file:
            file.write(f"{pump} {distribution.identity}")
        self._follow(opened.port, pump, distribution.identity)

        def on_ready(_events: int) -> None:
            self._loop.forget(ready.fileno())
            said, mounts, _, _ = socket.recv_fds(ready, 256, 1, socket.MSG_CMSG_CLOEXEC)
            ready.close()
            try:
                done(_mount_error(said.decode("utf-8", "replace")), mounts[0] if mounts else -1)
            finally:
                for fd in mounts:
                    os.close(fd)

        self._loop.watch(ready.fileno(), READABLE, on_ready)

    def _follow(self, port: str, pid: int, owner: str) -> None:
        """Tell the service when the pump `pid` ends; it may not be this process's own child."""
        fd = os.pidfd_open(pid)
        self._owners[port] = owner

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
            self._owners.pop(port, None)
            self._untold.append(port)
            self.tell_closed()

        self._loop.watch(fd, READABLE, on_exit)

    def tell_closed(self) -> None:
        """Tell the service which mounts are over, as soon as it listens."""
        while self._untold and self._link.is_synchronised:
            self._link.send_event(DriveClosed(port=self._untold.pop()))

    def announce(self, port: str, nonce: str) -> None:
        """Tell a pump that another server is about to greet it. Raises AgentError."""
        _tell(port, f"sync {nonce}")

    def end(self, port: str) -> None:
        """Tell a pump to give up. No error if it is gone."""
        try:
            _tell(port, "end")
        except AgentError:
            pass

    def end_all(self, distribution: str) -> None:
        """Tell the pumps of a distribution to give up; any thread may call this."""
        for port, owner in list(self._owners.items()):
            if owner == distribution:
                self.end(port)

    def _find_left(self) -> None:
        """Follow the pumps that an earlier agent has left; those that ended since are closed."""
        if not os.path.isdir(DIRECTORY):
            return
        for name in os.listdir(DIRECTORY):
            port, _, kind = name.rpartition(".")
            if kind != "pid":
                continue
            try:
                with open(f"{DIRECTORY}/{name}") as file:
                    pid, owner = file.read().split()
                # Its number may be another program's by now.
                if os.path.basename(os.readlink(f"/proc/{pid}/exe")) != os.path.basename(PUMP):
                    raise ProcessLookupError(errno.ESRCH, "the pump has ended")
                self._follow(port, int(pid), owner)
            except (OSError, ValueError):
                _remove_files(port)
                self._untold.append(port)


def use_bulk_disk(port: str, disk: str) -> None:
    """Tell a pump of a disk that has been plugged in for it; blocks. Raises AgentError."""
    _tell(port, f"bulk {wait_for_device(disk)}")


def prepare() -> None:
    """Make the directory in which this module keeps its files."""
    os.makedirs(DIRECTORY, 0o700, exist_ok=True)


def _mounted_drives(pid: int) -> set[str]:
    """The Windows directories that the process `pid` sees mounted ("C:"), letters in upper case."""
    from wire.mounts import Mounts  # not every distribution's start needs it

    with open(f"/proc/{pid}/mountinfo", errors="surrogateescape") as file:
        return {
            mount.windows.upper() for mount in Mounts.parse(file.read()).drives if mount.windows
        }


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
