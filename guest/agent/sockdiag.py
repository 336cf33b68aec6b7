"""What listens in the machine, asked of the kernel by netlink (sock_diag(7)).

Not pyroute2: importing it costs seconds under emulation, and this is one request and one reply.

Source: <linux/netlink.h>, <linux/sock_diag.h>, <linux/inet_diag.h>, kernel 6.12.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_REQUEST = 0x1
_NLM_F_DUMP = 0x300
_NLMSG_HEADER = struct.Struct("=IHHII")
"""nlmsghdr: length with this header, type, flags, sequence number, port."""
_INET_DIAG_REQUEST = struct.Struct("=BBBxI48x")
"""inet_diag_req_v2: family, protocol, extensions, states, and an empty inet_diag_sockid."""
_INET_DIAG_MESSAGE_BYTES = 72
_INTERFACE = slice(40, 44)
"""inet_diag_msg.id.idiag_if"""
_ANY_INTERFACE = bytes(4)
_INET_DIAG_SKV6ONLY = 11
_TCP_CLOSE = 7
_TCP_LISTEN = 10
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
PROTOCOLS = {"tcp": (socket.IPPROTO_TCP, _TCP_LISTEN), "udp": (socket.IPPROTO_UDP, _TCP_CLOSE)}
"""Of a protocol, its number and the state of a socket that serves: a UDP socket without a peer is
"closed"."""
_ANSWER_BYTES = 32 * 1024
"""What the kernel fills at once (NLMSG_GOODSIZE and more), so that nothing is cut off."""
_TIMEOUT_S = 5.0


Endpoint = tuple[int, bytes, int]
"""Family, address and port."""
Listener = tuple[int, bytes, int, bool]
"""A socket that serves: family, address, port, and whether it is deaf to IPv4 (IPV6_V6ONLY)."""


_DESTROY_GROUPS = {"udp": (2, 4)}
"""SKNLGRP_INET_UDP_DESTROY and SKNLGRP_INET6_UDP_DESTROY: of which the kernel tells when a socket
is over."""


class Departures:
    """Sockets of this namespace that are over, told by the kernel. Raises OSError.

    It has groups for sockets without a listener's state only: "udp".
    """

    def __init__(self, protocol: str) -> None:
        self._socket = _netlink(socket.SOCK_NONBLOCK)
        try:
            # The kernel's own number is 0, and it tells itself nothing: ours must be another.
            self._socket.bind((0, 0))
            for group in _DESTROY_GROUPS[protocol]:
                # SOL_NETLINK, NETLINK_ADD_MEMBERSHIP
                self._socket.setsockopt(270, 1, group)
        except OSError:
            self._socket.close()
            raise
        self.fd = self._socket.fileno()

    def read(self, known: set[Listener]) -> tuple[bool, set[Endpoint]]:
        """Whether any of `known` may be over; nothing that begins is told here."""
        gone: set[Listener] = set()
        while True:
            try:
                parse_dump(self._socket.recv(_ANSWER_BYTES), 0, gone)
            except BlockingIOError:
                break
            except OSError:
                return True, set()  # ENOBUFS: some could not be told
        endpoints = {listener[:3] for listener in known}
        return any(listener[:3] in endpoints for listener in gone), set()

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


def _netlink(flags: int = 0) -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | flags
    return socket.socket(socket.AF_NETLINK, kind, 4)  # NETLINK_SOCK_DIAG


class SockDiag:
    """A netlink socket in the namespace of whoever makes it. Raises OSError if there is none."""

    def __init__(self) -> None:
        self._socket = _netlink()
        self._socket.settimeout(_TIMEOUT_S)
        self._sequence = 0

    def close(self) -> None:
        """Give the socket up."""
        self._socket.close()

    def listening(self, protocol: str) -> set[Listener]:
        """Every socket of this network namespace that serves `protocol`, "tcp" or "udp".

        Raises OSError, ENOENT where the kernel cannot tell.
        """
        number, state = PROTOCOLS[protocol]
        found: set[Listener] = set()
        for family in _FAMILIES:
            self._sequence += 1
            self._socket.send(dump_request(family, number, 1 << state, self._sequence))
            done = False
            while not done:
                answer = self._socket.recv(_ANSWER_BYTES)
                done = parse_dump(answer, self._sequence, found)
        return found


def dump_request(family: int, protocol: int, states: int, sequence: int) -> bytes:
    """The message that asks for all sockets in one of `states`, a bit set. Pure."""
    length = _NLMSG_HEADER.size + _INET_DIAG_REQUEST.size
    flags = _NLM_F_REQUEST | _NLM_F_DUMP
    header = _NLMSG_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, flags, sequence, 0)
    return header + _INET_DIAG_REQUEST.pack(family, protocol, 0, states)


def parse_dump(answer: bytes, sequence: int, found: set[Listener]) -> bool:
    """Add the sockets in `answer` to `found`; whether it was the last part. Pure.

    Raises OSError for the error that the kernel reports.
    """
    at = 0
    while at + _NLMSG_HEADER.size <= len(answer):
        length, kind, _flags, number, _port = _NLMSG_HEADER.unpack_from(answer, at)
        body = answer[at + _NLMSG_HEADER.size : at + length]
        at += max(_align(length), _NLMSG_HEADER.size)
        if number != sequence:
            continue  # what is left of a dump that was given up
        if kind in (_NLMSG_DONE, _NLMSG_ERROR):
            error = -int.from_bytes(body[:4], "little", signed=True) if body else 0
            if error > 0:
                raise OSError(error, f"sock_diag: {os.strerror(error)}")
            return True
        if kind == _SOCK_DIAG_BY_FAMILY and len(body) >= _INET_DIAG_MESSAGE_BYTES:
            port = int.from_bytes(body[4:6], "big")
            # One that is tied to an interface (SO_BINDTODEVICE) is not at localhost.
            if port and body[_INTERFACE] == _ANY_INTERFACE:
                family = body[0]
                address = body[8 : 12 if family == socket.AF_INET else 24]
                found.add((family, address, port, _is_v6_only(body)))
    return False


def _is_v6_only(body: bytes) -> bool:
    """Whether an inet_diag_msg is of a socket that is deaf to IPv4."""
    if body[0] != socket.AF_INET6:
        return False
    attributes = _attributes(body[_INET_DIAG_MESSAGE_BYTES:])
    return any(kind == _INET_DIAG_SKV6ONLY and value[:1] == b"\1" for kind, value in attributes)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The types and values of netlink attributes (struct nlattr)."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield kind, data[at + 4 : at + length]
        at += _align(length)


def _align(length: int) -> int:
    """NLMSG_ALIGN and NLA_ALIGN."""
    return (length + 3) & ~3
