"""Distributions that run: their pid 1, its socket, the sessions in them.

A distribution's pid 1 is distro-init (guest/native); it outlives an agent that dies, and the
next agent connects to its socket again.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guest import initclient
from guest.agent import binfmt, disks, etc, kernelmodules, tools
from guest.agent.children import run, spawn, wait_until
from guest.agent.distroconf import read_distro_conf
from guest.agent.errors import AgentError
from guest.agent.loop import READABLE, WRITABLE, Loop
from guest.agent.roots import RootFiles, default_user_warnings
from guest.agent.windowsview import PROFILE, PROFILE_TEXT, MountTable
from wire import failures
from wire.agent import StartDistribution

RUN_DIRECTORY = "/run/distributions"
CGROUPS = "/sys/fs/cgroup/distributions"
BINARIES = "/usr/libexec/isthmus"
DISTRO_INIT = f"{BINARIES}/distro-init"
START_TIMEOUT_S = 60.0
DEATH_TIMEOUT_S = 3.0
"""How long processes that were killed may take, unless something in the kernel holds them."""
HELPER_DIRECTORY = "/run/WSL"
"""Where a distribution sees the socket and the facts that are its own, by WSL's name."""
SOCKET_NAME = "1_interop"
"""WSL's name for the socket that is there as long as the distribution runs."""
HELPER_SOCKET = f"{HELPER_DIRECTORY}/{SOCKET_NAME}"
_FACTS = "facts"
_BINDS = (
    initclient.Bind(etc.SHARED_DIRECTORY, etc.SHARED),
    initclient.Bind(BINARIES, tools.PROGRAMS, read_only=True),
)
_LISTEN_FD = 3
_READY_FD = 4

Reply = initclient.Done | initclient.SpawnReply | initclient.OpenReply
OnReply = Callable[[Any], None]
"""Gets the kind of reply that its request has."""


class Distribution:
    """A distribution whose pid 1 serves requests."""

    def __init__(
        self,
        loop: Loop,
        identity: str,
        name: str,
        disk: str,
        pid: int,
        on_stopped: Callable[[Distribution], None],
    ) -> None:
        """Connects to the pid 1 that runs as `pid`. Raises OSError."""
        self._loop = loop
        self._on_stopped = on_stopped
        self._waiting: dict[int, tuple[initclient.Request, OnReply]] = {}
        self._exits: dict[int, Callable[[int], None]] = {}
        self.identity = identity
        self.name = name
        self.disk = disk
        self.pid = pid
        self.files = RootFiles(disks.mount_point(disk))
        self.is_in_first_run = False
        """Whether its setup is going on in some session (guest.agent.setup.FirstRun)."""
        # Worker threads wait for the end and kill, so the loop's thread may not close the
        # descriptor under them: its number might be another file's a moment later.
        self._stopped = threading.Event()
        self._pidfd_lock = threading.Lock()
        self._pidfd = os.pidfd_open(pid)
        try:
            self._client = initclient.InitClient.connect(socket_path(identity))
        except OSError:
            os.close(self._pidfd)
            raise
        try:
            self.mount_table = MountTable(pid)
        except OSError:
            self._client.close()
            os.close(self._pidfd)
            raise
        self._wants_write = False
        self._is_lost = False
        loop.watch(self._pidfd, READABLE, self._on_death)
        loop.watch(self._client.fileno(), READABLE, self._on_ready)

    def request(self, message: initclient.Request, fds: Sequence[int], on_reply: OnReply) -> None:
        """Send a request to pid 1; `on_reply` gets its answer, an errno if pid 1 dies first.

        Raises AgentError if it cannot be sent, since pid 1 is about to end.
        """
        if self._is_lost:
            raise has_ended(self.name)
        try:
            token = self._client.request(message, fds)
        except BrokenPipeError:
            raise has_ended(self.name) from None
        self._waiting[token] = message, on_reply
        self._watch_writable()

    def _watch_writable(self) -> None:
        """Wait for room in the socket exactly while requests wait for it."""
        if self._client.wants_write != self._wants_write:
            self._wants_write = self._client.wants_write
            events = READABLE | WRITABLE if self._wants_write else READABLE
            self._loop.change(self._client.fileno(), events)

    def expect_exit(self, pid: int, callback: Callable[[int], None]) -> None:
        """Call `callback(raw wait status)` when the spawned process `pid` ends."""
        self._exits[pid] = callback

    def _on_ready(self, events: int) -> None:
        try:
            if events & WRITABLE:
                self._client.on_writable()
                self._watch_writable()
            self._receive()
        except (OSError, initclient.InitError) as error:
            # Nothing can be asked of it any more; its death is noticed by pidfd.
            if not isinstance(error, initclient.InitClosedError):
                print(f"agent: {self.name}: lost its init: {error}", file=sys.stderr)
            self._is_lost = True
            self._loop.forget(self._client.fileno())
            self.kill()

    def _receive(self) -> bool:
        """Take in what pid 1 has said; False if there is nothing. Raises OSError, InitError."""
        messages = self._client.on_readable()
        for message in messages:
            if isinstance(message, initclient.ExitEvent):
                callback = self._exits.pop(message.pid, None)
                if callback is not None:
                    callback(message.status)
            else:
                waiting = self._waiting.pop(message.token, None)
                if waiting is not None:
                    waiting[1](message)
        return bool(messages)

    def kill(self) -> None:
        """SIGKILL pid 1, and with it every process of the distribution (pid_namespaces(7))."""
        with self._pidfd_lock:
            if self._pidfd >= 0:
                try:
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def wait_stopped(self, timeout_s: float) -> bool:
        """Whether pid 1 has ended after at most `timeout_s`; for worker threads."""
        return self._stopped.wait(timeout_s)

    def _on_death(self, _events: int) -> None:
        if not self._is_lost:
            try:
                while self._receive():
                    pass  # its last words: its death may be noticed before them
            except (OSError, initclient.InitError):
                pass
        self._loop.forget(self._pidfd)
        self._loop.forget(self._client.fileno())
        self._is_lost = True
        self._client.close()
        self.mount_table.close()
        with self._pidfd_lock:
            os.close(self._pidfd)
            self._pidfd = -1
        self._stopped.set()
        exits, self._exits = self._exits, {}
        for callback in exits.values():
            callback(signal.SIGKILL)  # a wait status: killed by that signal
        waiting, self._waiting = self._waiting, {}
        for token, (message, on_reply) in waiting.items():
            on_reply(_refusal(message, token, errno.ECONNRESET))
        self._on_stopped(self)


def has_ended(name: str) -> AgentError:
    """The error for what is asked of a distribution that is over, or is about to be."""
    return AgentError(f"{name} has ended", code=failures.DISTRO_ENDED)


def _refusal(message: initclient.Request, token: int, error: int) -> Reply:
    """The answer to a request that pid 1 did not live to give. Pure."""
    if isinstance(message, initclient.Spawn):
        return initclient.SpawnReply(token, error, initclient.SpawnStage.FORK, 0, 0)
    if isinstance(message, initclient.Open):
        return initclient.OpenReply(token, error, -1)
    return initclient.Done(token, error)


def socket_path(identity: str) -> str:
    """Where a distribution's pid 1 listens; below it lies only what the agent wrote."""
    return f"{RUN_DIRECTORY}/{identity}/init.sock"


def helper_directory(identity: str) -> str:
    """What a distribution sees as HELPER_DIRECTORY."""
    return f"{RUN_DIRECTORY}/{identity}/helper"


def start_init(
    request: StartDistribution, facts: Mapping[str, str], hosts: Sequence[str]
) -> tuple[int, list[str]]:
    """Start pid 1 of a distribution on its mounted disk; returns its pid and warnings.

    `facts` are those of the machine (docs/paths.md §5), `hosts` lines for its /etc/hosts. Blocks:
    for worker threads. Raises AgentError.
    """
    identity, disk = request.identity, request.disk
    directory = f"{RUN_DIRECTORY}/{identity}"
    os.makedirs(directory, 0o700, exist_ok=True)
    root = disks.mount_point(disk)
    conf = read_distro_conf(root)
    hostname = conf.hostname or request.hostname
    warnings = [*conf.warnings, *default_user_warnings(root, conf)]
    warnings += etc.write_network_files(root, hostname, conf, hosts)
    warnings += etc.write_timezone(root, request.timezone, conf)
    warnings += tools.write_links(root)
    if conf.interop_enabled:
        warnings += etc.write_profile(root, PROFILE, PROFILE_TEXT)
        warnings += _register_windows_programs()
    helper = helper_directory(identity)
    os.makedirs(helper, 0o755, exist_ok=True)
    own_facts = {"distribution": request.name, **facts}
    _write(f"{helper}/{_FACTS}", tools.facts_text(own_facts))
    path = socket_path(identity)
    if os.path.exists(path):
        os.unlink(path)
    cgroup = f"{CGROUPS}/{identity}"
    os.makedirs(cgroup, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen(4)
        arguments = initclient.init_arguments(
            root=root,
            hostname=hostname,
            listen_fd=_LISTEN_FD,
            ready_fd=_READY_FD,
            cgroup=cgroup,
            binds=(
                *_BINDS,
                initclient.Bind(helper, HELPER_DIRECTORY, read_only=True),
                *kernelmodules.binds_for(root),
                *binfmt.binds_for(conf.protect_binfmt),
            ),
        )
        pid = _spawn_and_wait_ready([DISTRO_INIT, *arguments], listener.fileno())
    _write(f"{directory}/state", f"{pid}\n{disk}\n{request.name}\n")
    return pid, warnings


def _register_windows_programs() -> list[str]:
    """Let the kernel know them, again if a distribution has removed the entry; warnings."""
    try:
        binfmt.register()
    except OSError as error:
        return [f"Windows programs cannot be started: binfmt_misc: {error.strerror}"]
    return []


def _spawn_and_wait_ready(argv: list[str], listen_fd: int) -> int:
    """Run distro-init until it reports the pid of its pid 1."""
    ready_r, ready_w = os.pipe2(os.O_CLOEXEC)
    launcher = -1
    try:
        with open("/dev/null", "rb") as nothing:
            fds = (nothing.fileno(), 2, 2)
            launcher = spawn(argv, fds, extra_fds={_LISTEN_FD: listen_fd, _READY_FD: ready_w})
        os.close(ready_w)
        ready_w = -1
        poll = select.poll()
        poll.register(ready_r, select.POLLIN)
        answer = os.read(ready_r, 4096) if poll.poll(START_TIMEOUT_S * 1000) else b""
        if not answer:
            os.kill(launcher, signal.SIGKILL)
        return initclient.parse_ready(answer)
    finally:
        if launcher >= 0:
            os.waitpid(launcher, 0)
        for fd in (ready_r, ready_w):
            if fd >= 0:
                os.close(fd)


def end_init(distribution: Distribution, grace_s: float, end_drives: Callable[[str], None]) -> None:
    """See a distribution's processes off, then unmount its disk; for worker threads.

    The caller has already asked them to end; pid 1 itself waits for its kill. `end_drives` is
    called with its identity if they do not even die: a drive that does not answer keeps what
    waits for it. Raises AgentError when the disk stays busy.
    """

    def is_empty() -> bool:
        return distribution.wait_stopped(0) or _count_processes(distribution.identity) <= 1

    try:
        wait_until(is_empty, grace_s, f"the processes of {distribution.name} to end")
    except AgentError:
        pass  # they have had their time
    if not distribution.wait_stopped(0):
        distribution.kill()
        if not distribution.wait_stopped(DEATH_TIMEOUT_S):
            end_drives(distribution.identity)
        if not distribution.wait_stopped(START_TIMEOUT_S):
            raise AgentError(f"the processes of {distribution.name} do not die")
    remove_traces(distribution.identity)
    disks.unmount_disk(distribution.disk)


def _count_processes(identity: str) -> float:
    """Processes and threads of a distribution, pid 1 among them; infinite where nobody counts."""
    try:
        with open(f"{CGROUPS}/{identity}/pids.current") as file:
            return int(file.read())
    except OSError:
        return float("inf")


def remove_traces(identity: str) -> None:
    """Remove what start_init has made for a distribution that has ended. Raises AgentError."""
    directory = f"{RUN_DIRECTORY}/{identity}"
    # Only what the agent wrote lies in it: a distribution sees a part of it, read-only.
    if os.path.isdir(directory):
        for parent, _, names in os.walk(directory, topdown=False):
            for name in names:
                os.unlink(f"{parent}/{name}")
            os.rmdir(parent)
    cgroup = f"{CGROUPS}/{identity}"

    def is_removed() -> bool:
        try:
            os.rmdir(cgroup)
        except FileNotFoundError:
            return True
        except OSError:
            return False  # EBUSY until the last zombie is reaped
        return True

    if os.path.isdir(cgroup):
        for child, _, _ in os.walk(cgroup, topdown=False):
            if child != cgroup:
                try:
                    os.rmdir(child)
                except OSError:
                    continue
        wait_until(is_removed, 10, f"cgroup of {identity} to empty")


def left_running(loop: Loop, on_stopped: Callable[[Distribution], None]) -> list[Distribution]:
    """Connect to the distributions that an earlier agent has left running."""
    found = []
    os.makedirs(RUN_DIRECTORY, 0o700, exist_ok=True)
    for identity in sorted(os.listdir(RUN_DIRECTORY)):
        try:
            with open(f"{RUN_DIRECTORY}/{identity}/state") as file:
                pid, disk, name = file.read().splitlines()
            found.append(Distribution(loop, identity, name, disk, int(pid), on_stopped))
        except (OSError, ValueError) as error:
            print(f"agent: {identity} cannot be taken over: {error}", file=sys.stderr)
    return found


def prepare() -> None:
    """Make what all distributions share: the tmpfs, its resolv.conf, the parent cgroup."""
    os.makedirs(RUN_DIRECTORY, 0o700, exist_ok=True)
    os.makedirs(etc.SHARED_DIRECTORY, 0o755, exist_ok=True)
    if not os.path.ismount(etc.SHARED_DIRECTORY):
        run(["mount", "-t", "tmpfs", "-o", "mode=755", "shared", etc.SHARED_DIRECTORY])
    etc.write_resolv_conf()
    _register_windows_programs()  # the first start would have to; it tells what is wrong
    os.makedirs(CGROUPS, exist_ok=True)
    for directory in (os.path.dirname(CGROUPS), CGROUPS):
        with open(f"{directory}/cgroup.controllers") as file:
            controllers = file.read().split()
        _write(f"{directory}/cgroup.subtree_control", " ".join(f"+{name}" for name in controllers))
    # A fork storm in a distribution must leave the agent room to fork.
    with open("/proc/sys/kernel/threads-max") as file:
        # What systemd lets a unit have (systemd-system.conf(5), DefaultTasksMax): with nearly all,
        # a storm keeps one emulated processor busy for minutes before it meets its bound.
        limit = int(file.read()) * 15 // 100
    if os.path.exists(f"{CGROUPS}/pids.max"):
        _write(f"{CGROUPS}/pids.max", str(limit))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
