"""Programs in the kernel, at the root of the control groups (guest/native/net_hooks.h)."""

from __future__ import annotations

import mmap
import os
import socket
import struct

from guest.agent.children import spawn
from guest.agent.errors import AgentError
from guest.agent.sockdiag import Endpoint, Listener

_PROGRAM = "/usr/libexec/isthmus/net-hooks"
_CGROUP = "/sys/fs/cgroup"
_FD = 3
_MAX_FDS = 8
_TIMEOUT_S = 10.0
_POSITION = struct.Struct("=Q")


def put_hooks(kind: str) -> list[int]:
    """Run net-hooks for `kind`, "ports" or "mirror"; returns the descriptors it hands over.

    Closing them takes the programs out again. Raises AgentError, OSError.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(_TIMEOUT_S)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        with theirs:
            argv = [_PROGRAM, str(_FD), _CGROUP, kind]
            pid = spawn(argv, (null, null, 2), extra_fds={_FD: theirs.fileno()})
        with ours:
            _data, fds, _flags, _address = socket.recv_fds(ours, 1, _MAX_FDS)
    finally:
        os.close(null)
    os.waitpid(pid, 0)
    if not fds:
        raise AgentError("the kernel does not take the programs that watch its sockets")
    for fd in fds:
        os.set_inheritable(fd, False)
    return fds


class BindEvents:
    """The kernel's word that a datagram socket has been bound. Raises AgentError, OSError.

    As long as it is open, connections that the host forwards come from 127.0.0.1, for who asks.

    From a ring buffer (Documentation/bpf/ringbuf.rst) whose records say nothing more; the first
    page is ours to write, how far we have read, the second the kernel's, how far it has written.
    """

    def __init__(self) -> None:
        self._fds = put_hooks("ports")
        self.fd = self._fds[0]
        page = mmap.PAGESIZE
        self._consumer = mmap.mmap(self.fd, page)
        self._producer = mmap.mmap(self.fd, page, prot=mmap.PROT_READ, offset=page)

    def read(self, known: set[Listener]) -> tuple[bool, set[Endpoint]]:
        """Take all records: always a reason to look."""
        (position,) = _POSITION.unpack_from(self._producer)
        _POSITION.pack_into(self._consumer, 0, position)
        return True, set()

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._consumer.close()
        self._producer.close()
        for fd in self._fds:
            os.close(fd)
