"""Sockets between this process and a QEMU it starts: the contract, and who fulfils it here.

A channel is made before QEMU is started, so that QEMU is always the client and never has to
wait, and nobody else can take the address in between. Its life::

    channel = open_channel()
    argv = [..., "-chardev", f"{channel.backend},id=qmp", ...]
    child = await spawn(argv, pass_fds=channel.inherited_fds)
    channel.spawned()
    sock = await channel.connected(child.pid, deadline_s=10)

POSIX hosts use a socket pair: one end is inherited by QEMU, nothing is ever in the file system.
Windows, where a QEMU chardev cannot be given a handle, uses one accept on 127.0.0.1.
"""

from __future__ import annotations

import socket
import sys
from typing import Protocol


class Channel(Protocol):
    """The host end of one QEMU chardev."""

    @property
    def backend(self) -> str:
        """The chardev as QEMU's `-chardev` takes it, without its id."""

    @property
    def inherited_fds(self) -> tuple[int, ...]:
        """File descriptors that QEMU must inherit under the same numbers."""

    def spawned(self) -> None:
        """To be called once QEMU runs: gives up what only QEMU needs, so that its end is seen."""

    async def connected(self, pid: int, deadline_s: float) -> socket.socket:
        """The connected, non-blocking socket; the caller owns it. May be called once.

        pid: QEMU's. Raises ChannelFailure if that process has not connected in time.
        """

    def close(self) -> None:
        """Give up whatever is still held; harmless after `connected` and when repeated."""


def open_channel() -> Channel:
    """A channel of this host's kind. Raises OSError if the host has no sockets left."""
    if sys.platform == "win32":
        from vm.channels_windows import LoopbackChannel

        return LoopbackChannel()
    else:
        from vm.channels_posix import SocketPairChannel

        return SocketPairChannel()
