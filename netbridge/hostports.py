"""Ports of this host: whether one can be had, and who has it."""

from __future__ import annotations

import errno
import socket

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_WSAEACCES = 10013
"""Windows: the port is excluded, or bound exclusively."""


def why_refused(protocol: str, port: int, address: str = "127.0.0.1") -> str:
    """Why a server cannot have `port` at `address`; "" if it can at this moment."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, _KINDS[protocol]) as probe:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        elif protocol == "tcp":  # as QEMU does: connections that linger are no reason
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            if protocol == "tcp":
                probe.listen(1)
        except OSError as error:
            return _reason(error)
    return ""


def _reason(error: OSError) -> str:
    """What keeps a server from a port. Pure."""
    if error.errno == errno.EADDRINUSE:
        return "used by another program of the host"
    if error.errno in (errno.EACCES, errno.EPERM, _WSAEACCES):
        return "the host reserves it for privileged programs"
    return error.strerror or str(error)
