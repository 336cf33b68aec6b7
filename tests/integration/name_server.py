"""A small name server, run as a program: `name_server.py ADDRESS ANSWER`, at port 53, UDP and TCP.

Every name that ends in ".test" has the address ANSWER; "many.test" has a hundred more, which do not
fit in a datagram of 512 bytes (RFC 1035, 4.2.1): there the answer is cut, and TCP has it whole.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
import threading

_HEADER = struct.Struct(">HHHHHH")
"""ID, flags, and the numbers of questions, answers, authorities and additional records."""
_RECORD = struct.Struct(">HHHIH4s")
"""A pointer to the name, type A, class IN, time to live, length, address."""
_MAX_DATAGRAM = 512
_A = 1


def answer_to(query: bytes, address: str, *, is_datagram: bool) -> bytes:
    """The message that answers `query`."""
    number, _flags, *_counts = _HEADER.unpack_from(query)
    labels, at = [], _HEADER.size
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    question = query[_HEADER.size : at + 5]
    kind = int.from_bytes(query[at + 1 : at + 3], "big")
    name = ".".join(labels).lower()
    exists = name.endswith(".test")
    addresses = []
    if exists and kind == _A:
        first = ipaddress.IPv4Address(address)
        addresses = [first + offset for offset in range(101 if name == "many.test" else 1)]
    records = [_RECORD.pack(0xC00C, _A, 1, 0, 4, item.packed) for item in addresses]
    flags = 0x8580 if exists else 0x8583  # an answer with authority; NXDOMAIN
    if is_datagram and len(question) + sum(map(len, records)) > _MAX_DATAGRAM - _HEADER.size:
        flags |= 0x0200  # TC: cut
        records = []
    return _HEADER.pack(number, flags, 1, len(records), 0, 0) + question + b"".join(records)


def serve_tcp(listener: socket.socket, address: str) -> None:
    """Queries and answers with their lengths before them (RFC 1035, 4.2.2)."""
    while True:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as stream:
            while length := stream.read(2):
                query = stream.read(int.from_bytes(length, "big"))
                reply = answer_to(query, address, is_datagram=False)
                connection.sendall(len(reply).to_bytes(2, "big") + reply)


def main(place: str, address: str) -> None:
    """Serve for good."""
    listener = socket.create_server((place, 53))
    threading.Thread(target=serve_tcp, args=(listener, address), daemon=True).start()
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        datagrams.bind((place, 53))
        print("ready", flush=True)
        while True:
            query, peer = datagrams.recvfrom(4096)
            datagrams.sendto(answer_to(query, address, is_datagram=True), peer)


if __name__ == "__main__":
    main(*sys.argv[1:])
